package pricelist

import (
	"strings"
	"testing"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

func decode(t *testing.T, entry []byte) (p document.Price) {
	t.Helper()
	tree, faults := jsondoc.Parse("", entry)
	if faults == nil {
		faults = jsondoc.Decode(tree, &p)
	}
	if faults != nil {
		t.Fatalf("%s: %v", entry, faults)
	}
	return p
}

// Every entry is one that the pool document takes, costs something, and costs more
// for an answer than for a prompt, and less for what is cached.
func TestEntriesArePrices(t *testing.T) {
	for _, l := range []List{Azure(), DataZone()} {
		if !strings.HasPrefix(l.Source, "https://") || l.Date == "" || len(l.Prices) < 15 {
			t.Errorf("%s of %s with %d models", l.Source, l.Date, len(l.Prices))
		}
		for model, entry := range l.Prices {
			p := decode(t, entry)
			embeds := strings.HasPrefix(model, "text-embedding")
			if p.Input <= 0 || p.CachedInput >= p.Input || !embeds && p.Output <= p.Input {
				t.Errorf("%s: %s", model, entry)
			}
		}
	}
}

// A data zone costs about a tenth more than the world.
func TestDataZonesCostATenthMore(t *testing.T) {
	world := Azure().Prices
	for model, entry := range DataZone().Prices {
		if world[model] == nil {
			continue
		}
		zone, anywhere := decode(t, entry), decode(t, world[model])
		for _, pair := range [][2]float64{{float64(zone.Input), float64(anywhere.Input)}, {float64(zone.Output), float64(anywhere.Output)}} {
			if ratio := pair[0] / pair[1]; ratio < 1.09 || ratio > 1.11 {
				t.Errorf("%s: %s in a data zone, %s anywhere", model, entry, world[model])
			}
		}
	}
}
