package cli

import (
	"fmt"
	"log/slog"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/azure"
	"spillway/handler/internal/tablestore/memory"
)

// openStore opens one table where shared state lives. Nothing is sent yet.
func openStore(cfg *config.Config, name string) (tablestore.Store, error) {
	where := &cfg.Settings.State
	switch {
	case where.Memory():
		return new(memory.Store), nil
	case where.Text.Set():
		store, err := azure.Connect(where.Text.Reveal(), name, azure.Options{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where.Setting, err)
		}
		return store, nil
	}
	identity, err := backend.Identity(where.ClientID, !cfg.Settings.Standalone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where.Setting, err)
	}
	store, err := azure.Open(where.TableURL, name, identity, azure.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where.Setting, err)
	}
	return store, nil
}

// keeperConfig is what the fleet's state is kept by. Two fields are left to
// their defaults because no setting is wanted for them: the fleet counts itself
// (MaxInstances), and apps that are given one table are one fleet, which shares
// what it knows of the backends that their documents call the same (Group).
// LeaveAt stays off unless the document says throttle.leaveAt, and is 95 % and
// 0.02 when it says no more than that: a provisioned deployment is paid for
// whether it is used or not, and the 429 that leaving early avoids costs its
// caller one short exchange, not an error. Who would rather pay for tokens
// elsewhere than lose those milliseconds asks for it.
func keeperConfig(cfg *config.Config, store tablestore.Store) fleet.Config {
	return fleet.Config{
		Store: store, Slots: cfg.Slots, Instance: cfg.Settings.Instance, Breaker: cfg.Breaker, Refresh: cfg.Settings.StateRefresh,
		Throttle: health.ThrottlePolicy{
			DefaultWait: cfg.Throttle.DefaultWait, MaxWait: cfg.Throttle.MaxWait,
			LeaveAt: health.LeaveAt{Utilization: cfg.Throttle.Utilization, RemainingTokens: cfg.Throttle.RemainingTokens},
		},
	}
}

// connect makes the client of the backends: a target each, with its own
// connections and its credential.
func (g *gateway) connect(cfg *config.Config, log *slog.Logger) error {
	g.client = &backend.Client{
		CountUsage: true,
		APIVersion: "2024-10-21",
		Limits:     backend.Limits{Response: cfg.Settings.ResponseTimeout, FirstToken: cfg.Settings.FirstTokenTimeout, Models: patience(cfg)},
		Policy:     judgement(cfg),
	}
	byIdentity := map[string]*backend.Token{}
	for i := range cfg.Resources {
		r := &cfg.Resources[i]
		credential, err := g.credential(cfg, r, byIdentity, log)
		if err != nil {
			return fmt.Errorf("backends[%d].auth: %w", i, err)
		}
		wire := backend.Wire{HTTP2: r.HTTP2}
		g.client.Targets = append(g.client.Targets, &backend.Target{
			Name: r.Name, Endpoint: r.Endpoint, OpenAI: r.Kind == config.OpenAI, Credential: credential,
			Transport: backend.NewTransport(wire), Direct: backend.NewOrigin(wire, r.Endpoint), Deployments: deployments(cfg, i), CallerHeader: r.CallerHeader,
		})
	}
	return nil
}

// credential is how we prove ourselves to a resource. Resources of the same
// identity share its token.
func (g *gateway) credential(cfg *config.Config, r *config.Resource, tokens map[string]*backend.Token, log *slog.Logger) (backend.Credential, error) {
	switch r.Mode {
	case config.APIKey:
		return backend.APIKey{Key: r.Key.Reveal(), Bearer: r.Kind == config.OpenAI}, nil
	case config.PassThrough:
		return backend.PassThrough{}, nil
	case config.NoAuth:
		return backend.Anonymous{}, nil
	case config.ManagedIdentity:
	}
	if t, ok := tokens[r.ClientID]; ok {
		return t, nil
	}
	identity, err := backend.Identity(r.ClientID, !cfg.Settings.Standalone)
	if err != nil {
		return nil, err
	}
	t := backend.NewToken(identity, backend.Scope, log)
	tokens[r.ClientID] = t
	g.beside = append(g.beside, t.Run)
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

// patience is the models' own limits for the first token.
func patience(cfg *config.Config) map[string]time.Duration {
	own := map[string]time.Duration{}
	for i := range cfg.Pools {
		if p := &cfg.Pools[i]; p.FirstToken > 0 {
			own[p.Model] = p.FirstToken
		}
	}
	return own
}

// judgement is how answers are judged.
func judgement(cfg *config.Config) classify.Policy {
	return classify.Policy{
		DefaultWait: cfg.Throttle.DefaultWait, MaxWait: cfg.Throttle.MaxWait,
		IgnoreWaits: !cfg.Throttle.AcceptRetryAfter, Failing: cfg.Failing.Match,
	}
}
