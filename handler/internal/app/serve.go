package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/config"
	"spillway/handler/internal/telemetry"
)

// Bounds of the door. The host reads a request before it calls, so a body
// comes at once; a stream may last as long as its backend likes.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 64 << 10
	logDepth          = 4096
	logPatience       = time.Second      // for lines that nobody reads, at the end
	grace             = 25 * time.Second // for requests under way at SIGTERM
)

// errStopped is the end that was asked for. It is an error on purpose: the
// host never restarts a handler that ends with 0.
var errStopped = errors.New("stopped by a signal")

// Serve serves the configuration of this environment until ctx is done.
func Serve(ctx context.Context, version string) error {
	cfg, err := config.Load()
	lines := telemetry.NewLogWriter(os.Stdout, alarms(cfg), logDepth)
	defer lines.Close(logPatience)
	log := telemetry.NewLogger(lines, cfg.Settings.LogLevel)
	if err != nil {
		return refuse(ctx, cfg, log, err)
	}
	for _, warning := range cfg.Warnings {
		log.WarnContext(ctx, "configuration", "warning", warning.String())
	}
	g, err := newGateway(cfg, version, log, lines)
	if err != nil {
		return refuse(ctx, cfg, log, err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cfg.Settings.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w; set SPILLWAY_LISTEN or FUNCTIONS_CUSTOMHANDLER_PORT to a free address", err)
	}
	stop := Background(ctx, g.beside)
	// Untouched memory that only the collector counts: with a heap as small as
	// ours it would else run every few hundred requests.
	ballast := make([]byte, 16<<20)
	defer runtime.KeepAlive(ballast)
	log.InfoContext(ctx, "listening", "address", listener.Addr().String(), "version", version, "backends", len(cfg.Resources),
		"models", len(cfg.Pools), "auth", cfg.Settings.Callers.String(), "state", cfg.Settings.State.String())
	err = answer(ctx, listener, g.server.Handler(), &g.draining)
	stop()
	return err
}

// alarms is where warnings and errors go. The Functions host tells them by
// their stream; standalone there is one log.
func alarms(cfg *config.Config) io.Writer {
	if cfg.Settings.Standalone {
		return os.Stdout
	}
	return os.Stderr
}

// refuse is the end of a wrong configuration. Standalone, the process ends
// before it listens. Under the host, which gives up for good on the third
// crash, it listens and says what is wrong (design.md §3).
func refuse(ctx context.Context, cfg *config.Config, log *slog.Logger, cause error) error {
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
	return answer(ctx, listener, api.Misconfigured(faults), new(atomic.Bool))
}

// answer serves the handler until ctx is done; then readiness turns red,
// requests under way have their grace, and what is left is cut off.
func answer(ctx context.Context, l net.Listener, h http.Handler, draining *atomic.Bool) error {
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return life },
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // every request has its own line
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	draining.Store(true)
	patience, cancel := context.WithTimeout(life, grace)
	defer cancel()
	if err := srv.Shutdown(patience); err != nil {
		cut() // streams end in an error event and an aborted connection
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(last)
	}
	return errStopped
}
