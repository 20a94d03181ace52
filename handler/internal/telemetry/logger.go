package telemetry

import (
	"context"
	"log/slog"
)

// NewLogger is the log of everything that is no request, on the same lines.
func NewLogger(lines *Lines, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	return slog.New(&graded{
		low:  slog.NewJSONHandler(lines, options),
		high: slog.NewJSONHandler(lines.Alarm(), options),
	})
}

// graded sends records to the stream of their level.
type graded struct{ low, high slog.Handler }

func (g *graded) Enabled(ctx context.Context, level slog.Level) bool {
	return g.low.Enabled(ctx, level)
}

func (g *graded) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		return g.high.Handle(ctx, r) //nolint:wrapcheck // a Lines never fails
	}
	return g.low.Handle(ctx, r) //nolint:wrapcheck // a Lines never fails
}

func (g *graded) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &graded{g.low.WithAttrs(attrs), g.high.WithAttrs(attrs)}
}

func (g *graded) WithGroup(name string) slog.Handler {
	return &graded{g.low.WithGroup(name), g.high.WithGroup(name)}
}
