package telemetry

import (
	"context"
	"log/slog"
)

// NewLogger is the log of everything that is no request, on the same lines.
func NewLogger(lines *LogWriter, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	return slog.New(&levelHandler{
		low:  slog.NewJSONHandler(lines, options),
		high: slog.NewJSONHandler(lines.Stderr(), options),
	})
}

// levelHandler sends records to the stream of their level.
type levelHandler struct{ low, high slog.Handler }

func (g *levelHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return g.low.Enabled(ctx, level)
}

func (g *levelHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		return g.high.Handle(ctx, r) //nolint:wrapcheck // a Lines never fails
	}
	return g.low.Handle(ctx, r) //nolint:wrapcheck // a Lines never fails
}

func (g *levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &levelHandler{g.low.WithAttrs(attrs), g.high.WithAttrs(attrs)}
}

func (g *levelHandler) WithGroup(name string) slog.Handler {
	return &levelHandler{g.low.WithGroup(name), g.high.WithGroup(name)}
}
