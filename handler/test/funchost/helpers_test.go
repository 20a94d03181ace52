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
	"strings"
	"testing"
	"time"
)

// plainHost is host.json of an app that streams, without a route prefix.
const plainHost = `{"version":"2.0","extensions":{"http":{"routePrefix":""}},` +
	`"customHandler":{"description":{"defaultExecutablePath":"handler"},"enableProxyingHttpRequest":true}}`

// catchAll is function.json of a function that takes everything.
const catchAll = `{"bindings":[{"type":"httpTrigger","direction":"in","name":"req","authLevel":"anonymous","route":"{*path}"},` +
	`{"type":"http","direction":"out","name":"res"}]}`

// app is a staged folder in the making: host.json, functions by name.
type app struct {
	host      string
	functions map[string]string
	bare      bool // no program
}

// stage lays an app out. The zero app streams everything to the actor.
func stage(t *testing.T, a app) string {
	t.Helper()
	root := t.TempDir()
	if a.host == "" {
		a.host = plainHost
	}
	if a.functions == nil {
		a.functions = map[string]string{"all": catchAll}
	}
	write(t, filepath.Join(root, "host.json"), a.host)
	for name, content := range a.functions {
		write(t, filepath.Join(root, name, "function.json"), content)
	}
	if !a.bare {
		copyProgram(t, filepath.Join(root, "handler"))
	}
	return root
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copyProgram puts this test binary, which can act, where the host looks.
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

// start runs an app under the double.
func start(t *testing.T, a app, options Options) *Host {
	t.Helper()
	options.Root = stage(t, a)
	options.Env = append([]string{"HOSTTEST_ACT=serve"}, options.Env...)
	return Start(t, options)
}

// soon bounds what must happen.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// event waits for the nth event of a kind.
func event(t *testing.T, h *Host, kind Kind, nth int) Event {
	t.Helper()
	found, err := h.WaitEvent(soon(t), kind, nth)
	if err != nil {
		t.Fatalf("event %q number %d never came: %v", kind, nth, err)
	}
	return found
}

// line waits for a line of the handler.
func line(t *testing.T, h *Host, substr string) Line {
	t.Helper()
	found, err := h.WaitLine(soon(t), substr)
	if err != nil {
		t.Fatalf("line %q never came: %v", substr, err)
	}
	return found
}

// script is the URL that makes the handler do these steps.
func script(h *Host, steps ...string) string {
	return h.URL + "/x?script=" + url.QueryEscape(strings.Join(steps, "|"))
}

// open opens a gate of the handler, past the host.
func open(t *testing.T, h *Host, name string) {
	t.Helper()
	response, err := http.Get(h.HandlerURL() + "/__open/" + name)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

// client asks as a caller does who wants no help: no redirects followed,
// nothing inflated, a connection per request.
func client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true, ExpectContinueTimeout: 20 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// do sends a request and reads the whole answer.
func do(t *testing.T, request *http.Request) (*http.Response, string) {
	t.Helper()
	response, err := client().Do(request.WithContext(soon(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("read answer: %v", err)
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

// echoed is what the handler saw.
func echoed(t *testing.T, body string) report {
	t.Helper()
	var seen report
	if err := json.Unmarshal([]byte(body), &seen); err != nil {
		t.Fatalf("echo is %q: %v", body, err)
	}
	return seen
}

// raw sends bytes as they are and returns the first answer.
func raw(t *testing.T, h *Host, request string) (*http.Response, string) {
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
		t.Fatalf("answer to %q: %v", request, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// bare500 checks the one answer that a failure before the first byte has.
func bare500(t *testing.T, response *http.Response, body string) {
	t.Helper()
	if response.StatusCode != http.StatusInternalServerError || body != "" {
		t.Errorf("answer %d %q, want 500 with no body", response.StatusCode, body)
	}
}
