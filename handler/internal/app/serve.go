package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"spillway/handler/internal/config"
	"spillway/handler/internal/configstore"
	"spillway/handler/internal/telemetry"
)

// Limits of the HTTP server. The Functions host reads a request before it sends
// it on, so a body arrives at once; a stream may last as long as its backend
// sends.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 64 << 10
	logBuffer         = 4096             // lines
	logFlushTimeout   = time.Second      // at the end, for lines that nothing reads
	shutdownTimeout   = 25 * time.Second // for requests in flight at SIGTERM
)

// ErrStopped is the end by a signal. It is an error because the Functions host
// does not restart a handler that exits with 0: docs/functions-host.md#crashes.
var ErrStopped = errors.New("stopped by a signal")

// Serve serves the configuration of this process's environment until ctx is
// done. It never returns nil.
func Serve(ctx context.Context, version string) error {
	cfg, err := config.Load()
	lines := telemetry.NewLogWriter(os.Stdout, alertOutput(cfg), logBuffer)
	defer lines.Close(logFlushTimeout)
	log := telemetry.NewLogger(lines, cfg.Settings.LogLevel).With("instance", cfg.Settings.Instance)
	if err != nil {
		return serveInvalid(ctx, cfg, version, log, err)
	}
	source, err := newConfigSource(cfg, log)
	if err != nil {
		return serveInvalid(ctx, cfg, version, log, err)
	}
	if source != nil {
		cfg = source.first(ctx)
	}
	for _, warning := range cfg.Warnings {
		log.WarnContext(ctx, "configuration", "warning", warning.String())
	}
	a, err := New(cfg, source, version, log, lines)
	if err != nil && source != nil && cfg != source.setting {
		source.refuse(ctx, new(configstore.Head), err)
		a, err = New(source.setting, source, version, log, lines)
	}
	if err != nil {
		return serveInvalid(ctx, cfg, version, log, err)
	}
	return a.Run(ctx)
}

// Run listens and serves until ctx is done. It never returns nil.
func (a *App) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.Settings.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w; set SPILLWAY_LISTEN or FUNCTIONS_CUSTOMHANDLER_PORT to a free address", err)
	}
	stop := Start(ctx, a.runners)
	defer stop()
	setMemoryLimit(a.memory)
	// The garbage collector paces itself by the heap, and this one is so small
	// that it would run every few hundred requests. The memory is never touched.
	ballast := make([]byte, 16<<20)
	defer runtime.KeepAlive(ballast)
	a.log.InfoContext(ctx, "listening", "address", listener.Addr().String(), "version", a.version, "backends", len(a.config.Resources),
		"models", len(a.config.Pools), "auth", a.config.Settings.Callers.String(), "state", a.config.Settings.State.String(), "memory_limit", a.memory)
	err = serveHTTP(ctx, listener, a, a.draining)
	if errors.Is(err, ErrStopped) {
		a.log.InfoContext(ctx, "stopped by a signal")
	}
	return err
}

// alertOutput is the output of warnings and errors. The Functions host takes
// the level from the stream: docs/functions-host.md#logs. A standalone run has
// one log.
func alertOutput(cfg *config.Config) io.Writer {
	if cfg.Settings.Standalone {
		return os.Stdout
	}
	return os.Stderr
}

// serveHTTP serves h until ctx is done. Then readiness fails, requests in
// flight may finish within shutdownTimeout, and what is left is cut off.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, draining *atomic.Bool) error {
	requests, cancelRequests := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelRequests(nil)
	stdlog.SetOutput(io.Discard) // net/http's client would write what a backend sent unasked, which may be content
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // each request has its own log line
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	draining.Store(true)
	graceful, cancel := context.WithTimeout(requests, shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(graceful); err != nil {
		cancelRequests(ErrStopped) // streams end with an error event and an aborted connection
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(last)
	}
	return ErrStopped
}
