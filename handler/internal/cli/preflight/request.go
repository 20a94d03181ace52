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
	"time"

	"spillway/handler/internal/backend"
)

// errNoCredential: the request was not sent, because there is no credential.
var errNoCredential = errors.New("preflight: no credential")

// maxBody is how much of a response is read. The longest is the list of a
// region's models.
const maxBody = 1 << 20

// testRequest is one request to a backend.
type testRequest struct {
	path      string // below the target's endpoint
	query     string
	body      any  // nil = GET
	anonymous bool // without a credential
}

// testResponse is what is used of a response.
type testResponse struct {
	status   int
	header   http.Header
	code     string // the error's
	message  string // the error's
	model    string // of a success
	isObject bool   // the body is a JSON object

	retirements map[string]time.Time // of a list of models: when each stops to answer, by its id
}

// roundTrip makes one request. Its errors are of the transport, or wrap
// errNoCredential.
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
		err = t.Credential.Apply(ctx, req.Header, nil) // a developer's first sign-in takes longer than Apply waits
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCredential, err)
	}
	return req, nil
}

// redact removes our credential from a response that repeats it.
func redact(body []byte, h http.Header) []byte {
	for _, name := range []string{"Api-Key", "Authorization"} {
		if secret := strings.TrimPrefix(h.Get(name), "Bearer "); secret != "" {
			body = bytes.ReplaceAll(body, []byte(secret), []byte("***"))
		}
	}
	return body
}

// parseResponse reads an error in each form that the service uses
// (docs/azure-openai.md#errors): its code may be a number, and the response to
// a bad token has no error object.
func parseResponse(res *http.Response, body []byte) *testResponse {
	var read struct {
		Model   string          `json:"model"`
		Message string          `json:"message"`
		Error   json.RawMessage `json:"error"`
		Data    json.RawMessage `json:"data"`
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
	a.retirements = parseRetirements(read.Data)
	a.message, a.model = inner.Message, read.Model
	if a.message == "" {
		a.message = read.Message
	}
	return a
}

// parseRetirements reads when the models of a list stop to answer; models
// without a date are left out.
func parseRetirements(list []byte) map[string]time.Time {
	var models []struct {
		ID          string `json:"id"`
		Deprecation struct {
			Inference int64 `json:"inference"`
		} `json:"deprecation"`
	}
	if json.Unmarshal(list, &models) != nil { // embeddings, say
		return nil
	}
	dates := map[string]time.Time{}
	for _, m := range models {
		if m.Deprecation.Inference > 0 {
			dates[m.ID] = time.Unix(m.Deprecation.Inference, 0).UTC()
		}
	}
	return dates
}

// summary is the status with the response's code and message, in one line.
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
