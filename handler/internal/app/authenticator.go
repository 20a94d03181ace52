package app

import (
	"context"
	"log/slog"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/auth/entra"
	"spillway/handler/internal/config"
)

// newAuthenticator accepts the consumers of the configuration by their static
// keys, issued keys and Entra tokens.
func newAuthenticator(cfg *config.Config, log *slog.Logger, q *quotas) (*auth.Authenticator, []Runner, error) {
	callers := &cfg.Settings.Callers
	s := auth.Settings{AllowAnonymous: callers.None(), AcceptKeys: callers.Key, Consumers: consumers(cfg)}
	for _, k := range cfg.Keys {
		s.StaticKeys = append(s.StaticKeys, auth.StaticKey{Consumer: &cfg.Consumers[k.Consumer], Setting: k.Setting, Value: k.Value.Reveal()})
	}
	var runners []Runner
	if callers.Key && !cfg.Settings.State.Memory() {
		issued := q.keyCache(cfg, log)
		s.IssuedKeys = issued
		runners = append(runners, func(ctx context.Context) {
			<-ctx.Done()
			issued.Close()
		})
	}
	if callers.Entra {
		tokens, err := entra.New(entra.Config{Tenant: callers.Tenant, Audience: callers.Audience, Issuer: callers.Issuer})
		if err != nil {
			return nil, nil, err
		}
		s.Verifier = tokens
		runners = append(runners, tokens.Run)
		for _, e := range cfg.Entra {
			s.TokenRules = append(s.TokenRules, auth.TokenRule{Consumer: &cfg.Consumers[e.Consumer], AppID: e.AppID, Role: e.Role, Group: e.Group})
		}
	}
	a, err := auth.New(s)
	return a, runners, err
}
