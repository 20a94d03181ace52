package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
	"spillway/handler/internal/preflight"
)

// validateLive is `spillway validate --live`: it asks the backends, the table
// and the host's file whether the configuration is true. The error counts what
// is not; what was found is on out.
func validateLive(ctx context.Context, out io.Writer) error {
	cfg, err := config.Load()
	if err != nil {
		return err
	}
	client, runners, err := app.NewBackendClient(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	subject := &preflight.Input{Targets: client.Targets, Pools: cfg.Pools, APIVersion: client.APIVersion, Host: hosting(cfg)}
	if where := &cfg.Settings.State; !where.Memory() {
		store, err := app.OpenStore(cfg, cfg.Settings.StateTable)
		if err != nil {
			return err
		}
		subject.State = preflight.State{Store: store, Setting: where.Setting, SharedKey: where.Text.Set()}
	}
	defer app.Start(ctx, runners)()
	report := preflight.Run(ctx, subject)
	if err := report.Print(out); err != nil {
		return err
	}
	if n := report.Count(preflight.Error); n > 0 {
		return fmt.Errorf("the configuration is valid, but %d of what it says is not so: see the lines that begin with error", n)
	}
	return nil
}

// hosting is what there is of the Functions host: its file lies beside the
// binary, or where the command is run.
func hosting(cfg *config.Config) preflight.Host {
	h := preflight.Host{Folders: []string{"."}, Hosted: !cfg.Settings.Standalone, Runtime: os.Getenv("FUNCTIONS_WORKER_RUNTIME")}
	if self, err := os.Executable(); err == nil {
		h.Folders = []string{filepath.Dir(self), "."}
	}
	return h
}
