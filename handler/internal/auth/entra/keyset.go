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

// When keys are fetched (docs/security.md#tokens).
const (
	unknownKeyInterval = 5 * time.Minute  // between fetches that unknown key ids cause
	refreshAfter       = time.Hour        // older keys are fetched again while tokens come
	maxKeyAge          = 72 * time.Hour   // keys without a successful fetch for longer are dropped
	minBackoff         = 2 * time.Second  // between fetches while there are no keys; doubles
	maxBackoff         = 60 * time.Second // up to this
	fetchTimeout       = 5 * time.Second
)

// Bounds of an issuer's answer.
const (
	maxBody        = 1 << 20
	maxKeyID       = 256
	minKeyBits     = 2048
	maxKeyBits     = 8192
	publicExponent = 65537
	maxKeys        = 100
)

// keySet is the issuer's keys as last fetched.
type keySet struct {
	metadata string // address of the issuer's metadata
	client   *http.Client
	now      func() time.Time
	running  sync.WaitGroup

	mu          sync.Mutex
	keys        map[string]*rsa.PublicKey
	issuerID    string        // the issuer's name in its metadata
	lastSuccess time.Time     // of a fetch that brought keys
	lastAttempt time.Time     // of any fetch
	lastUnknown time.Time     // of a fetch that an unknown key id caused
	failures    int           // fetches in a row that brought no keys
	lastErr     error         // of the last fetch
	inFlight    chan struct{} // closed when the running fetch ends; nil = none is running
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
	return &keySet{metadata: metadata, client: &client, now: cfg.Now}
}

// lookup returns the key with this id. For an unknown id it fetches the keys,
// unless another unknown id did so lately, and waits until that ends or ctx is
// done.
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

// usable reports whether there are keys that are not too old.
func (s *keySet) usable() bool { return len(s.keys) > 0 && s.now().Sub(s.lastSuccess) < maxKeyAge }

// due reports whether to fetch now, for a token whose key id is known or not.
// Scheduled fetches do not count against unknown ids: a key that the issuer
// began to use right after one is accepted at its first token.
func (s *keySet) due(known bool) bool {
	elapsed := s.now().Sub(s.lastAttempt)
	switch {
	case s.lastAttempt.IsZero():
		return true
	case !s.usable():
		return elapsed >= min(maxBackoff, minBackoff<<min(s.failures, 6))
	case known:
		return s.now().Sub(s.lastSuccess) >= refreshAfter && elapsed >= unknownKeyInterval
	}
	return s.lastUnknown.IsZero() || s.now().Sub(s.lastUnknown) >= unknownKeyInterval
}

// refresh starts a fetch. The caller holds mu.
func (s *keySet) refresh() chan struct{} {
	s.lastAttempt = s.now()
	s.inFlight = make(chan struct{})
	s.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		s.record(s.fetch(ctx))
	})
	return s.inFlight
}

// record ends a fetch. A failed one leaves the keys as they are.
func (s *keySet) record(issuer string, keys map[string]*rsa.PublicKey, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr = err
	if err == nil {
		s.issuerID, s.keys, s.lastSuccess, s.failures = issuer, keys, s.now(), 0
	} else {
		s.failures++
	}
	close(s.inFlight)
	s.inFlight = nil
}

// run fetches keys while there are none, until ctx is done; then it waits for
// a running fetch.
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
	err := s.lastErr
	if err == nil {
		err = errNotFetched
	}
	return fmt.Errorf("entra: no signing keys, so no token can be verified: %w", err)
}

// fetch returns the issuer's name and its keys: at least one.
func (s *keySet) fetch(ctx context.Context) (issuer string, keys map[string]*rsa.PublicKey, err error) {
	var metadata struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := s.get(ctx, s.metadata, &metadata); err != nil {
		return "", nil, err
	}
	u, err := url.Parse(metadata.Keys)
	if err != nil || !secureURL(u) {
		return "", nil, fmt.Errorf("%s names no https address for its keys", s.metadata)
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := s.get(ctx, metadata.Keys, &set); err != nil {
		return "", nil, err
	}
	keys = map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		if key, ok := k.publicKey(); ok && len(keys) < maxKeys {
			keys[k.ID] = key
		}
	}
	if len(keys) == 0 {
		return "", nil, fmt.Errorf("%s has no usable key", metadata.Keys)
	}
	return metadata.Issuer, keys, nil
}

// get reads a JSON document of at most maxBody.
func (s *keySet) get(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", address, err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", address, errors.Unwrap(err))
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch %s: status %d", address, res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		return fmt.Errorf("fetch %s: %w", address, err)
	case len(body) > maxBody:
		return fmt.Errorf("fetch %s: more than %d bytes", address, maxBody)
	case json.Unmarshal(body, into) != nil:
		return fmt.Errorf("fetch %s: not the expected JSON", address)
	}
	return nil
}

// jwk is a key as issuers publish it (RFC 7517).
type jwk struct {
	Type string `json:"kty"`
	Use  string `json:"use"`
	Alg  string `json:"alg"`
	ID   string `json:"kid"`
	N    string `json:"n"`
	E    string `json:"e"`
}

// publicKey returns the key, if tokens may be signed with it.
func (k jwk) publicKey() (*rsa.PublicKey, bool) {
	if k.Type != "RSA" || k.Use != "" && k.Use != "sig" || k.Alg != "" && k.Alg != "RS256" || k.ID == "" || len(k.ID) > maxKeyID {
		return nil, false
	}
	n, err := base64.RawURLEncoding.DecodeString(k.N)
	e, eErr := base64.RawURLEncoding.DecodeString(k.E)
	if err != nil || eErr != nil {
		return nil, false
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if bits := modulus.BitLen(); bits < minKeyBits || bits > maxKeyBits || exponent.Cmp(big.NewInt(publicExponent)) != 0 {
		return nil, false
	}
	return &rsa.PublicKey{N: modulus, E: publicExponent}, true
}
