package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/proxy"
)

func newGateway(t *testing.T) *gateway {
	d := &gateway{records: make(chan *api.RequestRecord, 100)}
	d.Server = &api.Server{
		Forwarder: d, Models: d, Authenticator: d, Readiness: d, Relay: d, Observer: d,
		Now: func() time.Time { return instant }, Rand: func() float64 { return 0 }, NewID: func() string { return "req-1" }, MaxBody: 1 << 20,
	}
	s := httptest.NewServer(d.Handler())
	t.Cleanup(s.Close)
	d.url = s.URL
	return d
}

func (plainAnswer) Fail([]byte) bool { return false }

func TestChatCompletionsInEveryURLFamily(t *testing.T) {
	d := newGateway(t)
	for _, path := range []string{chat, "/v1/chat/completions", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "/openai/v1//chat/completions"} {
		res, body := d.send(t, "POST", path, hello)
		if res.StatusCode != 200 || body != `{"id":"chatcmpl-1"}` || d.received.Model != "gpt-4o" || string(d.received.Body) != hello {
			t.Errorf("%s: %d %s, received %q for %q", path, res.StatusCode, body, d.received.Body, d.received.Model)
		}
	}
}

func TestModelInPathTakesPrecedenceOverBody(t *testing.T) {
	d := newGateway(t)
	d.send(t, "POST", "/openai/deployments/gpt-5/chat/completions", hello)
	if d.received.Model != "gpt-5" {
		t.Errorf("model = %q, want the path's", d.received.Model)
	}
}

func TestInvalidRequestsGetOpenAIErrors(t *testing.T) {
	d := newGateway(t)
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		code               string
	}{
		"malformed":         {"POST", chat, `{"model":`, nil, 400, "invalid_json"},
		"empty":             {"POST", chat, ``, nil, 400, "invalid_json"},
		"array":             {"POST", chat, `[]`, nil, 400, "invalid_json"},
		"duplicate":         {"POST", chat, `{"model":"gpt-4o","model":"gpt-5"}`, nil, 400, "invalid_json"},
		"no model":          {"POST", chat, `{"messages":[]}`, nil, 400, "model_missing"},
		"model of a number": {"POST", chat, `{"model":7}`, nil, 400, "invalid_json"},
		"other case":        {"POST", chat, `{"MODEL":"gpt-4o"}`, nil, 400, "model_missing"},
		"invalid utf-8":     {"POST", chat, "{\"model\":\"gpt-4o\xff\"}", nil, 400, "invalid_json"},
		"unknown model":     {"POST", chat, `{"model":"gpt-9"}`, nil, 404, "model_not_found"},
		"unknown path":      {"POST", "/openai/v1/chat", hello, nil, 404, "not_found"},
		"other path":        {"GET", "/favicon.ico", "", nil, 404, "not_found"},
		"unsafe name":       {"POST", "/openai/deployments/..%2f..%2fadmin/chat/completions", hello, nil, 404, "model_not_found"},
		"as the host does":  {"POST", "/openai/deployments/a%252Fb/chat/completions", hello, nil, 404, "model_not_found"},
		"method":            {"PUT", chat, "", nil, 405, "method_not_allowed"},
		"compressed":        {"POST", chat, hello, []string{"Content-Encoding", "deflate"}, 415, "unsupported_encoding"},
		"too large":         {"POST", chat, `{"model":"gpt-4o","x":"` + strings.Repeat("a", 2<<20) + `"}`, nil, 413, "request_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := d.send(t, c.method, c.path, c.body, c.header...)
			wantError(t, res, body, c.status, c.code)
			if x := <-d.records; x.Status != c.status || x.Code != c.code {
				t.Errorf("recorded %d %s", x.Status, x.Code)
			}
			if res, _ := d.send(t, "POST", chat, hello); res.StatusCode != 200 {
				t.Errorf("the next request got %d", res.StatusCode)
			}
			<-d.records
		})
	}
}

// Whoever reads the log sees by which other name a caller wanted a model. What no
// model is called may be a secret.
func TestRequestedModelIsRecorded(t *testing.T) {
	d := newGateway(t)
	for asked, want := range map[string]string{"gpt-4o": "", "gpt-9": "", "default": "default"} {
		d.send(t, "POST", chat, `{"model":"`+asked+`","messages":[]}`)
		if x := <-d.records; x.Requested != want {
			t.Errorf("asked for %q: recorded %q beside %q, want %q", asked, x.Requested, x.Model, want)
		}
	}
}

func TestChunkedBodyOverLimitIs413(t *testing.T) {
	d := newGateway(t)
	req, _ := http.NewRequestWithContext(t.Context(), "POST", d.url+chat, io.MultiReader(strings.NewReader(`{"x":"`), strings.NewReader(strings.Repeat("a", 3<<20))))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	wantError(t, res, string(body), 413, "request_too_large")
}

func TestUnauthenticatedErrorsDoNotDiscloseTheCause(t *testing.T) {
	d := newGateway(t)
	d.authenticate = func() (*consumer.Consumer, error) { return nil, errors.New("no such key: abc") }
	for _, path := range []string{chat, "/nowhere", "/openai/deployments/..%2f/chat/completions"} {
		res, body := d.send(t, "POST", path, "{")
		wantError(t, res, body, 401, "invalid_api_key")
		if strings.Contains(body, "abc") {
			t.Errorf("%s discloses the cause: %s", path, body)
		}
	}
}

func TestModelNotAllowedForConsumerIs403(t *testing.T) {
	d := newGateway(t)
	d.authenticate = func() (*consumer.Consumer, error) {
		return &consumer.Consumer{Models: []string{"gpt-5"}}, nil
	}
	res, body := d.send(t, "POST", chat, hello)
	wantError(t, res, body, 403, "model_not_allowed")
}

// exhausted is a forwarder that ends in err.
func exhausted(err error, retryIn time.Duration) func(context.Context, []*balancer.Pool, *proxy.Request, proxy.Deliver) *proxy.Result {
	return func(_ context.Context, pools []*balancer.Pool, _ *proxy.Request, _ proxy.Deliver) *proxy.Result {
		return &proxy.Result{Pool: pools[0], Err: err, RetryAt: instant.Add(retryIn)}
	}
}

func TestExhaustionStatusCodes(t *testing.T) {
	d := newGateway(t)
	for _, c := range []struct {
		err     error
		retryIn time.Duration
		status  int
		code    string
		seconds string
		millis  string
	}{
		{proxy.ErrThrottled, 7100 * time.Millisecond, 429, "rate_limit_exceeded", "8", "7100"},
		{proxy.ErrThrottled, 20 * time.Millisecond, 429, "rate_limit_exceeded", "1", "1000"},
		{proxy.ErrThrottled, 24 * time.Hour, 429, "rate_limit_exceeded", "59", "59000"},
		{proxy.ErrUnavailable, 3 * time.Second, 503, "no_backend_available", "3", "3000"},
		{proxy.ErrUnavailable, -time.Minute, 503, "no_backend_available", "1", "1000"},
		{proxy.ErrUnavailable, 5 * time.Minute, 503, "no_backend_available", "10", "10000"},
		{proxy.ErrRefused, time.Second, 503, "no_backend_available", "1", "1000"},
		{proxy.ErrTimeout, 0, 504, "upstream_timeout", "", ""},
		{proxy.ErrConstrainedOut, 0, 403, "geography_not_allowed", "", ""},
	} {
		d.do = exhausted(c.err, c.retryIn)
		res, body := d.send(t, "POST", chat, hello)
		wantError(t, res, body, c.status, c.code)
		if s, ms := res.Header.Get("Retry-After"), res.Header.Get("Retry-After-Ms"); s != c.seconds || ms != c.millis {
			t.Errorf("%v in %v: retry-after %q, -ms %q, want %q, %q", c.err, c.retryIn, s, ms, c.seconds, c.millis)
		}
		if c.seconds != "" && !strings.Contains(body, "retry after "+c.seconds+" seconds") {
			t.Errorf("message lacks the wait: %s", body)
		}
	}
}

func TestRefusalsOfEveryBackendAreTheCallersUnlessTheyAreOfOurCredential(t *testing.T) {
	d := newGateway(t)
	for refusal, want := range map[int]int{401: 503, 402: 503, 403: 503, 0: 503, 404: 404, 400: 400, 410: 410} {
		d.do = func(_ context.Context, pools []*balancer.Pool, _ *proxy.Request, _ proxy.Deliver) *proxy.Result {
			return &proxy.Result{Pool: pools[0], Err: proxy.ErrRefused, Refusal: refusal}
		}
		code := map[int]string{503: "no_backend_available"}[want]
		if code == "" {
			code = "operation_not_supported"
		}
		res, body := d.send(t, "POST", chat, hello)
		wantError(t, res, body, want, code)
		if final := res.Header.Get("X-Should-Retry"); (final == "false") != (want != 503) {
			t.Errorf("%d: x-should-retry %q", refusal, final)
		}
	}
}

// What no backend takes, in a form that cannot be passed on, is a well-formed error
// that says what happened.
func TestRefusalsWithoutAReasonAreWellFormed(t *testing.T) {
	d := newGateway(t)
	for _, c := range []struct {
		statuses []int
		want     int
		code     string
		retry    bool
	}{
		{[]int{400, 400}, 400, "400", false},
		{[]int{413, 413}, 413, "413", false},
		{[]int{421, 421}, 503, "no_backend_available", true},
		{[]int{499, 400}, 503, "no_backend_available", true},
		{[]int{401, 410}, 503, "no_backend_available", true},
	} {
		d.do = func(_ context.Context, pools []*balancer.Pool, _ *proxy.Request, _ proxy.Deliver) *proxy.Result {
			r := &proxy.Result{Pool: pools[0], Err: proxy.ErrRefused, Refusal: c.statuses[0]}
			for _, status := range c.statuses {
				r.Attempts = append(r.Attempts, proxy.Attempt{Backend: new(balancer.Backend), Status: status, Outcome: health.Outcome{Class: health.Misconfigured, Reason: strconv.Itoa(status)}})
			}
			return r
		}
		res, body := d.send(t, "POST", chat, hello)
		wantError(t, res, body, c.want, c.code)
		if final := res.Header.Get("X-Should-Retry") == "false"; final == c.retry || strings.Contains(body, "credential") {
			t.Errorf("%v: x-should-retry %q, %s", c.statuses, res.Header.Get("X-Should-Retry"), body)
		}
	}
}

// What is the gateway's own fault is not said to be the caller's, nor the backends'.
func TestRefusalsForTheGatewaysOwnFaultSayWhoseItIs(t *testing.T) {
	d := newGateway(t)
	for _, c := range []struct {
		status      int
		reason      string
		want        int
		code, says  string
		rule, cause string
	}{
		{401, "401", 503, "no_backend_available", "refuse the gateway's own credential; yours is accepted", "backends", "every backend refuses the gateway's own credential: 401"},
		{402, "out of quota", 503, "no_backend_available", "own account has no credit or quota left; your key is accepted", "backends", "every backend is out of quota: 402"},
		{404, "deployment not found", 404, "DeploymentNotFound", "deployments behind the model", "backends", "has its deployment"},
	} {
		d.do = func(_ context.Context, pools []*balancer.Pool, _ *proxy.Request, _ proxy.Deliver) *proxy.Result {
			return &proxy.Result{Pool: pools[0], Err: proxy.ErrRefused, Refusal: c.status, Attempts: []proxy.Attempt{{
				Backend: new(balancer.Backend), Status: c.status, Outcome: health.Outcome{Class: health.Misconfigured, Reason: c.reason},
			}}}
		}
		res, body := d.send(t, "POST", chat, hello)
		wantError(t, res, body, c.want, c.code)
		x := <-d.records
		if !strings.Contains(body, c.says) || x.Rule != c.rule || x.Cause == nil || !strings.Contains(x.Cause.Error(), c.cause) {
			t.Errorf("%d: %s, rule %q, %v", c.status, body, x.Rule, x.Cause)
		}
	}
}

func TestRequestThatIsTooLargeForThePoolIsNotToBeRetried(t *testing.T) {
	d := newGateway(t)
	d.do = func(_ context.Context, pools []*balancer.Pool, _ *proxy.Request, _ proxy.Deliver) *proxy.Result {
		return &proxy.Result{Pool: pools[0], Err: proxy.ErrThrottled, TooLarge: true, RetryAt: instant.Add(20 * time.Second)}
	}
	res, body := d.send(t, "POST", chat, hello)
	wantError(t, res, body, 429, "rate_limit_exceeded")
	if res.Header.Get("X-Should-Retry") != "false" || res.Header.Get("Retry-After") != "20" {
		t.Errorf("headers %v, want no retry, and the wait", res.Header)
	}
}

func TestBrokenDeliveryAbortsConnection(t *testing.T) {
	d := newGateway(t)
	d.do = func(ctx context.Context, pools []*balancer.Pool, _ *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		r := serve(ctx, pools, deliver)
		r.Delivery.Broken = true
		return r
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", d.url+chat, strings.NewReader(hello))
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("the caller saw a clean end")
	}
}

func TestClientDeadline(t *testing.T) {
	d := newGateway(t)
	for _, c := range []struct {
		headers []string
		want    time.Duration // 0 = none
	}{
		{nil, 0},
		{[]string{"X-Stainless-Timeout", "0.05"}, 50 * time.Millisecond},
		{[]string{"X-Stainless-Timeout", "600", "X-Stainless-Read-Timeout", "90"}, 90 * time.Second},
		{[]string{"X-Stainless-Timeout", "7200"}, 0},
		{[]string{"X-Stainless-Timeout", "-1"}, 0},
		{[]string{"X-Stainless-Timeout", "soon"}, 0},
	} {
		d.do = func(_ context.Context, pools []*balancer.Pool, r *proxy.Request, _ proxy.Deliver) *proxy.Result {
			switch {
			case c.want == 0 && !r.Deadline.IsZero():
				t.Errorf("%v: deadline %v, want none", c.headers, r.Deadline)
			case c.want > 0 && r.Deadline.Sub(r.Received) != c.want:
				t.Errorf("%v: deadline after %v, want %v", c.headers, r.Deadline.Sub(r.Received), c.want)
			}
			return &proxy.Result{Pool: pools[0], Err: proxy.ErrTimeout}
		}
		res, body := d.send(t, "POST", chat, hello, c.headers...)
		wantError(t, res, body, 504, "upstream_timeout")
	}
}

func TestBackendHeadersOnlyWhenExposed(t *testing.T) {
	d := newGateway(t)
	if res, _ := d.send(t, "POST", chat, hello, "X-Spillway-Explain", "1"); res.Header.Get("X-Spillway-Backend") != "" || res.Header.Get("X-Spillway-Explain") != "" {
		t.Errorf("headers %v name the backend", res.Header)
	}
	d.Expose = true
	if res, _ := d.send(t, "POST", chat, hello); res.Header.Get("X-Spillway-Backend") != "a" || res.Header.Get("X-Spillway-Region") != "uksouth" {
		t.Errorf("headers %v lack the backend", res.Header)
	}
}

func TestExplainListsEveryCandidate(t *testing.T) {
	a, b, c := &balancer.Backend{Name: "a", Priority: 1}, &balancer.Backend{Name: "b", Priority: 1}, &balancer.Backend{Name: "c", Priority: 2}
	result := &proxy.Result{Attempts: []proxy.Attempt{{Backend: b, Outcome: health.Outcome{Class: health.Throttled, Reason: "429 tokens"}}, {Backend: c}}}
	result.Decision.Candidates = []balancer.Candidate{{Backend: b}, {Backend: c}, {Backend: a, Reason: health.SkipOpen, Until: instant.Add(1500 * time.Millisecond)}}
	want := "b priority=1 throttled 429 tokens; c priority=2 served; a priority=1 circuit open for 1.5s"
	if got := api.Explain(result, instant); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The operators' handler gets every path below /ops, with names of backends as
// they are written.
func TestAdminIsMountedWhateverTheCase(t *testing.T) {
	d := newGateway(t)
	if res, body := d.send(t, "GET", "/ops/api/status", ""); res.StatusCode != 404 {
		t.Errorf("without a handler: %d %s", res.StatusCode, body)
	}
	d.Admin = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	s := httptest.NewServer(d.Handler())
	defer s.Close()
	d.url = s.URL
	for path, want := range map[string]string{
		"/ops": "/ops", "/ops/": "/ops/", "/OPS/api/status": "/OPS/api/status", "/ops/api/backends/My%20backend/a%2Fb/drain": "/ops/api/backends/My backend/a/b/drain",
	} {
		if res, body := d.send(t, "POST", path, ""); res.StatusCode != 200 || body != want {
			t.Errorf("%s: %d, the handler got %q, want %q", path, res.StatusCode, body, want)
		}
	}
	for _, path := range []string{"/opsx", "/./ops/", "/x/../ops/", "/%2e/ops/", "/x/%2e%2e/ops/", "/%2e%2e/ops/", "/ops%2fapi%2fstatus", "/.%2fops/", "/ops;x/", `/.\ops/`} {
		if res, body := d.send(t, "GET", path, ""); res.StatusCode != 404 {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	// What is decoded once, and then is below /ops, gets the operators' handler, which asks for the key before it looks at the path.
	for _, path := range []string{"/%6fps/api/status", "//ops/api/status", "/o%50s/api/status"} {
		if res, body := d.send(t, "GET", path, ""); res.StatusCode != 200 || !strings.HasSuffix(strings.ToLower(body), "/ops/api/status") {
			t.Errorf("%s: %d, the handler got %q", path, res.StatusCode, body)
		}
	}
}

func (discardObserver) RequestDone(*api.RequestRecord) {}

// BenchmarkChatCompletion is a request through the router and the middleware,
// with a forwarder that answers at once.
func BenchmarkChatCompletion(b *testing.B) {
	g := &gateway{}
	s := &api.Server{
		Forwarder: g, Models: g, Authenticator: g, Readiness: g, Relay: g, Observer: discardObserver{},
		Now: func() time.Time { return instant }, Rand: func() float64 { return 0 }, NewID: func() string { return "req-1" }, MaxBody: 1 << 20,
	}
	h := s.Handler()
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), "POST", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", strings.NewReader(hello))
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
