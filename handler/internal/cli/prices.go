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
	list := pricelist.Azure()
	known := slices.Sorted(maps.Keys(list.Prices))
	return &cobra.Command{
		Use: "prices [MODEL...]", Short: "Print price entries for known Azure models",
		Long:    "Prints entries for \"models\" of the pool document, with the prices of the models that are\nnamed, or of all known ones. They come from a table of " + list.Date + " (" + list.Offer + ", " + list.Currency + ")\nthat is part of this program: compare them with your own price list. A model that is\nnot in the table is an error, and no price is taken from a similar name.\n\nThe table's source: " + list.Source,
		Example: "  spillway prices gpt-4o gpt-4o-mini\n  spillway prices > prices.json", ValidArgs: known,
		RunE: func(c *cobra.Command, models []string) error { return printPrices(c, &list, models) },
	}
}

func printPrices(c *cobra.Command, list *pricelist.List, models []string) error {
	if len(models) == 0 {
		models = slices.Sorted(maps.Keys(list.Prices))
	}
	entries, unknown := map[string]any{}, []string(nil)
	for _, model := range models {
		if price, ok := list.Prices[model]; ok {
			entries[model] = map[string]any{"price": price}
		} else {
			unknown = append(unknown, model)
		}
	}
	if err := printJSON(c.OutOrStdout(), map[string]any{"models": entries}); err != nil {
		return err
	}
	fmt.Fprintf(c.ErrOrStderr(), "Prices of %s for %s, in %s per million tokens, from %s\nData zones, regions and provisioned capacity differ: see \"prices\" of a backend.\n", list.Date, list.Offer, list.Currency, list.Source)
	if len(unknown) > 0 {
		return fmt.Errorf("the table has no price of %s: take it from your own price list", strings.Join(unknown, ", "))
	}
	return nil
}
