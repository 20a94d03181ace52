package rules

import (
	"slices"
	"testing"
	"time"
)

// A model is named from sixty days before its date on: the caller adds the notice.
func TestRetiringNamesModelsBeforeTheirDate(t *testing.T) {
	table, err := ReadModels("../../..")
	if err != nil {
		t.Fatal(err)
	}
	first := slices.Min(slices.Collect(func(yield func(string) bool) {
		for _, m := range table.Models {
			if !yield(m.Retires) {
				return
			}
		}
	}))
	day, err := time.Parse(time.DateOnly, first)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.Retiring(day); len(got) != 0 {
		t.Errorf("on %s: %q", first, got)
	}
	if got := table.Retiring(day.Add(time.Second)); len(got) == 0 {
		t.Errorf("nothing retires before %s", first)
	}
}
