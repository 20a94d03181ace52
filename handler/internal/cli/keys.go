package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"spillway/handler/internal/app"
	"spillway/handler/internal/auth/keys"
	"spillway/handler/internal/config"
	"spillway/handler/internal/consumer"
)

const keysUsage = "spillway keys add CONSUMER [--expires 2160h] | list | revoke ID"

// keysCommand is `spillway keys`: keys that all instances accept without a
// restart.
func keysCommand(ctx context.Context, args []string, out io.Writer) error {
	verb, rest := "", []string(nil)
	if len(args) > 0 {
		verb, rest = args[0], args[1:]
	}
	switch {
	case verb == "list" && len(rest) == 0, verb == "revoke" && len(rest) == 1, verb == "add" && len(rest) > 0:
	default:
		return fmt.Errorf("%w: %s", errUsage, keysUsage)
	}
	cfg, issuer, err := openIssuer()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	switch verb {
	case "add":
		return addKey(ctx, cfg, issuer, rest, out)
	case "revoke":
		k, err := issuer.Revoke(ctx, rest[0])
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "revoked %s of %s; instances with traffic refuse it within %s and one exchange with the table\n", k.ID, k.Consumer, cfg.Settings.StateRefresh)
		return err
	}
	return listKeys(ctx, issuer, out)
}

func openIssuer() (*config.Config, *keys.Issuer, error) {
	cfg, err := config.Load()
	if err != nil {
		return nil, nil, err
	}
	if cfg.Settings.State.Memory() {
		return nil, nil, fmt.Errorf("keys live in shared state, and there is none: set SPILLWAY_STATE or AzureWebJobsStorage to what the instances use")
	}
	issuer, err := app.NewIssuer(cfg)
	return cfg, issuer, err
}

func addKey(ctx context.Context, cfg *config.Config, issuer *keys.Issuer, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("keys add", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	life := flags.Duration("expires", 0, "")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 || *life < 0 {
		return fmt.Errorf("%w: %s", errUsage, keysUsage)
	}
	if !slices.ContainsFunc(cfg.Consumers, func(c consumer.Consumer) bool { return c.Name == args[0] }) {
		return fmt.Errorf("there is no consumer %q in the pool document; add it there first, or use one of: %s", args[0], consumers(cfg))
	}
	secret, k, err := issuer.Add(ctx, args[0], *life)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n\nThis key of %s (id %s%s) is shown once; only its hash is kept.\n", secret, k.Consumer, k.ID, expiry(k))
	return err
}

func consumers(cfg *config.Config) string {
	var names []string
	for i := range cfg.Consumers {
		names = append(names, cfg.Consumers[i].Name)
	}
	return strings.Join(names, ", ")
}

func expiry(k keys.Key) string {
	if k.Expires.IsZero() {
		return ""
	}
	return ", until " + k.Expires.UTC().Format(time.RFC3339)
}

func listKeys(ctx context.Context, issuer *keys.Issuer, out io.Writer) error {
	all, err := issuer.List(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tCONSUMER\tCREATED\tEXPIRES")
	for _, k := range all {
		ends := "never"
		if !k.Expires.IsZero() {
			ends = k.Expires.UTC().Format(time.RFC3339)
		}
		if k.Expired {
			ends += " (expired)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.ID, k.Consumer, k.Created.UTC().Format(time.RFC3339), ends)
	}
	return w.Flush()
}
