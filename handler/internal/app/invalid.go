package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/api"
	"spillway/handler/internal/config"
)

// serveInvalid reports an invalid configuration. A standalone process ends.
// Behind the Functions host, which gives up on a handler that crashes three
// times, every request is answered with the faults: docs/functions-host.md#crashes.
func serveInvalid(ctx context.Context, cfg *config.Config, version string, log *slog.Logger, cause error) error {
	if cfg.Settings.Standalone || cfg.Settings.Listen == "" {
		return fmt.Errorf("the configuration is not valid:\n%w", cause)
	}
	faults := []string{cause.Error()}
	if list := config.Faults(nil); errors.As(cause, &list) {
		faults = faults[:0]
		for _, f := range list {
			faults = append(faults, f.String())
		}
	}
	for _, f := range faults {
		log.ErrorContext(ctx, "configuration is not valid: every request is answered 503", "fault", f)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Settings.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	handler := api.Misconfigured(faults, newRequestID)
	if report := invalidReport(cfg, version, faults); report != nil {
		defer Start(ctx, []Runner{report.Run})()
		misconfigured := handler
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			report.Requested()
			misconfigured.ServeHTTP(w, r)
		})
	}
	return serveHTTP(ctx, listener, handler, new(atomic.Bool))
}

// invalidReport tells the other instances of the faults: nobody sees them on the
// page of this one. nil = there is no table for it.
func invalidReport(cfg *config.Config, version string, faults []string) *admin.OutOfService {
	s := &cfg.Settings
	if s.State.Memory() || s.StateTable == "" {
		return nil
	}
	store, err := OpenStore(cfg, s.StateTable+usageTable)
	if err != nil {
		return nil // one of the faults
	}
	return admin.NewOutOfService(store, s.Instance, version, time.Now(), faults)
}
