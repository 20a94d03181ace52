package funchost

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAnswerIsCopiedLessTheHopsOwnHeaders(t *testing.T) { // D 25
	h := start(t, app{}, Options{})
	response, body := get(t, script(h,
		"header:Content-Encoding=gzip", "header:Set-Cookie=a=1", "header:Set-Cookie=b=2", "header:X-Kept=yes", "header:Retry-After=7",
		"header:Strict-Transport-Security=max-age=1", "header:Keep-Alive=timeout=5", "header:Alt-Svc=h3", "header:Proxy-Authenticate=x",
		"header:Location=/elsewhere", "status:302", "write:not really gzip"))
	if response.StatusCode != http.StatusFound || body != "not really gzip" {
		t.Errorf("answer %d %q, want the redirect itself and the body as it is", response.StatusCode, body)
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

func TestCookiesOfTheHandlerAreNotKept(t *testing.T) { // D 25
	h := start(t, app{}, Options{})
	get(t, script(h, "header:Set-Cookie=a=1"))
	_, body := get(t, script(h, "echo"))
	if cookie := echoed(t, body).Header.Get("Cookie"); cookie != "" {
		t.Errorf("the next request carries %q", cookie)
	}
}

func TestTrailersAndLengthsAreCopied(t *testing.T) { // D 25
	h := start(t, app{}, Options{})
	response, body := get(t, script(h, "header:Trailer=X-Sum", "write:a", "flush", "write:b", "header:X-Sum=ab"))
	if body != "ab" || response.Trailer.Get("X-Sum") != "ab" {
		t.Errorf("body %q trailer %v, want ab and X-Sum", body, response.Trailer)
	}
	response, _ = get(t, script(h, "header:Content-Length=5", "write:hello"))
	if response.ContentLength != 5 || len(response.TransferEncoding) != 0 {
		t.Errorf("length %d coding %v, want the handler's 5", response.ContentLength, response.TransferEncoding)
	}
}

func TestContentTypeIsNotGuessed(t *testing.T) { // D 25
	h := start(t, app{}, Options{})
	// The actor's own server guesses one, so this speaks to the handler raw.
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
	event(t, h, Ready, 1)
	h.readiness.clear()
	h.readiness.set(listener.Addr().(*net.TCPAddr).Port)
	response, body := get(t, h.URL+"/x")
	if kind, there := response.Header["Content-Type"]; there || body != "<html>" {
		t.Errorf("Content-Type %q on %q, want none", kind, body)
	}
}

// begun sends a request and delivers the answer's head when it comes.
func begun(t *testing.T, request *http.Request) <-chan *http.Response {
	t.Helper()
	heads := make(chan *http.Response, 1)
	request = request.WithContext(soon(t))
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

func TestStatusWaitsForTheFirstByte(t *testing.T) { // D 26
	h := start(t, app{}, Options{})
	heads := begun(t, newRequest(t, http.MethodGet, script(h, "status:202", "flush", "print:flushed", "wait:byte", "write:x", "flush", "wait:end"), nil))
	line(t, h, "flushed")
	select {
	case <-heads:
		t.Fatal("the status came before any byte of the body")
	case <-time.After(200 * time.Millisecond):
	}
	open(t, h, "byte")
	response := <-heads
	defer response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		t.Errorf("status %d, want 202", response.StatusCode)
	}
	open(t, h, "end")
}

func TestStatusOfAnEmptyAnswerComesAtItsEnd(t *testing.T) { // D 26
	h := start(t, app{}, Options{})
	heads := begun(t, newRequest(t, http.MethodGet, script(h, "status:202", "flush", "print:flushed", "wait:end"), nil))
	line(t, h, "flushed")
	open(t, h, "end")
	response := <-heads
	defer response.Body.Close()
	if rest, err := io.ReadAll(response.Body); response.StatusCode != http.StatusAccepted || len(rest) != 0 || err != nil {
		t.Errorf("answer %d %q %v, want an empty 202", response.StatusCode, rest, err)
	}
}

func TestEachFlushReachesTheCaller(t *testing.T) { // D 27
	h := start(t, app{}, Options{})
	response := <-begun(t, newRequest(t, http.MethodGet, script(h, "write:a", "flush", "wait:a", "write:b", "flush", "wait:b", "write:c"), nil))
	defer response.Body.Close()
	one := make([]byte, 1)
	for _, want := range []string{"a", "b", "c"} {
		if _, err := io.ReadFull(response.Body, one); err != nil || string(one) != want {
			t.Fatalf("read %q %v, want %q", one, err, want)
		}
		if want != "c" {
			open(t, h, want)
		}
	}
}

func TestSilenceBeforeTheFirstByteIsABare500(t *testing.T) { // D 28
	h := start(t, app{}, Options{IdleTimeout: 200 * time.Millisecond})
	response, body := get(t, script(h, "flush", "cancelled"))
	bare500(t, response, body)
	line(t, h, "cancelled")
}

// readUntilBroken reads an answer that must not end well.
func readUntilBroken(t *testing.T, response *http.Response) string {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the answer ended with %v after %q, want an aborted connection", err, body)
	}
	return string(body)
}

func TestSilenceAfterTheFirstByteAbortsTheCaller(t *testing.T) { // D 28
	h := start(t, app{}, Options{IdleTimeout: 200 * time.Millisecond})
	response := <-begun(t, newRequest(t, http.MethodGet, script(h, "write:begun", "flush", "cancelled"), nil))
	if body := readUntilBroken(t, response); body != "begun" {
		t.Errorf("read %q", body)
	}
	line(t, h, "cancelled")
}

func TestEveryByteStartsTheIdleTimeAnew(t *testing.T) { // D 28
	h := start(t, app{}, Options{IdleTimeout: 600 * time.Millisecond})
	steps := []string{}
	for range 5 {
		steps = append(steps, "write:.", "flush", "pause:250ms")
	}
	if _, body := get(t, script(h, steps...)); body != "....." {
		t.Errorf("read %q, want all five over more than one idle timeout", body)
	}
}

func TestIdleTimeoutIs240Seconds(t *testing.T) { // D 28
	file, err := readHostFile(stage(t, app{bare: true}))
	if err != nil {
		t.Fatal(err)
	}
	filled := Options{}.withDefaults(file)
	if filled.IdleTimeout != 240*time.Second || filled.ReadyTimeout != 30*time.Second || filled.FunctionTimeout != 30*time.Minute {
		t.Errorf("defaults %+v", filled)
	}
}

func TestHandlerThatDiesBeforeTheFirstByteIsABare500(t *testing.T) { // D 29
	h := start(t, app{}, Options{})
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "drain", "status:200", "flush", "exit:3"), strings.NewReader("x")))
	bare500(t, response, body)
}

func TestHandlerThatDiesAfterTheFirstByteAbortsTheCaller(t *testing.T) { // D 29
	h := start(t, app{}, Options{})
	for _, end := range []string{"abort", "exit:3"} {
		response := <-begun(t, newRequest(t, http.MethodPost, script(h, "drain", "write:begun", "flush", end), strings.NewReader("x")))
		if body := readUntilBroken(t, response); body != "begun" {
			t.Errorf("%s: read %q", end, body)
		}
	}
}

// leave sends a request and leaves as soon as the handler prints a line.
func leave(t *testing.T, h *Host, target, when string) {
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
	line(t, h, when)
	cancel()
	<-left
}

func TestCallerWhoLeavesCancelsTheHandler(t *testing.T) { // D 30
	h := start(t, app{}, Options{})
	leave(t, h, script(h, "print:working", "cancelled"), "working")
	line(t, h, "cancelled")
	event(t, h, ClientDisconnected, 1)

	streaming := start(t, app{}, Options{})
	leave(t, streaming, script(streaming, "write:x", "flush", "print:working", "cancelled"), "working")
	line(t, streaming, "cancelled")
}

func TestFrontEndCanHideThatTheCallerLeft(t *testing.T) { // D 30
	h := start(t, app{}, Options{HideDisconnects: true})
	leave(t, h, script(h, "write:x", "flush", "print:working", "wait:go on", "write:y", "flush", "write:z", "flush", "print:done"), "working")
	open(t, h, "go%20on")
	line(t, h, "done")
	leave(t, h, script(h, "print:silent", "cancelled"), "silent")
	if lineWithin(h, "cancelled", 200*time.Millisecond) {
		t.Error("the handler heard that the caller left")
	}
	if count(h, ClientDisconnected)+count(h, CallFailed) != 0 {
		t.Errorf("events %v, want none of a failure", h.Events())
	}
}

func TestRequestWithABodyWaitsForTheConnectionOnly(t *testing.T) { // D 31
	h := start(t, app{}, Options{})
	get(t, script(h, "header:Connection=close", "away:400ms"))
	_, body := do(t, newRequest(t, http.MethodPost, script(h, "echo"), strings.NewReader("once")))
	if seen := echoed(t, body); seen.Body != "once" || seen.Hits != 2 {
		t.Errorf("the handler saw %q after %d calls, want it once", seen.Body, seen.Hits)
	}
}

func TestBodyIsNeverSentTwice(t *testing.T) { // D 31
	h := start(t, app{}, Options{})
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "drain", "slam:3", "write:served"), strings.NewReader("x")))
	bare500(t, response, body)
	_, body = get(t, script(h, "echo"))
	if seen := echoed(t, body); seen.Hits != 2 {
		t.Errorf("%d calls, want one for the POST and one for this", seen.Hits)
	}
}

func TestRequestWithoutABodyMayBeSentAgain(t *testing.T) { // D 31
	h := start(t, app{}, Options{})
	response, body := get(t, script(h, "slam:3", "echo"))
	if response.StatusCode != http.StatusOK {
		t.Fatalf("answer %d, want the third attempt's", response.StatusCode)
	}
	if seen := echoed(t, body); seen.Hits != 3 {
		t.Errorf("served at attempt %d, want 3", seen.Hits)
	}
}

func TestAttemptsEndAtTen(t *testing.T) { // D 31
	h := start(t, app{}, Options{})
	begin := time.Now()
	response, body := get(t, script(h, "slam"))
	bare500(t, response, body)
	// 50 + 100 + 200 ms, then six times 250 ms.
	if took := time.Since(begin); took < 1850*time.Millisecond {
		t.Errorf("gave up after %v, want the pauses of ten attempts", took)
	}
	_, body = get(t, script(h, "echo"))
	if seen := echoed(t, body); seen.Hits != 11 {
		t.Errorf("%d calls, want ten and this", seen.Hits)
	}
}

func TestAnswersWithoutABody(t *testing.T) { // D 32
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
	refused, none := raw(t, h, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
	bare500(t, refused, none)
}

func TestFailuresOfTheHandlerAreItsOwn(t *testing.T) {
	h := start(t, app{}, Options{})
	response, body := get(t, script(h, "header:X-A=1", "status:503", "write:busy"))
	if response.StatusCode != http.StatusServiceUnavailable || body != "busy" || count(h, CallFailed) != 0 {
		t.Errorf("answer %d %q, want the handler's own", response.StatusCode, body)
	}
}

func TestCallerWhoDoesNotReadIsLetGo(t *testing.T) { // D 28
	h := start(t, app{}, Options{IdleTimeout: 300 * time.Millisecond})
	event(t, h, Ready, 1)
	conn, _ := dial(t, h)
	send(t, conn, "GET "+strings.TrimPrefix(script(h, "flood", "print:given up"), h.URL)+" HTTP/1.1\r\nHost: h\r\n\r\n")
	line(t, h, "given up")
	if failed := event(t, h, CallFailed, 1); !strings.Contains(failed.Detail, "aborted") {
		t.Errorf("failed by %q, want an abort", failed.Detail)
	}
}
