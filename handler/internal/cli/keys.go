package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spillway/handler/internal/app"
	"spillway/handler/internal/auth/keys"
	"spillway/handler/internal/config"
	"spillway/handler/internal/consumer"
)

func keysCommand() *cobra.Command {
	return withTarget(group(
		&cobra.Command{
			Use: "keys", Short: "Issue, list, rotate and revoke keys of consumers, without a restart",
			Long: "Issues, lists, rotates and revokes keys of consumers, which all instances accept\n" +
				"without a restart. The commands need the connection of the shared state and the pool\ndocument, and no secret of either.\n" + targetHelp,
			Example: "  spillway keys list",
		},
		addKeyCommand(), listKeysCommand(), rotateKeyCommand(), revokeKeyCommand(),
	))
}

func addKeyCommand() *cobra.Command {
	var life time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use: "add CONSUMER", Short: "Issue a key and print it, once",
		Long:    "Issues a key of a consumer of the pool document. The key alone is printed to\nstandard output, once: only its hash is stored.",
		Example: "  spillway keys add team-a --expires 2160h\n  spillway keys add team-a --json", Args: oneArg("consumer"),
		RunE: func(c *cobra.Command, args []string) error {
			if life < 0 {
				return usageError(c, "--expires %s is in the past", life)
			}
			return withIssuer(c, func(ctx context.Context, cfg *config.Config, issuer *keys.Issuer) error {
				return addKey(ctx, c, cfg, issuer, args[0], life, asJSON)
			})
		},
	}
	c.Flags().DurationVar(&life, "expires", 0, "how long the key is valid; 0 is forever")
	jsonFlag(c, &asJSON)
	return c
}

func listKeysCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List the keys, without what they are", Example: "  spillway keys list\n  spillway keys list --json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withIssuer(c, func(ctx context.Context, _ *config.Config, issuer *keys.Issuer) error {
				all, err := issuer.List(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(c.OutOrStdout(), keysJSON(all))
				}
				return printKeys(c.OutOrStdout(), all)
			})
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func revokeKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "End a key", Example: "  spillway keys revoke 0123456789", Args: oneArg("key id, see \"spillway keys list\""),
		RunE: func(c *cobra.Command, args []string) error {
			return withIssuer(c, func(ctx context.Context, cfg *config.Config, issuer *keys.Issuer) error {
				k, err := issuer.Revoke(ctx, args[0])
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "revoked %s of %s; instances with traffic refuse it within %s and one exchange with the table\n", k.ID, k.Consumer, cfg.Settings.StateRefresh)
				return err
			})
		},
	}
}

func withIssuer(c *cobra.Command, do func(ctx context.Context, cfg *config.Config, issuer *keys.Issuer) error) error {
	cfg, err := loadPools("every issued key")
	if err != nil {
		return err
	}
	issuer, err := app.NewIssuer(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), tableTimeout)
	defer cancel()
	return do(ctx, cfg, issuer)
}

func addKey(ctx context.Context, c *cobra.Command, cfg *config.Config, issuer *keys.Issuer, name string, life time.Duration, asJSON bool) error {
	if err := checkConsumer(cfg, name); err != nil {
		return err
	}
	secret, k, err := issuer.Add(ctx, name, life)
	if err != nil {
		return err
	}
	return printSecret(c, secret, k, nil, asJSON)
}

func checkConsumer(cfg *config.Config, name string) error {
	if slices.ContainsFunc(cfg.Consumers, func(c consumer.Consumer) bool { return c.Name == name }) {
		return nil
	}
	fix := "add it to the pool document first"
	if len(cfg.Consumers) > 0 {
		fix += ", or use one of: " + consumerNames(cfg)
	}
	return &failure{nil, fmt.Sprintf("there is no consumer %q in the pool document", name), fix}
}

// rotateKeyCommand issues a key, and gives those that the consumer has an end.
func rotateKeyCommand() *cobra.Command {
	var life, overlap time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use: "rotate CONSUMER", Short: "Issue a new key and end the one before, after a while",
		Long: "Issues a new key of a consumer, and gives the keys that it has an end: both are\nvalid for the time of --overlap, in which the callers change over. The new key alone is\n" +
			"printed to standard output, once. Keys in app settings (keySetting) stay as they are.",
		Example: "  spillway keys rotate team-a\n  spillway keys rotate team-a --overlap 1h > team-a.key", Args: oneArg("consumer"),
		RunE: func(c *cobra.Command, args []string) error {
			if life < 0 || overlap < 0 {
				return usageError(c, "--expires and --overlap may not be negative")
			}
			return withIssuer(c, func(ctx context.Context, cfg *config.Config, issuer *keys.Issuer) error {
				return rotateKey(ctx, c, cfg, issuer, args[0], life, overlap, asJSON)
			})
		},
	}
	c.Flags().DurationVar(&life, "expires", 0, "how long the new key is valid; 0 is forever")
	jsonFlag(c, &asJSON)
	c.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old keys stay valid; 0 ends them now")
	return c
}

func rotateKey(ctx context.Context, c *cobra.Command, cfg *config.Config, issuer *keys.Issuer, name string, life, overlap time.Duration, asJSON bool) error {
	if err := checkConsumer(cfg, name); err != nil {
		return err
	}
	secret, k, old, err := issuer.Rotate(ctx, name, life, overlap)
	if err != nil {
		return err
	}
	return printSecret(c, secret, k, old, asJSON)
}

// secretJSON is a key that was issued, and those that it replaces.
type secretJSON struct {
	Key string `json:"key"` // the secret
	keyJSON
	Replaces []keyJSON `json:"replaces,omitempty"`
}

// printSecret prints the key alone to standard output, and about it to standard
// error; as JSON, all of it to standard output.
func printSecret(c *cobra.Command, secret string, k keys.Key, old []keys.Key, asJSON bool) error {
	if asJSON {
		return printJSON(c.OutOrStdout(), secretJSON{secret, keysJSON([]keys.Key{k})[0], keysJSON(old)})
	}
	for _, o := range old {
		fmt.Fprintf(c.ErrOrStderr(), "The key %s is valid until %s.\n", o.ID, o.Expires.UTC().Format(time.RFC3339))
	}
	if _, err := fmt.Fprintln(c.OutOrStdout(), secret); err != nil {
		return err
	}
	expires := ""
	if !k.Expires.IsZero() {
		expires = ", until " + k.Expires.UTC().Format(time.RFC3339)
	}
	_, err := fmt.Fprintf(c.ErrOrStderr(), "This key of %s (id %s%s) is shown once; only its hash is stored.\n", k.Consumer, k.ID, expires)
	return err
}

func consumerNames(cfg *config.Config) string {
	var names []string
	for i := range cfg.Consumers {
		names = append(names, cfg.Consumers[i].Name)
	}
	return strings.Join(names, ", ")
}

func printKeys(out io.Writer, all []keys.Key) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tCONSUMER\tCREATED\tEXPIRES")
	for _, k := range all {
		expires := "never"
		if !k.Expires.IsZero() {
			expires = k.Expires.UTC().Format(time.RFC3339)
		}
		if k.Expired {
			expires += " (expired)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.ID, k.Consumer, k.Created.UTC().Format(time.RFC3339), expires)
	}
	return w.Flush()
}

type keyJSON struct {
	ID       string    `json:"id"`
	Consumer string    `json:"consumer"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
	Expired  bool      `json:"expired"`
}

func keysJSON(all []keys.Key) []keyJSON {
	printed := make([]keyJSON, len(all))
	for i, k := range all {
		printed[i] = keyJSON{k.ID, k.Consumer, k.Created.UTC(), k.Expires, k.Expired}
	}
	return printed
}
