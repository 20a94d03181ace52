package funchost

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// forwardHost is host.json of an app in forward mode.
const forwardHost = `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"handler"},"enableForwardingHttpRequest":true}}`

func TestForwardingBuffersTheResponse(t *testing.T) {
	h := start(t, app{}, Options{Forward: true})
	heads := startRequest(t, newRequest(t, http.MethodGet, script(h, "header:X-A=1", "write:a", "flush", "print:flushed", "wait:end", "write:b"), nil))
	waitLine(t, h, "flushed")
	select {
	case <-heads:
		t.Fatal("the response began before it was complete")
	case <-time.After(quiet):
	}
	release(t, h, "end")
	response := <-heads
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if string(body) != "ab" || err != nil || response.ContentLength != 2 || response.Header.Get("X-A") != "1" {
		t.Errorf("response %q %v length %d %v", body, err, response.ContentLength, response.Header)
	}
}

func TestForwardedRequest(t *testing.T) {
	h := start(t, app{host: forwardHost}, Options{})
	_, body := sendRaw(t, h, "POST /api/a%20b?script=echo&A=1&b=x+y&a=2&c HTTP/1.1\r\nHost: contoso.example\r\nUser-Agent: me/1\r\nContent-Length: 2\r\n"+
		"Content-Type: text/x\r\nContent-Language: de\r\nApi-Key: k\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\nhi")
	seen := echoed(t, body)
	if want := "/api/a%20b?script=echo&A=1%2C2&b=x%20y&c="; seen.Target != want {
		t.Errorf("target %s, want %s", seen.Target, want)
	}
	if seen.Host != "contoso.example" || seen.Body != "hi" {
		t.Errorf("Host %q body %q, want the original ones", seen.Host, seen.Body)
	}
	for name, want := range map[string]string{
		"User-Agent": "me/1 Azure-Functions-Host/" + hostVersion, "Content-Type": "text/x", "Content-Language": "", "Api-Key": "k",
		"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "", "X-Azure-Functions-HostVersion": hostVersion, "X-Ms-Invocation-Id": "",
	} {
		if got := seen.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if seen.Header.Get("X-Azure-Functions-InvocationId") == "" {
		t.Error("no invocation id")
	}
}

func TestForwardingLosesChunkedBodies(t *testing.T) {
	h := start(t, app{}, Options{Forward: true})
	_, body := do(t, newRequest(t, http.MethodPost, script(h, "echo"), io.MultiReader(strings.NewReader("lost"))))
	if seen := echoed(t, body); seen.Body != "" || seen.Length != 0 {
		t.Errorf("the handler saw %q, length %d", seen.Body, seen.Length)
	}
}

func TestForwardingHidesDisconnects(t *testing.T) {
	h := start(t, app{}, Options{Forward: true})
	disconnectAt(t, h, script(h, "print:working", "wait:go", "write:x", "print:done"), "working")
	release(t, h, "go")
	waitLine(t, h, "done")

	hang := start(t, app{}, Options{Forward: true})
	disconnectAt(t, hang, script(hang, "print:working", "cancelled"), "working")
	if lineWithin(hang, "cancelled", quiet) {
		t.Error("the disconnect reached the handler")
	}
}

func TestForwardingFailureIsEmpty500(t *testing.T) {
	h := start(t, app{}, Options{Forward: true})
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "drain", "write:begun", "flush", "abort"), strings.NewReader("x")))
	wantEmpty500(t, response, body)
}

func TestForwardedResponsesWithoutBody(t *testing.T) {
	h := start(t, app{}, Options{Forward: true})
	if response, body := get(t, script(h, "status:204")); response.StatusCode != http.StatusNoContent || body != "" {
		t.Errorf("response %d %q, want an empty 204", response.StatusCode, body)
	}
	response, body := do(t, newRequest(t, http.MethodHead, script(h, "header:Content-Length=5", "status:200"), nil))
	if response.ContentLength != 5 || body != "" {
		t.Errorf("HEAD: length %d %q", response.ContentLength, body)
	}
}
