package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/auth"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/proxy"
)

var instant = time.UnixMilli(1_900_000_000_000)

// gateway is a Server whose dependencies are fakes.
type gateway struct {
	*api.Server
	url          string
	authenticate func() (*consumer.Consumer, error)
	do           func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result
	records      chan *api.RequestRecord
	received     *proxy.Request
}

func (d *gateway) RequestDone(x *api.RequestRecord) { d.records <- x }

func (d *gateway) Authenticate(context.Context, http.Header, string) (auth.Identity, error) {
	if d.authenticate == nil {
		return auth.Identity{}, nil
	}
	c, err := d.authenticate()
	return auth.Identity{Consumer: c}, err
}

func (d *gateway) Resolve(name string) ([]*balancer.Pool, bool) {
	if name == "default" {
		name = "gpt-4o"
	}
	return []*balancer.Pool{{Model: name}}, name == "gpt-4o" || name == "gpt-5"
}

func (d *gateway) Names(*consumer.Consumer) []string { return []string{"gpt-4o", "gpt-5"} }

func (d *gateway) All() []*balancer.Pool {
	return []*balancer.Pool{{Model: "gpt-4o", Backends: []balancer.Backend{{Name: "a"}}}, {Model: "gpt-5"}}
}

func (d *gateway) Ready(model string) (bool, map[string]string) {
	return model != "down", map[string]string{"down": "circuit open"}
}

func (d *gateway) Do(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
	kept := &proxy.Request{Operation: r.Operation, Family: r.Family, Method: r.Method, Model: r.Model, Parsed: r.Parsed, Body: bytes.Clone(r.Body), Consumer: r.Consumer, Affinity: r.Affinity}
	d.received = kept
	if d.do != nil {
		return d.do(ctx, pools, r, deliver)
	}
	return serve(ctx, pools, deliver)
}

// serve is a forwarder whose first backend serves.
func serve(ctx context.Context, pools []*balancer.Pool, deliver proxy.Deliver) *proxy.Result {
	b := &balancer.Backend{Name: "a", Region: "uksouth"}
	result := &proxy.Result{Pool: pools[0], ServedBy: b, Attempts: []proxy.Attempt{{Backend: b, Status: 200}}}
	result.Decision.Model = pools[0].Model
	result.Delivery = deliver(ctx, &proxy.BackendResponse{Backend: b, Result: result, Hooks: proxy.CommitHooks{Committed: func() {}, MayCommit: func() bool { return true }}})
	return result
}

func (d *gateway) Abort(context.Context) { panic(http.ErrAbortHandler) }

func (d *gateway) Open(w http.ResponseWriter, _ *proxy.Request) proxy.Answer { return plainAnswer{w} }

// plainAnswer has one answer for every request.
type plainAnswer struct{ w http.ResponseWriter }

func (p plainAnswer) Deliver(_ context.Context, a *proxy.BackendResponse) proxy.Delivery {
	if !a.Hooks.MayCommit() {
		return proxy.Delivery{}
	}
	a.Hooks.Committed()
	_, _ = io.WriteString(p.w, `{"id":"chatcmpl-1"}`)
	return proxy.Delivery{Committed: true}
}

// send sends a request and reads the whole answer.
func (d *gateway) send(t *testing.T, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// wantError checks OpenAI's shape, the status and the code.
func wantError(t *testing.T, res *http.Response, body string, status int, code string) {
	t.Helper()
	var shape struct {
		Error struct {
			Message, Type, Code string
			Param               *string
		}
	}
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&shape); err != nil || shape.Error.Message == "" || shape.Error.Type == "" {
		t.Errorf("body %q is not an OpenAI error: %v", body, err)
	}
	if res.StatusCode != status || shape.Error.Code != code {
		t.Errorf("%d %s, want %d %s", res.StatusCode, shape.Error.Code, status, code)
	}
	if res.Header.Get("X-Request-Id") != "req-1" || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v lack the request id or the content type", res.Header)
	}
}

const (
	chat  = "/openai/v1/chat/completions"
	hello = `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`
)

type discardObserver struct{}
