package affinity

import (
	"context"

	"spillway/handler/internal/tablestore"
)

const (
	secretKey = "secret" // in a partition of its own name
	colSecret = "secret"
)

// Secret is a random text that all instances have, from the table. Until it could be
// read each has its own.
func (s *Store) Secret() []byte { return []byte(*s.secret.Load()) }

// shareSecret reads the secret, or makes it when there is none.
func (s *Store) shareSecret(ctx context.Context) {
	for {
		bounded, cancel := context.WithTimeout(ctx, writeTimeout)
		secret, err := tablestore.Secret(bounded, s.cfg.Table, secretKey, secretKey, colSecret)
		cancel()
		if err == nil {
			s.secret.Store(&secret)
			return
		}
		if !sleep(ctx, awayPause) {
			return
		}
	}
}
