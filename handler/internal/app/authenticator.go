package app

import (
	"context"
	"log/slog"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/auth/entra"
	"spillway/handler/internal/config"
)

// newDoorman lets in whom the configuration names, and nobody else.
func (g *gateway) newDoorman(cfg *config.Config, log *slog.Logger, b *books) (*auth.Authenticator, error) {
	callers := &cfg.Settings.Callers
	s := auth.Settings{AllowAnonymous: callers.None(), AcceptKeys: callers.Key}
	for i := range cfg.Consumers {
		s.Consumers = append(s.Consumers, &cfg.Consumers[i])
	}
	for _, k := range cfg.Keys {
		s.StaticKeys = append(s.StaticKeys, auth.StaticKey{Consumer: &cfg.Consumers[k.Consumer], Setting: k.Setting, Value: k.Value.Reveal()})
	}
	if callers.Key && !cfg.Settings.State.Memory() {
		ring := b.ring(cfg, log)
		s.IssuedKeys = ring
		g.beside = append(g.beside, func(ctx context.Context) {
			<-ctx.Done()
			ring.Close()
		})
	}
	if callers.Entra {
		tokens, err := entra.New(entra.Config{Tenant: callers.Tenant, Audience: callers.Audience, Issuer: callers.Issuer})
		if err != nil {
			return nil, err
		}
		g.beside = append(g.beside, tokens.Run)
		s.Verifier = tokens
		for _, e := range cfg.Entra {
			s.TokenRules = append(s.TokenRules, auth.TokenRule{Consumer: &cfg.Consumers[e.Consumer], AppID: e.AppID, Role: e.Role, Group: e.Group})
		}
	}
	return auth.New(s)
}
