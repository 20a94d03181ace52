package admin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
)

// mount mounts the handler as the server does.
func mount(cfg Config) http.Handler {
	r := chi.NewRouter()
	r.Mount("/ops", New(cfg))
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	return r
}

// addresses makes each request come from another address, unless a test says where
// it comes from.
var addresses atomic.Int64

// statusOf is the status as the API responds with it.
func statusOf(t *testing.T, h http.Handler, query string) *Status {
	t.Helper()
	got := testRequest{path: "/ops/api/status" + query}.to(t, h)
	s := new(Status)
	if err := json.Unmarshal(got.Body.Bytes(), s); err != nil || got.Code != http.StatusOK {
		t.Fatalf("%s: %d, %v: %.200s", query, got.Code, err, got.Body)
	}
	return s
}

type testRequest struct {
	method, path string
	from         string // "" = another one each time
	header       map[string]string
	host         string
}

func (s testRequest) to(t *testing.T, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	path, query, _ := strings.Cut(s.path, "?")
	r := sentRequest(t, path, query)
	if r == nil {
		t.Fatalf("%s is no path", s.path)
	}
	r.Method = cmp.Or(s.method, http.MethodGet)
	r.RemoteAddr = cmp.Or(s.from, r.RemoteAddr)
	if s.host != "" {
		r.Host = s.host
	}
	for name, value := range s.header {
		r.Header.Set(name, value)
	}
	return record(h, r)
}

// sentRequest is a request with its path as sent, not as a client cleans it; nil
// when a server would not parse it.
func sentRequest(t *testing.T, path, query string) *http.Request {
	t.Helper()
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:8080/", http.NoBody)
	r.URL, r.RequestURI = u, path+"?"+query
	r.URL.RawQuery = query
	n := addresses.Add(1)
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:4321", n>>16&255, n>>8&255, n&255)
	return r
}

func record(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func keyedScenario() *fakeFleet {
	w := healthyScenario(time.Now)
	w.cfg.Key = testKey
	w.cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "spillway_up 1") })
	return w
}

func TestRequestsWithoutKeyAreUnauthorized(t *testing.T) {
	w := keyedScenario()
	h := mount(w.cfg)
	keys := map[string]map[string]string{
		"no key":                 {},
		"a wrong key":            {keyHeader: "operators-key-0123456788"},
		"a longer key":           {keyHeader: testKey + "0"},
		"an empty key":           {keyHeader: ""},
		"a wrong bearer":         {"Authorization": "Bearer nonsense"},
		"an empty bearer":        {"Authorization": "Bearer "},
		"a key as Basic":         {"Authorization": "Basic " + testKey},
		"a key without a scheme": {"Authorization": testKey},
		"a caller's header":      {"Api-Key": testKey},
		"a host's key":           {"X-Functions-Key": testKey},
		"a cookie":               {"Cookie": "spillway-operator-key=" + testKey},
		"a wrong key, and right": {keyHeader: "wrong", "Authorization": "Bearer " + testKey},
	}
	paths := []string{
		"/ops/api/status", "/ops/api/requests?last=5", "/ops/api/usage", "/ops/metrics", "/ops/nothing", "/ops/api/", "/ops/debug/pprof/",
		"/ops/api/status?key=" + testKey, "/ops/api/status?code=" + testKey,
	}
	for name, header := range keys {
		for _, path := range paths {
			got := testRequest{path: path, header: header}.to(t, h)
			if got.Code != http.StatusUnauthorized || strings.Contains(got.Body.String(), "ptu-uksouth") {
				t.Errorf("%s, %s: %d %.200s", name, path, got.Code, got.Body)
			}
		}
		got := testRequest{method: http.MethodPost, path: "/ops/api/backends/ptu-uksouth/drain", header: header}.to(t, h)
		if got.Code != http.StatusUnauthorized {
			t.Errorf("%s, drain: %d %s", name, got.Code, got.Body)
		}
	}
	if said := w.written(); len(said) > 0 {
		t.Errorf("written: %q", said)
	}
}

func TestKeyIsAcceptedOnEveryPath(t *testing.T) {
	h := mount(keyedScenario().cfg)
	for name, header := range map[string]map[string]string{
		"its own header": {keyHeader: testKey}, "a bearer": {"Authorization": "Bearer " + testKey}, "a bearer in small letters": {"Authorization": "bearer  " + testKey},
	} {
		for _, path := range []string{"/ops", "/ops/", "/ops/api/status", "/ops/api/requests?last=5", "/ops/api/usage", "/ops/metrics"} {
			if got := (testRequest{path: path, header: header}).to(t, h); got.Code != http.StatusOK {
				t.Errorf("%s, %s: %d %.200s", name, path, got.Code, got.Body)
			}
		}
	}
}

// Every spelling of a path needs the key, and none is answered with a redirect: see
// docs/security.md#paths-and-names.
func TestEveryPathSpellingNeedsTheKey(t *testing.T) {
	w := keyedScenario()
	h := mount(w.cfg)
	decoded := []string{"/ops/%61pi/status", "/ops/api%2fstatus"} // spellings of an existing path
	for _, path := range []string{
		"/ops//api/status", "/ops/./api/status", "/ops/../ops/api/status", "/ops/api/../api/status", "/ops/api/status/", "/ops/api/status//",
		"/ops/API/STATUS", "/ops/api/status;jsessionid=1", "/ops/api%2fstatus", "/ops/%61pi/status", "/ops/api/status%00", "/ops/api/status%20",
		"/ops/icon.svg/../api/status", "/ops/page.js/api/status", "/ops/icon.svg%2f..%2fapi%2fstatus", "/ops/%2e%2e/ops/api/status",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace} {
			got := testRequest{method: method, path: path}.to(t, h)
			if got.Code != http.StatusUnauthorized {
				t.Errorf("%s %s without a key: %d %.200s", method, path, got.Code, got.Body)
			}
			got = testRequest{method: method, path: path, header: map[string]string{keyHeader: testKey}}.to(t, h)
			if got.Code != http.StatusNotFound && !slices.Contains(decoded, path) {
				t.Errorf("%s %s with the key: %d", method, path, got.Code)
			}
		}
	}
	for _, path := range []string{"/OPS/api/status", "//ops/api/status", "/ops%2fapi%2fstatus", "/opsapi/status", "/x/../ops/api/status"} {
		if got := (testRequest{path: path}).to(t, h); got.Code != http.StatusTeapot {
			t.Errorf("%s: %d, want it to be no path of the operators", path, got.Code)
		}
	}
}

func TestNothingIsServedWithoutAConfiguredKey(t *testing.T) {
	w := healthyScenario(time.Now)
	h := mount(w.cfg)
	for _, s := range []testRequest{
		{path: "/ops"},
		{path: "/ops/"},
		{path: "/ops/page.js"},
		{path: "/ops/api/status", header: map[string]string{keyHeader: ""}},
		{path: "/ops/api/status", header: map[string]string{"Authorization": "Bearer "}},
		{path: "/ops/metrics"},
		{method: http.MethodPost, path: "/ops/api/backends/ptu-uksouth/drain", header: map[string]string{nameHeader: "me"}},
	} {
		if got := s.to(t, h); got.Code != http.StatusNotFound || strings.Contains(strings.ToLower(got.Body.String()), "operator") {
			t.Errorf("%s %s: %d %s", s.method, s.path, got.Code, got.Body)
		}
	}
	if said := w.written(); len(said) > 0 {
		t.Errorf("written: %q", said)
	}
}

// A page of any site can send requests to loopback, and a site's name can resolve
// to it.
func TestKeylessAccessIsLimitedToLoopbackNames(t *testing.T) {
	w := healthyScenario(time.Now)
	w.cfg.Open = true
	h := mount(w.cfg)
	for host, want := range map[string]int{
		"127.0.0.1:8080": 200, "localhost:8080": 200, "LOCALHOST": 200, "[::1]:8080": 200, "127.8.9.1": 200,
		"evil.example:8080": 404, "localhost.evil.example": 404, "10.0.0.7:8080": 404, "": 200,
	} {
		if got := (testRequest{path: "/ops/api/status", host: host}).to(t, h); got.Code != want {
			t.Errorf("to %q: %d, want %d", host, got.Code, want)
		}
	}
	const drain = "/ops/api/backends/ptu-uksouth/drain"
	for name, c := range map[string]struct {
		header map[string]string
		want   int
	}{
		"a form of another site":    {map[string]string{"Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site"}, 403},
		"a form without metadata":   {map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 403},
		"a script of another site":  {map[string]string{nameHeader: "x", "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403},
		"… of an old browser":       {map[string]string{nameHeader: "x", "Origin": "https://evil.example"}, 403},
		"this page":                 {map[string]string{nameHeader: "", "Sec-Fetch-Site": "same-origin"}, 200},
		"this page, an old browser": {map[string]string{nameHeader: "ana", "Origin": "http://127.0.0.1:8080"}, 200},
		"a shell":                   {map[string]string{nameHeader: "ana"}, 200},
	} {
		before := len(w.written())
		got := testRequest{method: http.MethodPost, path: drain, header: c.header}.to(t, h)
		if changed := len(w.written()) > before; got.Code != c.want || changed != (c.want == 200) {
			t.Errorf("%s: %d, written %v: %s", name, got.Code, changed, got.Body)
		}
	}
}

func TestUnauthorizedIsFormForBrowsersAndJSONForPrograms(t *testing.T) {
	h := mount(keyedScenario().cfg)
	for _, path := range []string{"/ops", "/ops/"} {
		page := testRequest{path: path, header: map[string]string{"Accept": "text/html,*/*;q=0.8"}}.to(t, h)
		if body := page.Body.String(); page.Code != 401 || !strings.Contains(body, `id="key-form"`) || strings.Contains(body, "ptu-uksouth") || strings.Contains(body, "flex-7c41") {
			t.Errorf("%s in a browser: %d, %d bytes", path, page.Code, len(body))
		}
		program := testRequest{path: path}.to(t, h)
		if code, _ := errorOf(t, program); program.Code != 401 || code != "operator_key_required" || program.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s of a program: %d %s", path, program.Code, program.Body)
		}
	}
	for _, path := range publicPaths() {
		if got := (testRequest{path: path}).to(t, h); got.Code != 200 || got.Body.Len() < 100 || strings.HasSuffix(path, ".html") {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
}

func errorOf(t *testing.T, w *httptest.ResponseRecorder) (code, message string) {
	t.Helper()
	var body struct {
		Error struct{ Code, Message, Type string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error.Type == "" {
		t.Fatalf("no error in OpenAI's shape: %s", w.Body)
	}
	return body.Error.Code, body.Error.Message
}

func TestSecurityHeaders(t *testing.T) {
	key := map[string]string{keyHeader: testKey}
	closed := healthyScenario(time.Now)
	for _, c := range []struct {
		cfg Config
		s   testRequest
	}{
		{keyedScenario().cfg, testRequest{path: "/ops/", header: key}},
		{keyedScenario().cfg, testRequest{path: "/ops/"}},
		{keyedScenario().cfg, testRequest{path: "/ops/page.js"}},
		{keyedScenario().cfg, testRequest{path: "/ops/api/status", header: key}},
		{keyedScenario().cfg, testRequest{path: "/ops/nothing", header: key}},
		{keyedScenario().cfg, testRequest{method: http.MethodPut, path: "/ops/api/status", header: key}},
		{keyedScenario().cfg, testRequest{path: "/ops/metrics", header: key}},
		{closed.cfg, testRequest{path: "/ops/"}},
	} {
		h := c.s.to(t, mount(c.cfg)).Header()
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'none'", "script-src 'self'", "style-src " + styleHash, "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
		} {
			if !strings.Contains(policy+";", want+";") {
				t.Errorf("%s: the policy %q lacks %q", c.s.path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: the policy is %q", c.s.path, policy)
		}
		for name, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.s.path, name, got, want)
			}
		}
		if h.Get("Set-Cookie") != "" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", c.s.path, h)
		}
	}
}

func TestMethodNotAllowed(t *testing.T) {
	h := mount(keyedScenario().cfg)
	key := map[string]string{keyHeader: testKey}
	for path, want := range map[string]string{"/ops/api/status": "GET", "/ops/api/backends/ptu-uksouth/drain": "POST"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodOptions} {
			if method == want {
				continue
			}
			if got := (testRequest{method: method, path: path, header: key}).to(t, h); got.Code != 405 || got.Header().Get("Allow") != want {
				t.Errorf("%s %s: %d, Allow %q", method, path, got.Code, got.Header().Get("Allow"))
			}
		}
	}
	if got := (testRequest{method: http.MethodHead, path: "/ops/api/status", header: key}).to(t, h); got.Code != 200 {
		t.Errorf("HEAD: %d", got.Code)
	}
}

func TestRoutesWithoutProviderAreNotFound(t *testing.T) {
	w := healthyScenario(time.Now)
	w.cfg.Key, w.cfg.UsageRows, w.cfg.Metrics = testKey, nil, nil
	h := mount(w.cfg)
	for _, path := range []string{"/ops/api/usage", "/ops/metrics"} {
		if got := (testRequest{path: path, header: map[string]string{keyHeader: testKey}}).to(t, h); got.Code != 404 {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
}

// publicPaths is the files that are served without a key.
func publicPaths() []string {
	var paths []string
	for path := range fileRoutes() {
		paths = append(paths, mountPath+path)
	}
	return paths
}

// The size counts style, scripts, icon and the empty page.
func TestPageSizeIsBounded(t *testing.T) {
	h := mount(keyedScenario().cfg)
	paths := append(publicPaths(), "/ops/")
	total := 0
	for _, path := range paths {
		total += testRequest{path: path, header: map[string]string{"Accept": "text/html"}}.to(t, h).Body.Len()
	}
	if len(paths) != 3 || total > 49_980 {
		t.Errorf("the page is %d files and weighs %d bytes, want at most 49,980: what is shown without a key is larger", len(paths), total)
	}
}

// Routers that ignore the case of a path need not rewrite it for this package.
func TestPrefixIsTakenInAnyCase(t *testing.T) {
	h := New(keyedScenario().cfg)
	for path, want := range map[string]int{"/OPS/api/status": http.StatusOK, "/ops/api/status": http.StatusOK, "/api/status": http.StatusOK, "/OPS/API/status": http.StatusNotFound, "/op": http.StatusNotFound} {
		got := testRequest{path: path, header: map[string]string{keyHeader: testKey}}.to(t, h)
		if got.Code != want {
			t.Errorf("%s: %d, want %d", path, got.Code, want)
		}
		if got = (testRequest{path: path}).to(t, h); got.Code != http.StatusUnauthorized {
			t.Errorf("%s without a key: %d", path, got.Code)
		}
	}
}
