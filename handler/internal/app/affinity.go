package app

import (
	"context"
	"log/slog"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/config"
)

// openPlaces makes the memory of which backend made what. Without shared state
// it is this process's own.
func (g *gateway) openPlaces(cfg *config.Config, log *slog.Logger) (*affinity.Store, error) {
	places := affinity.Config{OnError: func(err error) {
		log.WarnContext(context.Background(), "where responses are kept is not written down", "error", err)
	}}
	if !cfg.Settings.State.Memory() {
		store, err := OpenStore(cfg, cfg.Settings.StateTable+affinityTable)
		if err != nil {
			return nil, err
		}
		places.Table = store
	}
	k := affinity.New(places)
	g.beside = append(g.beside, k.Run)
	return k, nil
}
