package app

import (
	"fmt"
	"log/slog"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/openai/classify"
)

// NewBackendClient is the client of the backends: a target for each, with its
// own connections and credential. The runners renew the tokens.
func NewBackendClient(cfg *config.Config, log *slog.Logger) (*backend.Client, []Runner, error) {
	b := newBackends(cfg, log, nil)
	client, err := b.client(cfg)
	if err != nil {
		return nil, nil, err
	}
	var runners []Runner
	for _, t := range b.tokens {
		runners = append(runners, t.Run)
	}
	return client, runners, nil
}

// backends are the connections and tokens of a configuration, some of which may be
// those of the one before it.
type backends struct {
	transports map[string]*backend.Transport // by name and address of the resource
	tokens     map[string]*backend.Token     // of managed identities, by client id; they must be run
	before     *backends                     // nil = there is none
	standalone bool
	log        *slog.Logger
}

func newBackends(cfg *config.Config, log *slog.Logger, before *backends) *backends {
	return &backends{
		transports: map[string]*backend.Transport{}, tokens: map[string]*backend.Token{}, before: before, standalone: cfg.Settings.Standalone, log: log,
	}
}

// client sends to the resources of the configuration.
func (b *backends) client(cfg *config.Config) (*backend.Client, error) {
	client := &backend.Client{RequestUsage: true, APIVersion: "2024-10-21"}
	for i := range cfg.Resources {
		r := &cfg.Resources[i]
		credential, err := b.credential(r)
		if err != nil {
			return nil, fmt.Errorf("backends[%d].auth: %w", i, err)
		}
		client.Targets = append(client.Targets, &backend.Target{
			Name: r.Name, Endpoint: r.Endpoint, OpenAI: r.Kind == config.OpenAI, NoUsage: r.NoUsage, Credential: credential, Policy: classifyPolicy(r),
			Transport: b.transport(r), Deployments: deployments(cfg, i), CallerHeader: r.CallerHeader, PassHeaders: r.PassHeaders,
		})
	}
	b.before = nil
	return client, nil
}

// transport is the resource's own connections.
func (b *backends) transport(r *config.Resource) *backend.Transport {
	key := fmt.Sprintf("%s %s %v", r.Name, r.Endpoint, r.HTTP2)
	t := backend.NewTransport(backend.TransportOptions{HTTP2: r.HTTP2})
	if b.before != nil && b.before.transports[key] != nil {
		t = b.before.transports[key]
	}
	b.transports[key] = t
	return t
}

// closeAllBut closes the idle connections that the later configuration has not.
func (b *backends) closeAllBut(later *backends) {
	for key, t := range b.transports {
		if later.transports[key] != t {
			t.CloseIdleConnections()
		}
	}
}

// credential authenticates requests to a resource.
func (b *backends) credential(r *config.Resource) (backend.Credential, error) {
	switch r.Mode {
	case config.APIKey:
		return backend.APIKey{Key: r.Key.Reveal(), Bearer: r.Kind == config.OpenAI}, nil
	case config.PassThrough:
		return backend.PassThrough{}, nil
	case config.NoAuth:
		return backend.NoCredential{}, nil
	case config.ManagedIdentity:
	}
	token := b.tokens[r.ClientID]
	if token == nil && b.before != nil {
		token = b.before.tokens[r.ClientID]
	}
	if token == nil {
		identity, err := backend.IdentityCredential(r.ClientID, !b.standalone)
		if err != nil {
			return nil, err
		}
		token = backend.NewToken(identity, backend.TokenScope, b.log)
	}
	b.tokens[r.ClientID] = token
	return token, nil
}

// deployments is the names of a resource's deployments, by model.
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

// classifyPolicy is how long a throttled backend is left alone.
func classifyPolicy(r *config.Resource) classify.Policy {
	return classify.Policy{DefaultWait: r.Throttle.DefaultWait, MaxWait: r.Throttle.MaxWait, IgnoreWaits: r.IgnoreWaits}
}

// classifyPolicies is the policy of each resource.
func classifyPolicies(cfg *config.Config) []classify.Policy {
	all := make([]classify.Policy, len(cfg.Resources))
	for i := range all {
		all[i] = classifyPolicy(&cfg.Resources[i])
	}
	return all
}
