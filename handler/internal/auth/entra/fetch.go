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
)

// Bounds of what an issuer may answer.
const (
	longestBody = 1 << 20
	longestID   = 256
	leastBits   = 2048
	mostBits    = 8192
	exponent    = 65537
	mostKeys    = 100
)

// fetcher asks the issuer for its description and its keys.
type fetcher struct {
	metadata string
	client   *http.Client
}

// fetch returns who the issuer says it is, and its keys: at least one.
func (f *fetcher) fetch(ctx context.Context) (issuer string, keys map[string]*rsa.PublicKey, err error) {
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := f.get(ctx, f.metadata, &about); err != nil {
		return "", nil, err
	}
	u, err := url.Parse(about.Keys)
	if err != nil || !private(u) {
		return "", nil, fmt.Errorf("%s names no https address for its keys", f.metadata)
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := f.get(ctx, about.Keys, &set); err != nil {
		return "", nil, err
	}
	keys = map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		if key, ok := k.rsa(); ok && len(keys) < mostKeys {
			keys[k.ID] = key
		}
	}
	if len(keys) == 0 {
		return "", nil, fmt.Errorf("%s has no key that can be used", about.Keys)
	}
	return about.Issuer, keys, nil
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
	body, err := io.ReadAll(io.LimitReader(res.Body, longestBody+1))
	if err != nil {
		return fmt.Errorf("fetch %s: %w", address, err)
	}
	if len(body) > longestBody {
		return fmt.Errorf("fetch %s: more than %d bytes", address, longestBody)
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

// rsa is the key, when it is one that a token may be signed with.
func (k jwk) rsa() (*rsa.PublicKey, bool) {
	if k.Type != "RSA" || k.Use != "" && k.Use != "sig" || k.Alg != "" && k.Alg != "RS256" || k.ID == "" || len(k.ID) > longestID {
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
	if bits := key.N.BitLen(); bits < leastBits || bits > mostBits || !public.IsInt64() || public.Int64() != exponent {
		return nil, false
	}
	key.E = exponent
	return key, true
}
