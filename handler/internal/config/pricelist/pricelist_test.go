package pricelist

import (
	"encoding/json"
	"strings"
	"testing"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// Every entry is one that the pool document takes, costs something, and costs more
// for an answer than for a prompt, and less for what is cached.
func TestEntriesArePrices(t *testing.T) {
	l := Azure()
	if !strings.HasPrefix(l.Source, "https://") || l.Date == "" || len(l.Prices) < 20 {
		t.Errorf("%s of %s with %d models", l.Source, l.Date, len(l.Prices))
	}
	for model, entry := range l.Prices {
		var p document.Price
		tree, faults := jsondoc.Parse("", entry)
		if faults == nil {
			faults = jsondoc.Decode(tree, &p)
		}
		if faults != nil {
			t.Fatalf("%s: %v", model, faults)
		}
		embeds := strings.HasPrefix(model, "text-embedding")
		if p.Input <= 0 || p.CachedInput >= p.Input || !embeds && p.Output <= p.Input {
			t.Errorf("%s: %s", model, entry)
		}
	}
	if !json.Valid(table) {
		t.Error("not JSON")
	}
}
