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

// errCredential is a request that was not made for want of a credential.
var errCredential = errors.New("doctor: no credential")

// maxAnswer is as much of an answer as is looked at: one with a single word's
// embedding is the longest.
const maxAnswer = 256 << 10

// question is one request to a backend.
type question struct {
	path    string // below the target's endpoint
	query   string
	body    any  // nil = GET
	unnamed bool // without a credential
}

// answer is what came back.
type answer struct {
	status  int
	header  http.Header
	code    string // the error's
	message string // the error's
	model   string // of a success
	object  bool   // the body is a JSON object
}

// ask makes one request. The error is of the way there and back, or wraps
// errCredential.
func ask(ctx context.Context, t *backend.Target, q *question) (*answer, error) {
	req, err := q.request(ctx, t)
	if err != nil {
		return nil, err
	}
	res, err := t.Transport.RoundTrip(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // it is classed, not shown
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return understand(res, withoutSecrets(body, req.Header)), nil
}

func (q *question) request(ctx context.Context, t *backend.Target) (*http.Request, error) {
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
	if q.unnamed {
		return req, nil
	}
	err = t.Credential.Put(ctx, req.Header, nil)
	if errors.Is(err, backend.ErrCredential) && ctx.Err() == nil {
		err = t.Credential.Put(ctx, req.Header, nil) // a developer's first sign-in takes longer than a request would wait
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCredential, err)
	}
	return req, nil
}

// withoutSecrets takes our credential out of an answer that repeats it.
func withoutSecrets(body []byte, h http.Header) []byte {
	for _, name := range []string{"Api-Key", "Authorization"} {
		if secret := strings.TrimPrefix(h.Get(name), "Bearer "); secret != "" {
			body = bytes.ReplaceAll(body, []byte(secret), []byte("***"))
		}
	}
	return body
}

// understand reads the error in any of the shapes of facts/azure-openai.md §2
// and §4: code may be a number, and a bad token's answer has no error object.
func understand(res *http.Response, body []byte) *answer {
	var read struct {
		Model   string          `json:"model"`
		Message string          `json:"message"`
		Error   json.RawMessage `json:"error"`
	}
	a := &answer{status: res.StatusCode, header: res.Header}
	a.object = json.Unmarshal(body, &read) == nil
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

// words is what an answer says of itself, in one line.
func (a *answer) words() string {
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
