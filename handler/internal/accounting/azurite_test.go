package accounting

import (
	"fmt"
	"testing"
	"time"

	"spillway/handler/internal/tablestore/storetest"

	"spillway/handler/internal/tablestore/azure"
)

func TestUsageInAzurite(t *testing.T) {
	store, err := azure.Connect(storetest.Azurite(t), "spillwayusage", azure.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := New(Config{Store: store, BootID: "a"})
	for i := range 1500 {
		r.Add(nine.Add(time.Duration(i%3)*time.Hour), Key{Consumer: fmt.Sprint("team/π-", i), Model: "m", Backend: "b", Currency: "USD"}, used(int64(i), 2))
	}
	for range 2 {
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := summary(t, store, nine, nine.Add(3*time.Hour), "hour"); len(got) != 3 || got[0].Requests != 500 || got[0].Tokens.Completion != 1000 {
		t.Errorf("%+v", got)
	}
	if got := summary(t, store, nine.Add(time.Hour), nine.Add(2*time.Hour)); len(got) != 1 || got[0].Requests != 500 {
		t.Errorf("one hour of three: %+v", got)
	}
}
