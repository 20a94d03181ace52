package funchost

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestResponseHeadersAreCopied(t *testing.T) {
	h := start(t, app{}, Options{})
	response, body := get(t, script(h,
		"header:Content-Encoding=gzip", "header:Set-Cookie=a=1", "header:Set-Cookie=b=2", "header:X-Kept=yes", "header:Retry-After=7",
		"header:Strict-Transport-Security=max-age=1", "header:Keep-Alive=timeout=5", "header:Alt-Svc=h3", "header:Proxy-Authenticate=x",
		"header:Location=/elsewhere", "status:302", "write:not really gzip"))
	if response.StatusCode != http.StatusFound || body != "not really gzip" {
		t.Errorf("response %d %q, want the redirect and the body unchanged", response.StatusCode, body)
	}
	want := map[string][]string{
		"Content-Encoding": {"gzip"}, "Set-Cookie": {"a=1", "b=2"}, "X-Kept": {"yes"}, "Retry-After": {"7"}, "Location": {"/elsewhere"},
		"Strict-Transport-Security": nil, "Keep-Alive": nil, "Alt-Svc": nil, "Proxy-Authenticate": nil,
	}
	for name, values := range want {
		if got := response.Header[name]; strings.Join(got, "|") != strings.Join(values, "|") {
			t.Errorf("%s is %q, want %q", name, got, values)
		}
	}
}

func TestCookiesOfTheHandlerAreNotKept(t *testing.T) {
	h := start(t, app{}, Options{})
	get(t, script(h, "header:Set-Cookie=a=1"))
	_, body := get(t, script(h, "echo"))
	if cookie := echoed(t, body).Header.Get("Cookie"); cookie != "" {
		t.Errorf("the next request carries %q", cookie)
	}
}

func TestTrailersAreDroppedAndLengthsKept(t *testing.T) {
	h := start(t, app{}, Options{})
	response, body := get(t, script(h, "header:Trailer=X-Sum", "write:a", "flush", "write:b", "header:X-Sum=ab"))
	if body != "ab" || len(response.Trailer) != 0 || response.Header.Get("Trailer") != "" {
		t.Errorf("body %q header %v trailer %v, want ab and no trailer", body, response.Header, response.Trailer)
	}
	response, _ = get(t, script(h, "header:Content-Length=5", "write:hello"))
	if response.ContentLength != 5 || len(response.TransferEncoding) != 0 {
		t.Errorf("length %d coding %v, want the handler's 5", response.ContentLength, response.TransferEncoding)
	}
}

func TestNoContentTypeIsAdded(t *testing.T) {
	h := start(t, app{}, Options{})
	// The actor's server adds one, so the handler is another here.
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")
			conn.Close()
		}
	}()
	waitEvent(t, h, Ready, 1)
	h.readiness.clear()
	h.readiness.set(listener.Addr().(*net.TCPAddr).Port)
	response, body := get(t, h.URL+"/x")
	if kind, there := response.Header["Content-Type"]; there || body != "<html>" {
		t.Errorf("Content-Type %q on %q, want none", kind, body)
	}
}

// startRequest sends a request and delivers the response when its head has come.
func startRequest(t *testing.T, request *http.Request) <-chan *http.Response {
	t.Helper()
	heads := make(chan *http.Response, 1)
	request = request.WithContext(testContext(t))
	go func() {
		response, err := client().Do(request)
		if err != nil {
			t.Errorf("%s: %v", request.URL, err)
			close(heads)
			return
		}
		heads <- response
	}()
	return heads
}

func TestStatusWaitsForTheFirstByte(t *testing.T) {
	h := start(t, app{}, Options{})
	heads := startRequest(t, newRequest(t, http.MethodGet, script(h, "status:202", "flush", "print:flushed", "wait:byte", "write:x", "flush", "wait:end"), nil))
	waitLine(t, h, "flushed")
	select {
	case <-heads:
		t.Fatal("the status came before the first byte of the body")
	case <-time.After(quiet):
	}
	release(t, h, "byte")
	response := <-heads
	defer response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		t.Errorf("status %d, want 202", response.StatusCode)
	}
	release(t, h, "end")
}

func TestStatusOfEmptyResponseComesAtItsEnd(t *testing.T) {
	h := start(t, app{}, Options{})
	heads := startRequest(t, newRequest(t, http.MethodGet, script(h, "status:202", "flush", "print:flushed", "wait:end"), nil))
	waitLine(t, h, "flushed")
	release(t, h, "end")
	response := <-heads
	defer response.Body.Close()
	if rest, err := io.ReadAll(response.Body); response.StatusCode != http.StatusAccepted || len(rest) != 0 || err != nil {
		t.Errorf("response %d %q %v, want an empty 202", response.StatusCode, rest, err)
	}
}

func TestEachFlushReachesTheClient(t *testing.T) {
	h := start(t, app{}, Options{})
	response := <-startRequest(t, newRequest(t, http.MethodGet, script(h, "write:a", "flush", "wait:a", "write:b", "flush", "wait:b", "write:c"), nil))
	defer response.Body.Close()
	one := make([]byte, 1)
	for _, want := range []string{"a", "b", "c"} {
		if _, err := io.ReadFull(response.Body, one); err != nil || string(one) != want {
			t.Fatalf("read %q %v, want %q", one, err, want)
		}
		if want != "c" {
			release(t, h, want)
		}
	}
}

// readUntilReset reads a response whose connection must be reset.
func readUntilReset(t *testing.T, response *http.Response) string {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the response ended with %v after %q, want a reset", err, body)
	}
	return string(body)
}

func TestHandlerExitBeforeFirstByteIs500(t *testing.T) {
	h := start(t, app{}, Options{})
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "drain", "status:200", "flush", "exit:3"), strings.NewReader("x")))
	wantEmpty500(t, response, body)
}

func TestHandlerFailureAfterFirstByteResets(t *testing.T) {
	h := start(t, app{}, Options{})
	for _, end := range []string{"abort", "exit:3"} {
		response := <-startRequest(t, newRequest(t, http.MethodPost, script(h, "drain", "write:begun", "flush", "wait:"+end[:4], end), strings.NewReader("x")))
		begun := make([]byte, 5)
		if _, err := io.ReadFull(response.Body, begun); err != nil || string(begun) != "begun" {
			t.Fatalf("%s: read %q %v", end, begun, err)
		}
		release(t, h, end[:4])
		if rest := readUntilReset(t, response); rest != "" {
			t.Errorf("%s: read %q after the end", end, rest)
		}
	}
}

func TestDataWrittenJustBeforeAnAbortIsLost(t *testing.T) {
	for _, end := range []string{"abort", "exit:3"} {
		h := start(t, app{}, Options{lossWindow: time.Minute})
		request := newRequest(t, http.MethodGet, script(h, "write:lost", "flush", end), nil).WithContext(testContext(t))
		response, err := client().Do(request)
		if err == nil {
			response.Body.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset before the response", end, err)
		}
		waitEvent(t, h, CallFailed, 1)
	}
}

func TestDataWrittenWithAPauseBeforeAnAbortArrives(t *testing.T) {
	h := start(t, app{}, Options{})
	response := <-startRequest(t, newRequest(t, http.MethodGet, script(h, "write:first", "flush", "wait:next", "write:last", "flush", "wait:end", "abort"), nil))
	for _, step := range []struct{ want, latch string }{{"first", "next"}, {"last", "end"}} {
		read := make([]byte, len(step.want))
		if _, err := io.ReadFull(response.Body, read); err != nil || string(read) != step.want {
			t.Fatalf("read %q %v, want %q", read, err, step.want)
		}
		release(t, h, step.latch)
	}
	if rest := readUntilReset(t, response); rest != "" {
		t.Errorf("read %q after the abort", rest)
	}
}

// disconnectAt sends a request and closes its connection as soon as the handler
// prints a line.
func disconnectAt(t *testing.T, h *Host, target, when string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := make(chan struct{})
	go func() {
		defer close(left)
		response, err := client().Do(newRequest(t, http.MethodGet, target, nil).WithContext(ctx))
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	}()
	waitLine(t, h, when)
	cancel()
	<-left
}

func TestDisconnectCancelsTheHandler(t *testing.T) {
	h := start(t, app{}, Options{})
	disconnectAt(t, h, script(h, "print:working", "cancelled"), "working")
	waitLine(t, h, "cancelled")
	waitEvent(t, h, ClientDisconnected, 1)

	streaming := start(t, app{}, Options{})
	disconnectAt(t, streaming, script(streaming, "write:x", "flush", "print:working", "cancelled"), "working")
	waitLine(t, streaming, "cancelled")
}

func TestHideDisconnects(t *testing.T) {
	h := start(t, app{}, Options{HideDisconnects: true})
	disconnectAt(t, h, script(h, "write:x", "flush", "print:working", "wait:go on", "write:y", "flush", "write:z", "flush", "print:done"), "working")
	release(t, h, "go%20on")
	waitLine(t, h, "done")
	disconnectAt(t, h, script(h, "print:silent", "cancelled"), "silent")
	if lineWithin(h, "cancelled", quiet) {
		t.Error("the disconnect reached the handler")
	}
	if count(h, ClientDisconnected)+count(h, CallFailed) != 0 {
		t.Errorf("events %v, want none of a failure", h.Events())
	}
}

func TestRequestWithBodyWaitsForConnection(t *testing.T) {
	h := start(t, app{}, Options{})
	get(t, script(h, "header:Connection=close", "unlisten:400ms"))
	_, body := do(t, newRequest(t, http.MethodPost, script(h, "echo"), strings.NewReader("once")))
	if seen := echoed(t, body); seen.Body != "once" || seen.Hits != 2 {
		t.Errorf("the handler saw %q after %d calls, want it once", seen.Body, seen.Hits)
	}
}

func TestBodyIsNeverSentTwice(t *testing.T) {
	var waits delays
	h := start(t, app{}, Options{sleep: waits.sleep})
	before := echo(t, h)
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "drain", "drop", "write:served"), strings.NewReader("x")))
	wantEmpty500(t, response, body)
	waits.want(t)
	after := echo(t, h)
	if after.Hits != before.Hits+2 {
		t.Errorf("%d deliveries, want one", after.Hits-before.Hits-1)
	}
	// The POST uses the connection of the first echo, nine attempts only
	// connect, and the last echo has its own.
	if after.Conns != before.Conns+10 {
		t.Errorf("%d connections, want ten", after.Conns-before.Conns)
	}
}

func TestRequestWithoutBodyIsSentAgain(t *testing.T) {
	h := start(t, app{}, Options{})
	response, body := get(t, script(h, "drop:3", "echo"))
	if response.StatusCode != http.StatusOK {
		t.Fatalf("response %d, want the one of the third delivery", response.StatusCode)
	}
	if seen := echoed(t, body); seen.Hits != 3 {
		t.Errorf("served at delivery %d, want 3", seen.Hits)
	}
}

func TestRequestWithoutBodyIsDelivered40Times(t *testing.T) {
	var waits delays
	h := start(t, app{}, Options{sleep: waits.sleep})
	response, body := get(t, script(h, "drop"))
	wantEmpty500(t, response, body)
	waits.want(t)
	if seen := echo(t, h); seen.Hits != 41 {
		t.Errorf("%d deliveries, want 40", seen.Hits-1)
	}
}

func TestInvalidResponseHeaderIs500(t *testing.T) {
	var waits delays
	h := start(t, app{}, Options{sleep: waits.sleep})
	for _, value := range []string{"café", "a\x01b", "a\x7fb"} {
		response, body := get(t, script(h, "header:X-A="+value, "write:x"))
		wantEmpty500(t, response, body)
	}
	if len(waits.all) != 0 {
		t.Errorf("delays %v, want no second attempt", waits.all)
	}
	before := echo(t, h)
	response, body := get(t, script(h, "large-header", "write:x"))
	wantEmpty500(t, response, body)
	waits.want(t)
	if after := echo(t, h); after.Hits != before.Hits+11 {
		t.Errorf("%d deliveries, want ten", after.Hits-before.Hits-1)
	}
}

func TestResponsesWithoutBody(t *testing.T) {
	h := start(t, app{}, Options{})
	response, body := do(t, newRequest(t, http.MethodHead, script(h, "header:X-A=1", "header:Content-Length=5", "status:200"), nil))
	if response.StatusCode != http.StatusOK || body != "" || response.Header.Get("X-A") != "1" || response.ContentLength != 5 {
		t.Errorf("HEAD: %d %q %v", response.StatusCode, body, response.Header)
	}
	for _, status := range []string{"204", "304"} {
		response, body := get(t, script(h, "header:X-A=1", "status:"+status))
		if response.Status[:3] != status || body != "" || response.Header.Get("X-A") != "1" {
			t.Errorf("%s: %s %q %v", status, response.Status, body, response.Header)
		}
	}
}

func TestHandlerErrorsPass(t *testing.T) {
	h := start(t, app{}, Options{})
	response, body := get(t, script(h, "header:X-A=1", "status:503", "write:busy"))
	if response.StatusCode != http.StatusServiceUnavailable || body != "busy" || count(h, CallFailed) != 0 {
		t.Errorf("response %d %q, want the handler's own", response.StatusCode, body)
	}
}

func TestClientThatDoesNotReadIsReset(t *testing.T) {
	h := start(t, app{}, Options{IdleTimeout: 300 * time.Millisecond})
	waitEvent(t, h, Ready, 1)
	conn, _ := dialHost(t, h)
	writeConn(t, conn, "GET "+strings.TrimPrefix(script(h, "flood", "print:stopped"), h.URL)+" HTTP/1.1\r\nHost: h\r\n\r\n")
	waitLine(t, h, "stopped")
	if failed := waitEvent(t, h, CallFailed, 1); !strings.Contains(failed.Detail, "aborted") {
		t.Errorf("failed by %q, want an abort", failed.Detail)
	}
}
