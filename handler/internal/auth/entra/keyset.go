package entra

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"sync"
	"time"

	"spillway/handler/internal/auth"
)

// How the issuer's keys are kept refreshAfter (facts/reliability.md §3.4, T19, T20).
const (
	unknownKeyInterval = 5 * time.Minute  // between refreshes that unknown key ids ask for
	refreshAfter       = time.Hour        // keys older than this are refreshed while tokens come
	maxKeyAge          = 72 * time.Hour   // how long keys are good without a refresh
	minBackoff         = 2 * time.Second  // before the second try while there are no keys; doubles
	maxBackoff         = 60 * time.Second // and no longer than this
	fetchTimeout       = 5 * time.Second  // for one refresh
)

// keySet is the issuer's keys as last fetched, and when to fetch them again.
type keySet struct {
	fetcher fetcher
	now     func() time.Time
	running sync.WaitGroup

	mu          sync.Mutex
	keys        map[string]*rsa.PublicKey
	issuerID    string        // the issuer, as it calls itself
	lastSuccess time.Time     // of the last refresh that brought keys
	lastAttempt time.Time     // of the last refresh
	lastUnknown time.Time     // of the last refresh that an unknown key id asked for
	failures    int           // refreshes in a row that brought none
	lastErr     error         // of the last one
	inFlight    chan struct{} // closed when the refresh under way ends; nil = none is
}

func newKeySet(cfg Config, metadata string) *keySet {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: fetchTimeout, ResponseHeaderTimeout: fetchTimeout, MaxResponseHeaderBytes: 64 << 10,
		}}
	}
	client := *cfg.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &keySet{fetcher: fetcher{metadata: metadata, client: &client}, now: cfg.Now}
}

// lookup returns the key of this id. For an id that is not known it asks the
// issuer, if it has not done so lately, and waits for that.
func (s *keySet) lookup(ctx context.Context, kid string) (*rsa.PublicKey, error) {
	s.mu.Lock()
	key, ok := s.known(kid)
	inFlight := s.inFlight
	if inFlight == nil && s.due(ok) {
		if !ok && s.usable() {
			s.lastUnknown = s.now()
		}
		inFlight = s.refresh()
	}
	s.mu.Unlock()
	if ok {
		return key, nil
	}
	if inFlight != nil {
		select {
		case <-inFlight:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok = s.known(kid); ok {
		return key, nil
	}
	if !s.usable() {
		return nil, auth.ErrUnavailable
	}
	return nil, auth.ErrSigningKey
}

func (s *keySet) known(kid string) (*rsa.PublicKey, bool) {
	key, ok := s.keys[kid]
	return key, ok && s.usable()
}

// usable reports whether there are keys that are good still.
func (s *keySet) usable() bool { return len(s.keys) > 0 && s.now().Sub(s.lastSuccess) < maxKeyAge }

// due reports whether the keys should be fetched now: for an id that is known,
// when they are old; for one that is not, when no such id had them fetched
// lately. So a key that the issuer began to use just after a refresh is accepted
// at its first token, and ids that are made up cost one refresh in a gap.
func (s *keySet) due(known bool) bool {
	since := s.now().Sub(s.lastAttempt)
	switch {
	case s.lastAttempt.IsZero():
		return true
	case !s.usable():
		return since >= min(maxBackoff, minBackoff<<min(s.failures, 6))
	case known:
		return s.now().Sub(s.lastSuccess) >= refreshAfter && since >= unknownKeyInterval
	}
	return s.lastUnknown.IsZero() || s.now().Sub(s.lastUnknown) >= unknownKeyInterval
}

// refresh begins a refresh. The caller holds mu.
func (s *keySet) refresh() chan struct{} {
	s.lastAttempt = s.now()
	s.inFlight = make(chan struct{})
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		from, keys, err := s.fetcher.fetch(ctx)
		s.record(from, keys, err)
	})
	return s.inFlight
}

func (s *keySet) record(from string, keys map[string]*rsa.PublicKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr = err
	if err == nil {
		s.issuerID, s.keys, s.lastSuccess, s.failures = from, keys, s.now(), 0
	} else {
		s.failures++
	}
	close(s.inFlight)
	s.inFlight = nil
}

// run keeps the keys ready from the start on, and waits for the last refresh.
func (s *keySet) run(ctx context.Context) {
	defer s.running.Wait()
	for {
		s.mu.Lock()
		if s.inFlight == nil && !s.usable() && s.due(false) {
			s.refresh()
		}
		wait := maxBackoff
		if !s.usable() {
			wait = minBackoff / 2
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
	return s.issuerID
}

var errNotFetched = errors.New("they have not been fetched yet")

func (s *keySet) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.usable() {
		return nil
	}
	why := s.lastErr
	if why == nil {
		why = errNotFetched
	}
	return fmt.Errorf("entra: no signing keys, so no token can be checked: %w", why)
}

// Bounds of what an issuer may answer.
const (
	maxBody        = 1 << 20
	maxKeyID       = 256
	minKeyBits     = 2048
	maxKeyBits     = 8192
	publicExponent = 65537
	maxKeys        = 100
)

// fetcher asks the issuer for its description and its keys.
type fetcher struct {
	metadata string
	client   *http.Client
}

// fetch returns who the issuer says it is, and its keys: at least one.
func (f *fetcher) fetch(ctx context.Context) (issuer string, keys map[string]*rsa.PublicKey, err error) {
	var metadata struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := f.get(ctx, f.metadata, &metadata); err != nil {
		return "", nil, err
	}
	u, err := url.Parse(metadata.Keys)
	if err != nil || !secureURL(u) {
		return "", nil, fmt.Errorf("%s names no https address for its keys", f.metadata)
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := f.get(ctx, metadata.Keys, &set); err != nil {
		return "", nil, err
	}
	keys = map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		if key, ok := k.publicKey(); ok && len(keys) < maxKeys {
			keys[k.ID] = key
		}
	}
	if len(keys) == 0 {
		return "", nil, fmt.Errorf("%s has no key that can be used", metadata.Keys)
	}
	return metadata.Issuer, keys, nil
}

// get reads a JSON document, whole and of bounded size.
func (f *fetcher) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", address, err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := f.client.Do(req)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", address, errors.Unwrap(err))
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch %s: status %d", address, res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", address, err)
	}
	if len(body) > maxBody {
		return fmt.Errorf("fetch %s: more than %d bytes", address, maxBody)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("fetch %s: not the JSON that was expected", address)
	}
	return nil
}

// jwk is a key as issuers publish it.
type jwk struct {
	Type string `json:"kty"`
	Use  string `json:"use"`
	Alg  string `json:"alg"`
	ID   string `json:"kid"`
	N    string `json:"n"`
	E    string `json:"e"`
}

// publicKey is the key, when it is one that a token may be signed with.
func (k jwk) publicKey() (*rsa.PublicKey, bool) {
	if k.Type != "RSA" || k.Use != "" && k.Use != "sig" || k.Alg != "" && k.Alg != "RS256" || k.ID == "" || len(k.ID) > maxKeyID {
		return nil, false
	}
	n, err := base64.RawURLEncoding.DecodeString(k.N)
	if err != nil {
		return nil, false
	}
	e, err := base64.RawURLEncoding.DecodeString(k.E)
	if err != nil {
		return nil, false
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	public := new(big.Int).SetBytes(e)
	if bits := key.N.BitLen(); bits < minKeyBits || bits > maxKeyBits || !public.IsInt64() || public.Int64() != publicExponent {
		return nil, false
	}
	key.E = publicExponent
	return key, true
}
