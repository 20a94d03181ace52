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

func TestRequestLineOfTheHandler(t *testing.T) {
	h := start(t, app{host: strings.Replace(plainHost, `"routePrefix":""`, `"routePrefix":"api"`, 1)}, Options{})
	query := "?script=echo&b=%7e+%20&&a=1&a=2&code=secret"
	_, body := sendRaw(t, h, "GET /api/x/./%7Ea%2Fb/../c%20d"+query+"&x=%zz#y HTTP/1.1\r\nHost: contoso.example\r\nConnection: close\r\n\r\n")
	seen := echoed(t, body)
	if want := "/api/x/c%20d" + query + "&x=%25zz%23y"; seen.Target != want {
		t.Errorf("target %s, want %s", seen.Target, want)
	}
	if want := strings.TrimPrefix(h.HandlerURL(), "http://"); seen.Host != want {
		t.Errorf("Host %s, want %s", seen.Host, want)
	}
	_, body = sendRaw(t, h, "GET /api/a%2Fb?script=echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if seen := echoed(t, body); seen.Target != "/api/a%252Fb?script=echo" {
		t.Errorf("target %s, want %%2F as %%252F", seen.Target)
	}
	if response, _ := sendRaw(t, h, "GET /api/a%00?script=echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); response.StatusCode != http.StatusBadRequest {
		t.Errorf("a null character in the path: %d, want 400", response.StatusCode)
	}
}

func TestInvocationHeadersAreOverwritten(t *testing.T) {
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

func TestForwardedHeadersAreOverwritten(t *testing.T) {
	h := start(t, app{}, Options{})
	_, body := sendRaw(t, h, "GET /x?script=echo HTTP/1.1\r\nHost: contoso.example\r\nConnection: close\r\n"+
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

func TestHopByHopHeadersAreDropped(t *testing.T) {
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
	// Connection names Api-Key, but the host drops the headers of its list only.
	_, body := sendRaw(t, h, request+"Connection: close, Api-Key\r\n\r\nhi")
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

func TestNoClientHeadersAreAdded(t *testing.T) {
	h := start(t, app{}, Options{})
	_, body := sendRaw(t, h, "GET /x?script=echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	header := echoed(t, body).Header
	for name := range header {
		if !strings.HasPrefix(name, "X-") {
			t.Errorf("%s was added: %v", name, header)
		}
	}
	if len(header) != 6 {
		t.Errorf("header %v, want the host's six", header)
	}
}

func TestHeaderLinesAreJoined(t *testing.T) {
	h := start(t, app{}, Options{})
	_, body := sendRaw(t, h, "GET /x?script=echo HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: close\r\n\r\n")
	header := echoed(t, body).Header
	if a, cookie := header["X-A"], header["Cookie"]; len(a) != 1 || a[0] != "1, 2" || len(cookie) != 1 || cookie[0] != "a=1; b=2" {
		t.Errorf("X-A %q Cookie %q, want one line each", a, cookie)
	}
}

func TestBodyWithLengthIsReadBeforeTheCall(t *testing.T) {
	h := start(t, app{}, Options{})
	waitEvent(t, h, Ready, 1)
	conn, read := dialHost(t, h)
	writeConn(t, conn, "POST /x?script="+url.QueryEscape("print:called|echo")+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10000\r\n\r\n"+strings.Repeat("x", 9000))
	if early := lineWithin(h, "called", quiet); early {
		t.Error("the handler was called before the body had come")
	}
	writeConn(t, conn, strings.Repeat("y", 1000))
	waitLine(t, h, "called")
	response, body := read()
	seen := echoed(t, body)
	if response.StatusCode != http.StatusOK || seen.Length != 10000 || len(seen.Coding) != 0 || !strings.HasSuffix(seen.Body, "xy"+strings.Repeat("y", 999)) {
		t.Errorf("the handler saw length %d coding %v and %d bytes", seen.Length, seen.Coding, len(seen.Body))
	}
}

func TestChunkedBodyIsStreamed(t *testing.T) {
	h := start(t, app{}, Options{})
	waitEvent(t, h, Ready, 1)
	conn, read := dialHost(t, h)
	// More than the host's write buffer, so that it is sent.
	chunk := strings.Repeat("x", 5000)
	writeConn(t, conn, "POST /x?script="+url.QueryEscape("read:3000|echo")+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
	writeConn(t, conn, fmt.Sprintf("%x\r\n%s\r\n", len(chunk), chunk))
	waitLine(t, h, "read 3000")
	writeConn(t, conn, "2\r\nhi\r\n0\r\n\r\n")
	_, body := read()
	seen := echoed(t, body)
	if seen.Length != -1 || len(seen.Coding) != 1 || seen.Coding[0] != "chunked" || seen.Body != chunk[3000:]+"hi" {
		t.Errorf("the handler saw length %d coding %v and %d bytes", seen.Length, seen.Coding, len(seen.Body))
	}
}

// dialHost opens a connection to the host; read returns the response.
func dialHost(t *testing.T, h *Host) (conn net.Conn, read func() (*http.Response, string)) {
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
			t.Fatalf("read response: %v", err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatalf("read response: %v", err)
		}
		return response, string(body)
	}
}

func writeConn(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// quiet is how long a test waits for what must not happen.
const quiet = 50 * time.Millisecond

// lineWithin reports whether the handler prints a line in a given time.
func lineWithin(h *Host, substr string, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_, err := h.WaitLine(ctx, substr)
	return err == nil
}

func TestBodyOverTheLimitIs500(t *testing.T) {
	h := start(t, app{}, Options{Env: []string{"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT=200000"}})
	// The length alone is enough: the body need not come.
	response, body := sendRaw(t, h, "POST /x?script=print:called HTTP/1.1\r\nHost: h\r\nContent-Length: 200001\r\n\r\n")
	wantEmpty500(t, response, body)

	chunked := newRequest(t, http.MethodPost, script(h, "drain"), io.MultiReader(strings.NewReader(strings.Repeat("x", 300000))))
	response, body = do(t, chunked)
	wantEmpty500(t, response, body)
	if broken := waitLine(t, h, "drained"); !strings.HasSuffix(broken.Text, "unexpected EOF") {
		t.Errorf("the handler %s, want a broken body", broken.Text)
	}
	fits := newRequest(t, http.MethodPost, script(h, "echo"), io.MultiReader(strings.NewReader(strings.Repeat("x", 200000))))
	_, body = do(t, fits)
	if seen := echoed(t, body); len(seen.Body) != 200000 || seen.Hits != 2 {
		t.Errorf("%d bytes after %d calls, want 200000 after 2: the first must not reach it", len(seen.Body), seen.Hits)
	}
}

func TestDefaultLimitOfABodyIs100MiB(t *testing.T) {
	file, err := readHostFile(stage(t, app{bare: true}))
	if err != nil {
		t.Fatal(err)
	}
	if got := (Options{}).withDefaults(file).MaxBody; got != 104857600 {
		t.Errorf("limit %d, want 104857600", got)
	}
}

func TestResponseBeforeBodyIsReadIsLost(t *testing.T) {
	h := start(t, app{}, Options{sleep: new(delays).sleep})
	large := strings.Repeat("x", 16<<20)
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "header:Connection=close", "status:413", "write:too large"), strings.NewReader(large)))
	wantEmpty500(t, response, body)
	if failed := waitEvent(t, h, CallFailed, 1); !strings.Contains(failed.Detail, "RequestBodyDestination") {
		t.Errorf("failed by %q, want RequestBodyDestination", failed.Detail)
	}
	response, body = do(t, newRequest(t, http.MethodPost, script(h, "drain", "status:413", "write:too large"), strings.NewReader(large)))
	if response.StatusCode != http.StatusRequestEntityTooLarge || body != "too large" {
		t.Errorf("response %d %q after the body was drained, want 413", response.StatusCode, body)
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
		t.Errorf("response %d %q, want the handler's 403", response.StatusCode, body)
	}
}

func TestEmptyBodyHasLengthZero(t *testing.T) {
	h := start(t, app{}, Options{})
	_, body := sendRaw(t, h, "POST /x?script=echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	if seen := echoed(t, body); seen.Length != 0 || seen.Header.Get("Content-Length") != "0" {
		t.Errorf("the handler saw length %d %v", seen.Length, seen.Header)
	}
}

func TestTraceparentOfApplicationInsights(t *testing.T) {
	insights := []string{"APPLICATIONINSIGHTS_CONNECTION_STRING=InstrumentationKey=x"}
	noTracing := strings.Replace(plainHost, `{"version"`, `{"logging":{"applicationInsights":{"httpAutoCollectionOptions":{"enableW3CDistributedTracing":false}}},"version"`, 1)
	const sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, test := range map[string]struct {
		app     app
		env     []string
		sent    string
		pattern string
	}{
		"made up unsampled":    {app{}, insights, "", "^00-[0-9a-f]{32}-[0-9a-f]{16}-00$"},
		"the client's passes":  {app{}, insights, sampled, "^" + sampled + "$"},
		"none without":         {app{}, nil, "", "^$"},
		"none with W3C off":    {app{host: noTracing}, insights, "", "^$"},
		"passes with W3C off":  {app{host: noTracing}, insights, sampled, "^" + sampled + "$"},
		"passes without it on": {app{}, nil, sampled, "^" + sampled + "$"},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, test.app, Options{Env: test.env})
			request := newRequest(t, http.MethodGet, script(h, "echo"), nil)
			if test.sent != "" {
				request.Header.Set("Traceparent", test.sent)
			}
			_, body := do(t, request)
			if got := echoed(t, body).Header.Get("Traceparent"); !regexp.MustCompile(test.pattern).MatchString(got) {
				t.Errorf("traceparent %q, want %s", got, test.pattern)
			}
		})
	}
}

func TestRequestHeadersMustBeASCII(t *testing.T) {
	var waits delays
	h := start(t, app{}, Options{sleep: waits.sleep})
	response, body := sendRaw(t, h, "GET /x?script=echo HTTP/1.1\r\nHost: h\r\nX-A: caf\u00e9\r\nConnection: close\r\n\r\n")
	wantEmpty500(t, response, body)
	waits.want(t)
	if response, _ := sendRaw(t, h, "GET /x?script=echo HTTP/1.1\r\nHost: h\r\nX-A: caf\xe9\r\nConnection: close\r\n\r\n"); response.StatusCode != http.StatusBadRequest {
		t.Errorf("Latin-1: response %d, want 400", response.StatusCode)
	}
	if seen := echo(t, h); seen.Hits != 1 {
		t.Errorf("%d deliveries, want none", seen.Hits-1)
	}
}

func TestLimitsOfRequestLineAndHeaders(t *testing.T) {
	h := start(t, app{}, Options{})
	const line = "GET /x?script=status:299&x=%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	padding := (8 << 10) - len("GET /x?script=status:299&x= HTTP/1.1\r\n")
	for name, test := range map[string]struct {
		request string
		status  int
	}{
		"line of 8 KiB":        {fmt.Sprintf(line, strings.Repeat("y", padding)), 299},
		"line above 8 KiB":     {fmt.Sprintf(line, strings.Repeat("y", padding+1)), http.StatusRequestURITooLong},
		"100 headers":          {fmt.Sprintf(line, "") + strings.Repeat("X-A: b\r\n", 98), 299},
		"101 headers":          {fmt.Sprintf(line, "") + strings.Repeat("X-A: b\r\n", 99), http.StatusRequestHeaderFieldsTooLarge},
		"headers below 32 KiB": {fmt.Sprintf(line, "") + "X-A: " + strings.Repeat("b", 32<<10-40) + "\r\n", 299},
		"headers above 32 KiB": {fmt.Sprintf(line, "") + "X-A: " + strings.Repeat("b", 32<<10) + "\r\n", http.StatusRequestHeaderFieldsTooLarge},
	} {
		if response, body := sendRaw(t, h, test.request+"\r\n"); response.StatusCode != test.status || body != "" {
			t.Errorf("%s: response %d %q, want %d", name, response.StatusCode, body, test.status)
		}
	}
}

func TestRequestTargetsAndMethods(t *testing.T) {
	h := start(t, app{}, Options{})
	for name, test := range map[string]struct {
		request string
		status  int
	}{
		"CONNECT":                       {"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n", http.StatusNotFound},
		"CONNECT with another Host":     {"CONNECT example.com:443 HTTP/1.1\r\nHost: other.example:443\r\n", http.StatusBadRequest},
		"absolute target":               {"GET http://h.example/x?script=status:299 HTTP/1.1\r\nHost: h.example\r\n", 299},
		"absolute target, another Host": {"GET http://h.example/x?script=status:299 HTTP/1.1\r\nHost: other.example\r\n", http.StatusBadRequest},
		"empty Host":                    {"GET /x?script=status:299 HTTP/1.1\r\nHost:\r\n", http.StatusInternalServerError},
		"HTTP/1.0 without Host":         {"GET /x?script=status:299 HTTP/1.0\r\n", http.StatusInternalServerError},
		"empty segment":                 {"GET /x//y?script=status:299 HTTP/1.1\r\nHost: h\r\n", http.StatusNotFound},
	} {
		if response, body := sendRaw(t, h, test.request+"Connection: close\r\n\r\n"); response.StatusCode != test.status || body != "" {
			t.Errorf("%s: response %d %q, want %d", name, response.StatusCode, body, test.status)
		}
	}
	_, body := sendRaw(t, h, "get /x?script=echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if seen := echoed(t, body); seen.Method != http.MethodGet {
		t.Errorf("method %q, want GET", seen.Method)
	}
}
