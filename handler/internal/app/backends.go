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
	client, tokens, err := newBackendClient(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	return client, tokenRunners(tokens), nil
}

// newBackendClient also returns the tokens, which must be run.
func newBackendClient(cfg *config.Config, log *slog.Logger) (*backend.Client, []*backend.Token, error) {
	client := &backend.Client{
		RequestUsage: true,
		APIVersion:   "2024-10-21",
	}
	tokens := &tokens{byIdentity: map[string]*backend.Token{}, standalone: cfg.Settings.Standalone, log: log}
	for i := range cfg.Resources {
		r := &cfg.Resources[i]
		credential, err := tokens.credential(r)
		if err != nil {
			return nil, nil, fmt.Errorf("backends[%d].auth: %w", i, err)
		}
		client.Targets = append(client.Targets, &backend.Target{
			Name: r.Name, Endpoint: r.Endpoint, OpenAI: r.Kind == config.OpenAI, NoUsage: r.NoUsage, Credential: credential, Policy: classifyPolicy(r),
			Transport: backend.NewTransport(backend.TransportOptions{HTTP2: r.HTTP2}), Deployments: deployments(cfg, i), CallerHeader: r.CallerHeader,
		})
	}
	return client, tokens.all, nil
}

// tokens is the access tokens of managed identities. Resources with the same
// identity share one.
type tokens struct {
	byIdentity map[string]*backend.Token // by client id
	all        []*backend.Token
	standalone bool
	log        *slog.Logger
}

func tokenRunners(tokens []*backend.Token) []Runner {
	var runners []Runner
	for _, t := range tokens {
		runners = append(runners, t.Run)
	}
	return runners
}

// credential authenticates requests to a resource.
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
	if shared, ok := t.byIdentity[r.ClientID]; ok {
		return shared, nil
	}
	identity, err := backend.IdentityCredential(r.ClientID, !t.standalone)
	if err != nil {
		return nil, err
	}
	token := backend.NewToken(identity, backend.TokenScope, t.log)
	t.byIdentity[r.ClientID] = token
	t.all = append(t.all, token)
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
