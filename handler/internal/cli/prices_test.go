package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// A price of a known model is printed with its source; one of a similar name is not
// taken for another.
func TestPrices(t *testing.T) {
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"prices", "gpt-4o", "text-embedding-3-small"}, &out, &errs); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Models map[string]struct{ Price map[string]any }
	}
	if err := json.Unmarshal(out.Bytes(), &d); err != nil || d.Models["gpt-4o"].Price["output"] != 10.0 || len(d.Models) != 2 {
		t.Errorf("%v: %s", err, out.String())
	}
	if !strings.Contains(errs.String(), "https://") || !strings.Contains(errs.String(), "2025-10") {
		t.Errorf("without its source: %s", errs.String())
	}
	err := run(t.Context(), []string{"prices", "gpt-4o", "gpt-4o-next"}, &out, &errs)
	if err == nil || !strings.Contains(err.Error(), "gpt-4o-next") {
		t.Errorf("of an unknown model: %v", err)
	}
}

// Prices of a data zone are for a backend.
func TestPricesOfADataZone(t *testing.T) {
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"prices", "--data-zone", "gpt-4o"}, &out, &errs); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Prices map[string]struct{ Input, Output float64 }
	}
	if err := json.Unmarshal(out.Bytes(), &d); err != nil || len(d.Prices) != 1 || d.Prices["gpt-4o"].Output != 11 {
		t.Errorf("%v: %s", err, out.String())
	}
	if err := run(t.Context(), []string{"prices", "--data-zone", "text-embedding-3-small"}, &out, &errs); err == nil || !strings.Contains(err.Error(), "text-embedding-3-small") {
		t.Errorf("of a model that the table does not have: %v", err)
	}
}
