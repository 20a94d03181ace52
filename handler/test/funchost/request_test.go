package funchost

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestRequestLineOfTheHandler(t *testing.T) { // D 16
	h := start(t, app{host: strings.Replace(plainHost, `"routePrefix":""`, `"routePrefix":"api"`, 1)}, Options{})
	query := "?script=echo&b=%7e+%20&&a=1&a=2&code=secret&x=%zz"
	_, body := raw(t, h, "GET /api/x/./%7Ea%2Fb/../c%20d"+query+" HTTP/1.1\r\nHost: contoso.example\r\nConnection: close\r\n\r\n")
	seen := echoed(t, body)
	if want := "/api/x/c%20d" + query; seen.Target != want {
		t.Errorf("target %s, want %s", seen.Target, want)
	}
	if want := strings.TrimPrefix(h.HandlerURL(), "http://"); seen.Host != want {
		t.Errorf("Host %s, want %s", seen.Host, want)
	}
	_, body = raw(t, h, "GET /api/a%2Fb?script=echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if seen := echoed(t, body); seen.Target != "/api/a%252Fb?script=echo" {
		t.Errorf("target %s, want %%2F as %%252F", seen.Target)
	}
	if response, _ := raw(t, h, "GET /api/a%00?script=echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); response.StatusCode != http.StatusBadRequest {
		t.Errorf("a null character in the path: %d, want 400", response.StatusCode)
	}
}

func TestHostSignsEveryRequestItself(t *testing.T) { // D 17
	h := start(t, app{}, Options{})
	guid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	var ids []string
	for range 2 {
		request := newRequest(t, http.MethodGet, script(h, "echo"), nil)
		for _, name := range []string{"X-Azure-Functions-InvocationId", "X-Azure-Functions-HostVersion", "X-Ms-Invocation-Id"} {
			request.Header.Set(name, "forged")
		}
		_, body := do(t, request)
		header := echoed(t, body).Header
		id := header.Get("X-Azure-Functions-InvocationId")
		if !guid.MatchString(id) || header.Get("X-Ms-Invocation-Id") != id || header.Get("X-Azure-Functions-HostVersion") != hostVersion {
			t.Errorf("header %v, want one new id twice and the version", header)
		}
		ids = append(ids, id)
	}
	if ids[0] == ids[1] {
		t.Errorf("two calls have the id %s", ids[0])
	}
}

func TestHostSaysWhereARequestCameFrom(t *testing.T) { // D 18
	h := start(t, app{}, Options{})
	_, body := raw(t, h, "GET /x?script=echo HTTP/1.1\r\nHost: contoso.example\r\nConnection: close\r\n"+
		"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Prefix: /p\r\nForwarded: for=1\r\n\r\n")
	header := echoed(t, body).Header
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "contoso.example", "X-Forwarded-Proto": "http",
		"X-Forwarded-Prefix": "", "Forwarded": "",
	} {
		if got := strings.Join(header.Values(name), "|"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestOnlyTheHopsOwnHeadersAreDropped(t *testing.T) { // D 19
	h := start(t, app{}, Options{})
	kept := map[string]string{
		"Authorization": "Bearer x", "Api-Key": "k", "X-Functions-Key": "f", "Accept-Encoding": "br", "Accept": "a/b", "User-Agent": "me/1",
		"Cookie": "c=d", "X-Ms-Client-Principal": "p", "Content-Type": "text/x", "Content-Encoding": "weird", "Traceparent": "00-1", "Expect-Ct": "1",
	}
	request := "POST /x?script=echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
	for name, value := range kept {
		request += name + ": " + value + "\r\n"
	}
	hops := []string{
		"Keep-Alive", "Upgrade", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Proxy-Features",
		"Proxy-Instruction", "Security-Scheme", "ALPN", "Close", "HTTP2-Settings", "Upgrade-Insecure-Requests", "TE", "Alt-Svc", "Strict-Transport-Security",
	}
	for _, name := range hops {
		request += name + ": x\r\n"
	}
	// Connection names a header of ours: the host drops its own list, not that.
	_, body := raw(t, h, request+"Connection: close, Api-Key\r\n\r\nhi")
	seen := echoed(t, body)
	for name, want := range kept {
		if got := seen.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range append(hops, "Connection", "Transfer-Encoding") {
		if _, there := seen.Header[textproto.CanonicalMIMEHeaderKey(name)]; there {
			t.Errorf("%s was passed on", name)
		}
	}
}

func TestHostAddsNoHeaderOfAClient(t *testing.T) { // D 19
	h := start(t, app{}, Options{})
	_, body := raw(t, h, "GET /x?script=echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	header := echoed(t, body).Header
	for name := range header {
		if !strings.HasPrefix(name, "X-") {
			t.Errorf("%s came from nowhere: %v", name, header)
		}
	}
	if len(header) != 6 {
		t.Errorf("header %v, want the host's six", header)
	}
}

func TestLinesOfOneHeaderArriveAsOne(t *testing.T) {
	h := start(t, app{}, Options{})
	_, body := raw(t, h, "GET /x?script=echo HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: close\r\n\r\n")
	header := echoed(t, body).Header
	if a, cookie := header["X-A"], header["Cookie"]; len(a) != 1 || a[0] != "1, 2" || len(cookie) != 1 || cookie[0] != "a=1; b=2" {
		t.Errorf("X-A %q Cookie %q, want one line each", a, cookie)
	}
}

func TestBodyWithALengthIsReadWholeBeforeTheCall(t *testing.T) { // D 20
	h := start(t, app{}, Options{})
	event(t, h, Ready, 1)
	conn, answer := dial(t, h)
	send(t, conn, "POST /x?script="+url.QueryEscape("print:called|echo")+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10000\r\n\r\n"+strings.Repeat("x", 9000))
	if early := lineWithin(h, "called", 200*time.Millisecond); early {
		t.Error("the handler was called before the body had come")
	}
	send(t, conn, strings.Repeat("y", 1000))
	line(t, h, "called")
	response, body := answer()
	seen := echoed(t, body)
	if response.StatusCode != http.StatusOK || seen.Length != 10000 || len(seen.Coding) != 0 || !strings.HasSuffix(seen.Body, "xy"+strings.Repeat("y", 999)) {
		t.Errorf("the handler saw length %d coding %v and %d bytes", seen.Length, seen.Coding, len(seen.Body))
	}
}

func TestChunkedBodyIsStreamed(t *testing.T) { // D 20
	h := start(t, app{}, Options{})
	event(t, h, Ready, 1)
	conn, answer := dial(t, h)
	// More than the write buffer of the host, so that it is on its way.
	chunk := strings.Repeat("x", 5000)
	send(t, conn, "POST /x?script="+url.QueryEscape("read:3000|echo")+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
	send(t, conn, fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk))
	line(t, h, "read 3000")
	send(t, conn, "2\r\nhi\r\n0\r\n\r\n")
	_, body := answer()
	seen := echoed(t, body)
	if seen.Length != -1 || len(seen.Coding) != 1 || seen.Coding[0] != "chunked" || seen.Body != chunk[3000:]+"hi" {
		t.Errorf("the handler saw length %d coding %v and %d bytes", seen.Length, seen.Coding, len(seen.Body))
	}
}

// dial opens a connection to the host; answer reads what comes back.
func dial(t *testing.T, h *Host) (conn net.Conn, answer func() (*http.Response, string)) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, func() (*http.Response, string) {
		t.Helper()
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("read answer: %v", err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatalf("read answer: %v", err)
		}
		return response, string(body)
	}
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// lineWithin tells whether the handler prints a line in a given time.
func lineWithin(h *Host, substr string, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_, err := h.WaitLine(ctx, substr)
	return err == nil
}

func TestBodyOverTheLimitNeverReachesTheHandlerWhole(t *testing.T) { // D 21
	h := start(t, app{}, Options{Env: []string{"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT=200000"}})
	// The length alone is enough: the body need not come.
	response, body := raw(t, h, "POST /x?script=print:called HTTP/1.1\r\nHost: h\r\nContent-Length: 200001\r\n\r\n")
	bare500(t, response, body)

	chunked := newRequest(t, http.MethodPost, script(h, "drain"), io.MultiReader(strings.NewReader(strings.Repeat("x", 300000))))
	response, body = do(t, chunked)
	bare500(t, response, body)
	if broken := line(t, h, "drained"); !strings.HasSuffix(broken.Text, "unexpected EOF") {
		t.Errorf("the handler %s, want a broken body", broken.Text)
	}
	fits := newRequest(t, http.MethodPost, script(h, "echo"), io.MultiReader(strings.NewReader(strings.Repeat("x", 200000))))
	_, body = do(t, fits)
	if seen := echoed(t, body); len(seen.Body) != 200000 || seen.Hits != 2 {
		t.Errorf("%d bytes after %d calls, want 200000 after 2: the first must not be made", len(seen.Body), seen.Hits)
	}
}

func TestDefaultLimitOfABodyIs100MiB(t *testing.T) { // D 21
	file, err := readHostFile(stage(t, app{bare: true}))
	if err != nil {
		t.Fatal(err)
	}
	if got := (Options{}).withDefaults(file).MaxBody; got != 104857600 {
		t.Errorf("limit %d, want 104857600", got)
	}
}

func TestAnswerBeforeALargeBodyIsReadIsLost(t *testing.T) { // D 22
	h := start(t, app{}, Options{})
	large := strings.Repeat("x", 16<<20)
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "header:Connection=close", "status:413", "write:too large"), strings.NewReader(large)))
	bare500(t, response, body)
	if failed := event(t, h, CallFailed, 1); !strings.Contains(failed.Detail, "RequestBodyDestination") {
		t.Errorf("failed by %q, want RequestBodyDestination", failed.Detail)
	}
	response, body = do(t, newRequest(t, http.MethodPost, script(h, "drain", "status:413", "write:too large"), strings.NewReader(large)))
	if response.StatusCode != http.StatusRequestEntityTooLarge || body != "too large" {
		t.Errorf("answer %d %q after the body was drained, want 413", response.StatusCode, body)
	}
}

func TestExpectedContinueComesFromTheHandler(t *testing.T) {
	h := start(t, app{}, Options{})
	// A chunked body, since the host reads one with a length before the call.
	request := newRequest(t, http.MethodPost, script(h, "echo"), io.MultiReader(strings.NewReader("hello")))
	request.Header.Set("Expect", "100-continue")
	_, body := do(t, request)
	if seen := echoed(t, body); seen.Body != "hello" || seen.Header.Get("Expect") != "100-continue" {
		t.Errorf("the handler saw %q with %v", seen.Body, seen.Header)
	}

	refused := newRequest(t, http.MethodPost, script(h, "status:403", "write:no"), io.MultiReader(strings.NewReader(strings.Repeat("x", 8<<20))))
	refused.Header.Set("Expect", "100-continue")
	response, body := do(t, refused)
	if response.StatusCode != http.StatusForbidden || body != "no" {
		t.Errorf("answer %d %q, want the handler's refusal", response.StatusCode, body)
	}
}

func TestRequestWithoutABodySaysSo(t *testing.T) {
	h := start(t, app{}, Options{})
	_, body := raw(t, h, "POST /x?script=echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	if seen := echoed(t, body); seen.Length != 0 || seen.Header.Get("Content-Length") != "0" {
		t.Errorf("the handler saw length %d %v", seen.Length, seen.Header)
	}
}
