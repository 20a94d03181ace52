package simulator_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// pool is the usual service of these tests: a PTU and a pay-as-you-go resource.
func pool() simulator.Config {
	return simulator.Config{Seed: 1, Resources: []simulator.Resource{
		{Name: "ptu", Region: "uksouth", Keys: []string{"key-ptu"}, Deployments: []simulator.Deployment{
			{Name: "gpt-4o", Model: "gpt-4o", ModelVersion: "2024-11-20", SKU: simulator.Provisioned, ProvisionedTokensPerMinute: 6000},
		}},
		{Name: "payg", Region: "swedencentral", Keys: []string{"key-payg"}, Deployments: []simulator.Deployment{
			{Name: "gpt-4o", Model: "gpt-4o", ModelVersion: "2024-11-20"},
			{Name: "text-embedding-3-large", Model: "text-embedding-3-large"},
		}},
	}}
}

const (
	chatPath   = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
	hello      = `{"messages":[{"role":"user","content":"Say something about water, please."}]}`
	helloAloud = `{"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Say something about water, please."}]}`
)

// reply is a whole response.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // how reading the body ended, nil for a clean end
}

// post sends a body with the resource's key.
func post(t *testing.T, s *simulator.Service, resource, path, body string, headers ...string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := do(ctx, s, resource, path, body, headers...)
	if err != nil {
		t.Fatalf("post %s to %s: %v", path, resource, err)
	}
	return r
}

func do(ctx context.Context, s *simulator.Service, resource, path, body string, headers ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL(resource)+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("api-key", "key-"+resource)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return readReply(&http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}, req)
}

// readReply sends a request and reads the response to its end.
func readReply(client *http.Client, req *http.Request) (reply, error) {
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(read), err}, nil
}

func TestJournalEntry(t *testing.T) {
	s := simulator.Start(t, pool())
	raw := "POST " + chatPath + "&x=%2F HTTP/1.1\r\nHost: h\r\nApi-Key: key-payg\r\nX-Two: 1\r\nX-Two: 2\r\nTE: trailers\r\nKeep-Alive: 5\r\n" +
		"Connection: keep-alive, X-Two\r\nTransfer-Encoding: chunked\r\n\r\n" +
		fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(hello), hello)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL("payg"), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		t.Fatal(err)
	}
	e := s.JournalOf("payg")[0]
	sum := sha256.Sum256([]byte(hello))
	if e.Method != "POST" || e.RawQuery != "api-version=2024-10-21&x=%2F" || e.Host != "h" || string(e.Body) != hello || e.BodySHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("got %+v", e)
	}
	for name, want := range map[string][]string{
		"X-Two": {"1", "2"}, "Te": {"trailers"}, "Keep-Alive": {"5"}, "Connection": {"keep-alive, X-Two"}, "Transfer-Encoding": {"chunked"},
	} {
		if got := e.Header[name]; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestJournalLimit(t *testing.T) {
	cfg := pool()
	cfg.Journal = 3
	s := simulator.Start(t, cfg)
	for range 10 {
		post(t, s, "payg", chatPath, hello)
	}
	got := s.Journal()
	if len(got) != 3 || got[0].Seq != 8 || got[2].Seq != 10 {
		t.Errorf("got %d entries", len(got))
	}
	counts := s.Counts()
	if len(counts) != 1 || counts[0].Requests != 10 || counts[0].Outcomes[simulator.Served] != 10 || counts[0].Statuses[200] != 10 || counts[0].CompletionTokens != 160 {
		t.Errorf("got %+v", counts)
	}
}

func TestJournalOfCountersOnly(t *testing.T) {
	cfg := pool()
	cfg.Journal = -1
	s := simulator.Start(t, cfg)
	post(t, s, "payg", chatPath, hello)
	if len(s.Journal()) != 0 || s.Counts()[0].Requests != 1 {
		t.Errorf("got %d entries, %+v", len(s.Journal()), s.Counts())
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	s := simulator.Start(t, pool())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.WaitDisconnect(ctx, "payg"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWaitArrivalCountsUnfinishedRequests(t *testing.T) {
	s := simulator.Start(t, pool())
	s.Fault("payg", simulator.Fault{Action: "hang-before-headers"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan struct{}, 2)
	for range 2 {
		go func() {
			_, _ = do(ctx, s, "payg", chatPath, hello)
			ended <- struct{}{}
		}()
	}
	if e, err := s.WaitArrival(ctx, "payg", 2); err != nil || e.Resource != "payg" {
		t.Errorf("got %+v, %v", e, err)
	}
	cancel()
	<-ended
	<-ended
}

func TestExpectContinueChecksCredentialFirst(t *testing.T) {
	s := simulator.Start(t, pool())
	for _, tt := range []struct{ key, want string }{{"wrong", "HTTP/1.1 401 "}, {"key-payg", "HTTP/1.1 100 "}} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL("payg"), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: h\r\nApi-Key: %s\r\nExpect: 100-continue\r\nContent-Length: 50000000\r\n\r\n", chatPath, tt.key)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, tt.want) {
			t.Errorf("key %s: got %q, %v", tt.key, line, err)
		}
		_ = conn.Close()
	}
}

func TestLargeBodies(t *testing.T) {
	body := `{"messages":[{"role":"user","content":"` + string(bytes.Repeat([]byte("word"), 5<<20)) + `"}]}`
	s := simulator.Start(t, pool())
	r := post(t, s, "payg", chatPath, body)
	if c := complete(t, r); c.Usage.Prompt != 5<<20 {
		t.Errorf("got %d prompt tokens", c.Usage.Prompt)
	}
	cfg := pool()
	cfg.MaxBody = 1 << 20
	s = simulator.Start(t, cfg)
	if r := post(t, s, "payg", chatPath, body[:2<<20]); r.status != 413 {
		t.Errorf("over the limit: got %d, want 413", r.status)
	}
}

func TestMalformedBodiesAreRefused(t *testing.T) {
	s := simulator.Start(t, pool())
	for _, body := range []string{`{`, `{"messages":5}`, `{}`, `{"messages":[]}`, `[]`} {
		if r := post(t, s, "payg", chatPath, body); r.status != 400 || !strings.Contains(r.body, `"type":"invalid_request_error"`) {
			t.Errorf("%s: got %d %s", body, r.status, r.body)
		}
	}
}

func TestPaths(t *testing.T) {
	const (
		notFound   = `{"error":{"code":"404","message": "Resource not found"}}`
		deployment = `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}`
		v1Missing  = `{"error":{"message":"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.","type":"invalid_request_error","param":null,"code":"DeploymentNotFound"}}`
	)
	tests := []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"classic", chatPath, hello, 200, ""},
		{"classic, percent-encoded", "/openai/deployments/gpt%2D4o/chat/completions?api-version=2024-10-21", hello, 200, ""},
		{"classic ignores the model of the body", chatPath, `{"model":"other","messages":[{"role":"user","content":"hi"}]}`, 200, ""},
		{"v1", v1ChatPath, v1Hello, 200, ""},
		{"v1 with a version", v1ChatPath + "?api-version=preview", v1Hello, 200, ""},
		{"v1 with a dated version", v1ChatPath + "?api-version=2024-10-21", v1Hello, 400, `{"error":{"code":"BadRequest","message":"API version not supported"}}`},
		{"classic without api-version", "/openai/deployments/gpt-4o/chat/completions", hello, 404, notFound},
		{"classic with a bad api-version", "/openai/deployments/gpt-4o/chat/completions?api-version=v9", hello, 404, notFound},
		{"unknown operation", "/openai/deployments/gpt-4o/chat/sing?api-version=2024-10-21", hello, 404, notFound},
		{"sloppy join", "//openai/v1/chat/completions", v1Hello, 404, notFound},
		{"bare v1 is not Azure", "/v1/chat/completions", v1Hello, 404, notFound},
		{"unknown deployment", "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21", hello, 404, deployment},
		{"unknown deployment on v1", v1ChatPath, `{"model":"gpt-5","messages":[]}`, 404, v1Missing},
	}
	s := simulator.Start(t, pool())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := post(t, s, "payg", tt.path, tt.body)
			if r.status != tt.status || (tt.want != "" && r.body != tt.want) {
				t.Errorf("got %d %s, want %d %s", r.status, r.body, tt.status, tt.want)
			}
		})
	}
}

func TestResourceByHostAndPrefix(t *testing.T) {
	tests := []struct{ host, path, resource string }{
		{"ptu.openai.azure.com", chatPath, "ptu"},
		{"payg.services.ai.azure.com", chatPath, "payg"},
		{"payg.openai.azure.com:8443", chatPath, "payg"},
		{"localhost", "/payg" + chatPath, "payg"},
		{"localhost", "/ptu" + v1ChatPath, "ptu"},
		{"localhost", chatPath, ""},
		{"nobody.openai.azure.com", chatPath, ""},
	}
	for _, tt := range tests {
		t.Run(tt.host+tt.path, func(t *testing.T) {
			s := simulator.New(pool())
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tt.path, strings.NewReader(v1Hello))
			r.Host = tt.host
			r.Header.Set("Api-Key", "key-"+tt.resource)
			s.ServeHTTP(w, r)
			if tt.resource == "" {
				if w.Code != http.StatusNotFound || len(s.Journal()) != 0 {
					t.Errorf("got %d and %d entries, want 404 and none", w.Code, len(s.Journal()))
				}
				return
			}
			if got := s.JournalOf(tt.resource); w.Code != http.StatusOK || len(got) != 1 {
				t.Errorf("got %d %s and %d entries at %s, want 200 and one", w.Code, w.Body, len(got), tt.resource)
			}
		})
	}
}

func TestResponseHeaders(t *testing.T) {
	s := simulator.Start(t, pool())
	r := post(t, s, "payg", chatPath, hello, "x-ms-client-request-id", "abc-123")
	for name, want := range map[string]string{
		"x-ms-region": "Sweden Central", "x-ms-client-request-id": "abc-123", "x-ms-deployment-name": "gpt-4o",
		"x-ms-served-model": "gpt-4o-2024-11-20", "x-accel-buffering": "no", "x-ms-is-spilled-over": "false",
		"strict-transport-security": "max-age=31536000; includeSubDomains; preload", "content-type": "application/json",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"apim-request-id", "x-request-id", "azureml-model-session", "x-envoy-upstream-service-time", "openai-processing-ms"} {
		if r.header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if e := s.Journal()[0]; e.RequestID != r.header.Get("x-request-id") {
		t.Errorf("the journal has request id %s, the answer %s", e.RequestID, r.header.Get("x-request-id"))
	}
}
