package app

import (
	"fmt"
	"log/slog"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/openai/classify"
)

// Connect makes the client of the backends: a target each, with its own
// connections and its credential. The runners renew its tokens.
func Connect(cfg *config.Config, log *slog.Logger) (*backend.Client, []Runner, error) {
	client := &backend.Client{
		RequestUsage: true,
		APIVersion:   "2024-10-21",
		Timeouts:     backend.Timeouts{Response: cfg.Settings.ResponseTimeout, FirstToken: cfg.Settings.FirstTokenTimeout, FirstTokenByModel: patience(cfg)},
		Policy:       judgement(cfg),
	}
	tokens := &tokens{byIdentity: map[string]*backend.Token{}, standalone: cfg.Settings.Standalone, log: log}
	for i := range cfg.Resources {
		r := &cfg.Resources[i]
		credential, err := tokens.credential(r)
		if err != nil {
			return nil, nil, fmt.Errorf("backends[%d].auth: %w", i, err)
		}
		wire := backend.TransportOptions{HTTP2: r.HTTP2}
		client.Targets = append(client.Targets, &backend.Target{
			Name: r.Name, Endpoint: r.Endpoint, OpenAI: r.Kind == config.OpenAI, Credential: credential,
			Transport: backend.NewTransport(wire), Direct: backend.NewOrigin(wire, r.Endpoint), Deployments: deployments(cfg, i), CallerHeader: r.CallerHeader,
		})
	}
	return client, tokens.runners, nil
}

// tokens are the tokens of the managed identities. Resources of the same
// identity share one.
type tokens struct {
	byIdentity map[string]*backend.Token
	runners    []Runner
	standalone bool
	log        *slog.Logger
}

// credential is how the gateway authenticates to a resource.
func (t *tokens) credential(r *config.Resource) (backend.Credential, error) {
	switch r.Mode {
	case config.APIKey:
		return backend.APIKey{Key: r.Key.Reveal(), Bearer: r.Kind == config.OpenAI}, nil
	case config.PassThrough:
		return backend.PassThrough{}, nil
	case config.NoAuth:
		return backend.NoCredential{}, nil
	case config.ManagedIdentity:
	}
	if known, ok := t.byIdentity[r.ClientID]; ok {
		return known, nil
	}
	identity, err := backend.IdentityCredential(r.ClientID, !t.standalone)
	if err != nil {
		return nil, err
	}
	token := backend.NewToken(identity, backend.TokenScope, t.log)
	t.byIdentity[r.ClientID] = token
	t.runners = append(t.runners, token.Run)
	return token, nil
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
