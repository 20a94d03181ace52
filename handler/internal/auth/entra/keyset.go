package entra

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"spillway/handler/internal/auth"
)

// How the issuer's keys are kept fresh (facts/reliability.md §3.4, T19, T20).
const (
	gap       = 5 * time.Minute  // between refreshes that unknown key ids ask for
	fresh     = time.Hour        // keys older than this are refreshed while tokens come
	trust     = 72 * time.Hour   // how long keys are good without a refresh
	firstWait = 2 * time.Second  // before the second try while there are no keys; doubles
	longWait  = 60 * time.Second // and no longer than this
	patience  = 5 * time.Second  // for one refresh
)

// keySet is the issuer's keys as last fetched, and when to fetch them again.
type keySet struct {
	fetcher fetcher
	now     func() time.Time
	running sync.WaitGroup

	mu       sync.Mutex
	keys     map[string]*rsa.PublicKey
	from     string        // the issuer, as it calls itself
	good     time.Time     // of the last refresh that brought keys
	tried    time.Time     // of the last refresh
	sought   time.Time     // of the last refresh that an unknown key id asked for
	failures int           // refreshes in a row that brought none
	why      error         // of the last one
	under    chan struct{} // closed when the refresh under way ends; nil = none is
}

func newKeySet(cfg Config, metadata string) *keySet {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: patience, ResponseHeaderTimeout: patience, MaxResponseHeaderBytes: 64 << 10,
		}}
	}
	client := *cfg.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &keySet{fetcher: fetcher{metadata: metadata, client: &client}, now: cfg.Now}
}

// find returns the key of this id. For an id that is not known it asks the
// issuer, if it has not done so lately, and waits for that.
func (s *keySet) find(ctx context.Context, kid string) (*rsa.PublicKey, error) {
	s.mu.Lock()
	key, ok := s.known(kid)
	under := s.under
	if under == nil && s.due(ok) {
		if !ok && s.any() {
			s.sought = s.now()
		}
		under = s.refresh()
	}
	s.mu.Unlock()
	if ok {
		return key, nil
	}
	if under != nil {
		select {
		case <-under:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok = s.known(kid); ok {
		return key, nil
	}
	if !s.any() {
		return nil, auth.ErrUnavailable
	}
	return nil, auth.ErrSigningKey
}

func (s *keySet) known(kid string) (*rsa.PublicKey, bool) {
	key, ok := s.keys[kid]
	return key, ok && s.any()
}

// any reports whether there are keys that are good still.
func (s *keySet) any() bool { return len(s.keys) > 0 && s.now().Sub(s.good) < trust }

// due reports whether the keys should be fetched now: for an id that is known,
// when they are old; for one that is not, when no such id had them fetched
// lately. So a key that the issuer began to use just after a refresh is accepted
// at its first token, and ids that are made up cost one refresh in a gap.
func (s *keySet) due(known bool) bool {
	since := s.now().Sub(s.tried)
	switch {
	case s.tried.IsZero():
		return true
	case !s.any():
		return since >= min(longWait, firstWait<<min(s.failures, 6))
	case known:
		return s.now().Sub(s.good) >= fresh && since >= gap
	}
	return s.sought.IsZero() || s.now().Sub(s.sought) >= gap
}

// refresh begins a refresh. The caller holds mu.
func (s *keySet) refresh() chan struct{} {
	s.tried = s.now()
	s.under = make(chan struct{})
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		from, keys, err := s.fetcher.fetch(ctx)
		s.took(from, keys, err)
	})
	return s.under
}

func (s *keySet) took(from string, keys map[string]*rsa.PublicKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = err
	if err == nil {
		s.from, s.keys, s.good, s.failures = from, keys, s.now(), 0
	} else {
		s.failures++
	}
	close(s.under)
	s.under = nil
}

// run keeps the keys ready from the start on, and waits for the last refresh.
func (s *keySet) run(ctx context.Context) {
	defer s.running.Wait()
	for {
		s.mu.Lock()
		if s.under == nil && !s.any() && s.due(false) {
			s.refresh()
		}
		wait := longWait
		if !s.any() {
			wait = firstWait / 2
		}
		s.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

func (s *keySet) issuer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from
}

var errNotYet = errors.New("they have not been fetched yet")

func (s *keySet) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.any() {
		return nil
	}
	why := s.why
	if why == nil {
		why = errNotYet
	}
	return fmt.Errorf("entra: no signing keys, so no token can be checked: %w", why)
}
