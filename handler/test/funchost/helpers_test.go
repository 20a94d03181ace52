package funchost

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// plainHost is host.json of an app that streams, without a route prefix.
const plainHost = `{"version":"2.0","extensions":{"http":{"routePrefix":""}},` +
	`"customHandler":{"description":{"defaultExecutablePath":"handler"},"enableProxyingHttpRequest":true}}`

// catchAll is function.json of a function that takes everything.
const catchAll = `{"bindings":[{"type":"httpTrigger","direction":"in","name":"req","authLevel":"anonymous","route":"{*path}"},` +
	`{"type":"http","direction":"out","name":"res"}]}`

// app describes a staged folder: host.json, functions by name.
type app struct {
	host      string
	functions map[string]string
	bare      bool // no program
}

// stage writes an app to a folder. The zero app streams everything to the actor.
func stage(t *testing.T, a app) string {
	t.Helper()
	root := t.TempDir()
	if a.host == "" {
		a.host = plainHost
	}
	if a.functions == nil {
		a.functions = map[string]string{"all": catchAll}
	}
	writeFile(t, filepath.Join(root, "host.json"), a.host)
	for name, content := range a.functions {
		writeFile(t, filepath.Join(root, name, "function.json"), content)
	}
	if !a.bare {
		copyProgram(t, filepath.Join(root, "handler"))
	}
	return root
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copyProgram copies this test binary, which can be the handler, to path.
func copyProgram(t *testing.T, path string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Link(self, path) == nil {
		return
	}
	whole, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole, 0o700); err != nil {
		t.Fatal(err)
	}
}

// start runs an app.
func start(t *testing.T, a app, options Options) *Host {
	t.Helper()
	options.Root = stage(t, a)
	options.Env = append([]string{"FUNCHOST_ACT=serve"}, options.Env...)
	return Start(t, options)
}

// testContext bounds a wait for what must happen.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// waitEvent waits for the nth waitEvent of a kind.
func waitEvent(t *testing.T, h *Host, kind Kind, nth int) Event {
	t.Helper()
	found, err := h.WaitEvent(testContext(t), kind, nth)
	if err != nil {
		t.Fatalf("no event %q number %d: %v", kind, nth, err)
	}
	return found
}

// waitLine waits for a waitLine of the handler.
func waitLine(t *testing.T, h *Host, substr string) Line {
	t.Helper()
	found, err := h.WaitLine(testContext(t), substr)
	if err != nil {
		t.Fatalf("no line %q: %v", substr, err)
	}
	return found
}

// script is the URL that makes the handler run these steps.
func script(h *Host, steps ...string) string {
	return h.URL + "/x?script=" + url.QueryEscape(strings.Join(steps, "|"))
}

// release opens a latch of the handler, without the host.
func release(t *testing.T, h *Host, name string) {
	t.Helper()
	response, err := http.Get(h.HandlerURL() + "/__release/" + name)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

// client follows no redirect, decompresses nothing and uses a connection for
// each request.
func client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true, ExpectContinueTimeout: 20 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// do sends a request and reads the whole response.
func do(t *testing.T, request *http.Request) (*http.Response, string) {
	t.Helper()
	response, err := client().Do(request.WithContext(testContext(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("read response: %v", err)
	}
	return response, string(body)
}

func newRequest(t *testing.T, method, target string, body io.Reader) *http.Request {
	t.Helper()
	request, err := http.NewRequest(method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// get fetches and reads.
func get(t *testing.T, target string) (*http.Response, string) {
	t.Helper()
	return do(t, newRequest(t, http.MethodGet, target, nil))
}

// echoed reads the response of the step "echo".
func echoed(t *testing.T, body string) report {
	t.Helper()
	var seen report
	if err := json.Unmarshal([]byte(body), &seen); err != nil {
		t.Fatalf("echo is %q: %v", body, err)
	}
	return seen
}

// echo sends the step "echo".
func echo(t *testing.T, h *Host) report {
	t.Helper()
	_, body := get(t, script(h, "echo"))
	return echoed(t, body)
}

// sendRaw sends bytes as they are and returns the first response.
func sendRaw(t *testing.T, h *Host, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("response to %q: %v", request, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// wantEmpty500 checks the response of a failure before the first byte.
func wantEmpty500(t *testing.T, response *http.Response, body string) {
	t.Helper()
	if response.StatusCode != http.StatusInternalServerError || body != "" {
		t.Errorf("response %d %q, want 500 with no body", response.StatusCode, body)
	}
}

// delays records the waits between attempts and skips them.
type delays struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *delays) sleep(_ context.Context, delay time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, delay)
	return nil
}

// want checks that one request was attempted ten times.
func (d *delays) want(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	const ms = time.Millisecond
	if want := []time.Duration{50 * ms, 100 * ms, 200 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms, 250 * ms}; !slices.Equal(d.all, want) {
		t.Errorf("delays %v, want %v", d.all, want)
	}
	d.all = nil
}
