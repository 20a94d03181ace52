package main

import (
	"fmt"
	"log/slog"

	"spillway/handler/config"
	"spillway/handler/state"
	"spillway/handler/table"
	"spillway/handler/table/azuretable"
	"spillway/handler/table/memory"
	"spillway/handler/throttle"
	"spillway/handler/upstream"
)

// openStore opens one table where shared state lives. Nothing is sent yet.
func openStore(cfg *config.Config, name string) (table.Store, error) {
	where := &cfg.Settings.State
	switch {
	case where.Memory():
		return new(memory.Store), nil
	case where.Text.Set():
		store, err := azuretable.Connect(where.Text.Reveal(), name, azuretable.Options{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where.Setting, err)
		}
		return store, nil
	}
	identity, err := upstream.Identity(where.ClientID, !cfg.Settings.Standalone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where.Setting, err)
	}
	store, err := azuretable.Open(where.TableURL, name, identity, azuretable.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where.Setting, err)
	}
	return store, nil
}

func keeperConfig(cfg *config.Config, store table.Store) state.Config {
	return state.Config{
		Store: store, Slots: cfg.Slots, Instance: cfg.Settings.Instance, Breaker: cfg.Breaker, Refresh: cfg.Settings.StateRefresh,
		Throttle: throttle.Policy{
			DefaultWait: cfg.Throttle.DefaultWait, MaxWait: cfg.Throttle.MaxWait,
			LeaveAt: throttle.LeaveAt{Utilization: cfg.Throttle.Utilization, RemainingTokens: cfg.Throttle.RemainingTokens},
		},
	}
}

// connect makes the client of the backends: a target each, with its own
// connections and its credential.
func (g *gateway) connect(cfg *config.Config, log *slog.Logger) error {
	g.client = &upstream.Client{
		CountUsage: true,
		APIVersion: "2024-10-21",
		Limits:     upstream.Limits{Response: cfg.Settings.ResponseTimeout, FirstToken: cfg.Settings.FirstTokenTimeout},
	}
	byIdentity := map[string]*upstream.Token{}
	for i := range cfg.Resources {
		r := &cfg.Resources[i]
		credential, err := g.credential(cfg, r, byIdentity, log)
		if err != nil {
			return fmt.Errorf("backends[%d].auth: %w", i, err)
		}
		g.client.Targets = append(g.client.Targets, &upstream.Target{
			Name: r.Name, Endpoint: r.Endpoint, OpenAI: r.Kind == config.OpenAI, Credential: credential,
			Transport: upstream.NewTransport(upstream.Wire{HTTP2: r.HTTP2}), Deployments: deployments(cfg, i),
		})
	}
	return nil
}

// credential is how we prove ourselves to a resource. Resources of the same
// identity share its token.
func (g *gateway) credential(cfg *config.Config, r *config.Resource, tokens map[string]*upstream.Token, log *slog.Logger) (upstream.Credential, error) {
	switch r.Mode {
	case config.APIKey:
		return upstream.APIKey{Key: r.Key.Reveal(), Bearer: r.Kind == config.OpenAI}, nil
	case config.PassThrough:
		return upstream.PassThrough{}, nil
	case config.NoAuth:
		return upstream.Anonymous{}, nil
	case config.ManagedIdentity:
	}
	if t, ok := tokens[r.ClientID]; ok {
		return t, nil
	}
	identity, err := upstream.Identity(r.ClientID, !cfg.Settings.Standalone)
	if err != nil {
		return nil, err
	}
	t := upstream.NewToken(identity, upstream.Scope, log)
	tokens[r.ClientID] = t
	g.tokens = append(g.tokens, t)
	return t, nil
}

// deployments is what a resource calls the models that it serves.
func deployments(cfg *config.Config, resource int) map[string]string {
	names := map[string]string{}
	for i := range cfg.Pools {
		for _, b := range cfg.Pools[i].Backends {
			if b.Index == resource && b.Deployment != "" {
				names[cfg.Pools[i].Model] = b.Deployment
			}
		}
	}
	return names
}
