package blob

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Bearer signs by identity.
type Bearer func(ctx context.Context) (token string, err error)

// Sign adds the token.
func (b Bearer) Sign(ctx context.Context, r *http.Request) error {
	token, err := b(ctx)
	if err == nil {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return err
}

// sharedKey signs with the account's key.
type sharedKey struct {
	account string
	key     []byte
}

// Sign adds the signature of everything that matters in the request.
func (k *sharedKey) Sign(_ context.Context, r *http.Request) error {
	mac := hmac.New(sha256.New, k.key)
	mac.Write([]byte(k.text(r)))
	r.Header.Set("Authorization", "SharedKey "+k.account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}

// text is what is signed, in the service's canonical form.
func (k *sharedKey) text(r *http.Request) string {
	length := ""
	if r.ContentLength > 0 {
		length = strconv.FormatInt(r.ContentLength, 10)
	}
	lines := []string{r.Method, "", "", length, "", r.Header.Get("Content-Type"), "", "", "", "", "", ""}
	var ours []string
	for name, values := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			ours = append(ours, lower+":"+strings.Join(values, ","))
		}
	}
	slices.Sort(ours)
	lines = append(lines, ours...)
	resource := "/" + k.account + r.URL.EscapedPath()
	query := r.URL.Query()
	var names []string
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		resource += "\n" + strings.ToLower(name) + ":" + strings.Join(query[name], ",")
	}
	return strings.Join(append(lines, resource), "\n")
}

// signature signs with a shared access signature.
type signature url.Values

// Sign adds the signature to the query.
func (s signature) Sign(_ context.Context, r *http.Request) error {
	query := r.URL.Query()
	for name, values := range s {
		query[name] = values
	}
	r.URL.RawQuery = query.Encode()
	return nil
}

// ErrConnection is a connection string by which no blob can be written.
var ErrConnection = errors.New("blob: the connection string names no blob service with a key")

// Connect is a container by a storage account's connection string.
func Connect(text, name string) (*Container, error) {
	parts := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		if key, value, ok := strings.Cut(part, "="); ok {
			parts[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		}
	}
	endpoint, account := strings.TrimRight(parts["blobendpoint"], "/"), parts["accountname"]
	if endpoint == "" && account != "" {
		suffix := parts["endpointsuffix"]
		if suffix == "" {
			suffix = "core.windows.net"
		}
		protocol := parts["defaultendpointsprotocol"]
		if protocol == "" {
			protocol = "https"
		}
		endpoint = protocol + "://" + account + ".blob." + suffix
	}
	signer, err := signerOf(parts, account)
	if err != nil || endpoint == "" {
		return nil, errors.Join(ErrConnection, err)
	}
	return &Container{Endpoint: endpoint, Name: name, Sign: signer}, nil
}

func signerOf(parts map[string]string, account string) (Signer, error) {
	if sas := strings.TrimPrefix(parts["sharedaccesssignature"], "?"); sas != "" {
		values, err := url.ParseQuery(sas)
		if err != nil {
			return nil, errors.New("its shared access signature cannot be read") // whose text is a secret
		}
		return signature(values), nil
	}
	key, err := base64.StdEncoding.DecodeString(parts["accountkey"])
	if err != nil || len(key) == 0 || account == "" {
		return nil, fmt.Errorf("its account key is missing or not in base64")
	}
	return &sharedKey{account: account, key: key}, nil
}
