package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"spillway/handler/internal/backend"
)

// errNoCredential is a request that was not made for want of a credential.
var errNoCredential = errors.New("doctor: no credential")

// maxBody is as much of an answer as is looked at: one with a single word's
// embedding is the longest.
const maxBody = 256 << 10

// testRequest is one request to a backend.
type testRequest struct {
	path      string // below the target's endpoint
	query     string
	body      any  // nil = GET
	anonymous bool // without a credential
}

// testResponse is what came back.
type testResponse struct {
	status   int
	header   http.Header
	code     string // the error's
	message  string // the error's
	model    string // of a success
	isObject bool   // the body is a JSON object
}

// roundTrip makes one request. The error is of the way there and back, or wraps
// errCredential.
func roundTrip(ctx context.Context, t *backend.Target, q *testRequest) (*testResponse, error) {
	req, err := q.build(ctx, t)
	if err != nil {
		return nil, err
	}
	res, err := t.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return parseResponse(res, redact(body, req.Header)), nil
}

func (q *testRequest) build(ctx context.Context, t *backend.Target) (*http.Request, error) {
	method, body := http.MethodGet, []byte(nil)
	if q.body != nil {
		method = http.MethodPost
		var err error
		if body, err = json.Marshal(q.body); err != nil {
			return nil, fmt.Errorf("write question: %w", err)
		}
	}
	u := &url.URL{Scheme: t.Endpoint.Scheme, Host: t.Endpoint.Host, Path: strings.TrimSuffix(t.Endpoint.Path, "/") + q.path, RawQuery: q.query}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("write question: %w", err)
	}
	if q.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "spillway-validate")
	req.Header.Set("Accept-Encoding", "identity")
	if q.anonymous {
		return req, nil
	}
	err = t.Credential.Apply(ctx, req.Header, nil)
	if errors.Is(err, backend.ErrCredentialUnavailable) && ctx.Err() == nil {
		err = t.Credential.Apply(ctx, req.Header, nil) // a developer's first sign-in takes longer than a request would wait
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCredential, err)
	}
	return req, nil
}

// redact takes our credential out of an answer that repeats it.
func redact(body []byte, h http.Header) []byte {
	for _, name := range []string{"Api-Key", "Authorization"} {
		if secret := strings.TrimPrefix(h.Get(name), "Bearer "); secret != "" {
			body = bytes.ReplaceAll(body, []byte(secret), []byte("***"))
		}
	}
	return body
}

// parseResponse reads the error in any of the shapes of facts/azure-openai.md §2
// and §4: code may be a number, and a bad token's answer has no error object.
func parseResponse(res *http.Response, body []byte) *testResponse {
	var read struct {
		Model   string          `json:"model"`
		Message string          `json:"message"`
		Error   json.RawMessage `json:"error"`
	}
	a := &testResponse{status: res.StatusCode, header: res.Header}
	a.isObject = json.Unmarshal(body, &read) == nil
	var inner struct {
		Code    any    `json:"code"`
		Message string `json:"message"`
	}
	if len(read.Error) > 0 && json.Unmarshal(read.Error, &inner) == nil && inner.Code != nil {
		a.code = fmt.Sprint(inner.Code)
	}
	a.message, a.model = inner.Message, read.Model
	if a.message == "" {
		a.message = read.Message
	}
	return a
}

// summary is what an answer says of itself, in one line.
func (a *testResponse) summary() string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.TrimSpace(a.code+" "+a.message))
	const most = 160
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	if text == "" {
		return fmt.Sprintf("answers %d", a.status)
	}
	return fmt.Sprintf("answers %d (%s)", a.status, text)
}
