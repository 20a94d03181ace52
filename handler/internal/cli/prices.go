package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"spillway/handler/internal/config/pricelist"
)

func pricesCommand() *cobra.Command {
	world, zone := pricelist.Azure(), pricelist.DataZone()
	inZone := false
	c := &cobra.Command{
		Use: "prices [MODEL...]", Short: "Print price entries for known Azure models",
		Long: "Prints entries for \"models\" of the pool document, with the prices of the models that are\nnamed, or of all known ones; with --data-zone \"prices\" for a backend in a data zone. They\n" +
			"come from tables of " + world.Date + " (" + world.Offer + ") and " + zone.Date + " (" + zone.Offer + "), in " + world.Currency + ",\nthat are part of this program: compare them with your own price list. A model that is\nnot in the table is an error, and no price is taken from a similar name.\n\nThe tables' sources:\n  " + world.Source + "\n  " + zone.Source,
		Example: "  spillway prices gpt-4o gpt-4o-mini\n  spillway prices --data-zone gpt-4o\n  spillway prices > prices.json", ValidArgs: slices.Sorted(maps.Keys(world.Prices)),
		RunE: func(c *cobra.Command, models []string) error {
			if inZone {
				return printPrices(c, &zone, models, true)
			}
			return printPrices(c, &world, models, false)
		},
	}
	c.Flags().BoolVar(&inZone, "data-zone", false, "prices of data zone deployments, for a backend")
	return c
}

// printPrices prints what a backend costs, or what models do anywhere.
func printPrices(c *cobra.Command, list *pricelist.List, models []string, ofBackend bool) error {
	if len(models) == 0 {
		models = slices.Sorted(maps.Keys(list.Prices))
	}
	entries, unknown := map[string]any{}, []string(nil)
	for _, model := range models {
		switch price, ok := list.Prices[model]; {
		case !ok:
			unknown = append(unknown, model)
		case ofBackend:
			entries[model] = price
		default:
			entries[model] = map[string]any{"price": price}
		}
	}
	of, others := "models", "Data zones (--data-zone), regions and provisioned capacity differ: see \"prices\" of a backend."
	if ofBackend {
		of, others = "prices", "They are for the entry of a backend. Regions and provisioned capacity may differ."
	}
	if err := printJSON(c.OutOrStdout(), map[string]any{of: entries}); err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "Prices of %s for %s, in %s per million tokens, from %s\n%s\n", list.Date, list.Offer, list.Currency, list.Source, others)
	if len(unknown) > 0 {
		return fmt.Errorf("the table has no price of %s: take it from your own price list", strings.Join(unknown, ", "))
	}
	return nil
}
