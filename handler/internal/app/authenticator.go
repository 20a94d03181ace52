package app

import (
	"context"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/auth/entra"
	"spillway/handler/internal/auth/keys"
	"spillway/handler/internal/config"
)

// newAuthenticator accepts the consumers of the configuration by their static
// keys, issued keys and Entra tokens.
// issued are the issued keys; nil = there are none. verifier verifies Entra ID tokens;
// nil = none are accepted.
func newAuthenticator(cfg *config.Config, issued *keys.Cache, verifier *entra.Verifier) (*auth.Authenticator, error) {
	callers := &cfg.Settings.Callers
	s := auth.Settings{AllowAnonymous: callers.None(), AcceptKeys: callers.Key, Consumers: consumers(cfg)}
	for _, k := range cfg.Keys {
		s.StaticKeys = append(s.StaticKeys, auth.StaticKey{Consumer: &cfg.Consumers[k.Consumer], Setting: k.Setting, Value: k.Value.Reveal()})
	}
	if issued != nil {
		s.IssuedKeys = issued
	}
	if callers.Entra {
		s.Verifier = verifier
		for _, e := range cfg.Entra {
			s.TokenRules = append(s.TokenRules, auth.TokenRule{Consumer: &cfg.Consumers[e.Consumer], AppID: e.AppID, Role: e.Role, Group: e.Group})
		}
	}
	return auth.New(s)
}

// newIssuedKeys are the keys in the table; nil where none are accepted.
func newIssuedKeys(cfg *config.Config, from *state) (*keys.Cache, []Runner) {
	if !cfg.Settings.Callers.Key || cfg.Settings.State.Memory() {
		return nil, nil
	}
	issued := from.quotas.keyCache(cfg, func(err error) { from.failures.keys.Failed(time.Now(), err) })
	return issued, []Runner{func(ctx context.Context) {
		<-ctx.Done()
		issued.Close()
	}}
}

// newVerifier verifies the tokens of callers and operators; nil = neither are
// accepted.
func newVerifier(s *config.Settings) (*entra.Verifier, []Runner, error) {
	callers := &s.Callers
	if !callers.Entra && s.OperatorRole == "" {
		return nil, nil, nil
	}
	verifier, err := entra.New(entra.Config{Tenant: callers.Tenant, Audience: callers.Audience, Issuer: callers.Issuer})
	if err != nil {
		return nil, nil, err
	}
	return verifier, []Runner{verifier.Run}, nil
}
