package funchost

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// functionJSON is function.json of an HTTP function.
func functionJSON(route, level, methods string) string {
	binding := `{"type":"httpTrigger","direction":"in","name":"req","authLevel":"` + level + `"`
	if route != "" {
		binding += `,"route":"` + route + `"`
	}
	if methods != "" {
		binding += `,"methods":["` + strings.ReplaceAll(methods, " ", `","`) + `"]`
	}
	return `{"bindings":[` + binding + `},{"type":"http","direction":"out","name":"res"}]}`
}

// reaches reports whether a request reaches the handler.
func reaches(t *testing.T, h *Host, method, path string) bool {
	t.Helper()
	response, body := do(t, newRequest(t, method, h.URL+path+"?script=status:299", nil))
	if response.StatusCode == 299 {
		return true
	}
	if response.StatusCode != http.StatusNotFound || body != "" {
		t.Errorf("%s %s: answer %d %q, want 404 with no body", method, path, response.StatusCode, body)
	}
	return false
}

func TestOnlyImmediateFoldersAreFunctions(t *testing.T) {
	h := start(t, app{functions: map[string]string{
		"top":         functionJSON("top", "", ""),
		"deep/nested": functionJSON("nested", "", ""),
		"1st":         functionJSON("first", "", ""),
		"host":        functionJSON("host", "", ""),
		"off":         strings.Replace(functionJSON("off", "", ""), "{", `{"disabled":true,`, 1),
	}}, Options{})
	for path, want := range map[string]bool{"/top": true, "/nested": false, "/first": false, "/host": false, "/off": false} {
		if got := reaches(t, h, http.MethodGet, path); got != want {
			t.Errorf("%s reaches the handler: %v, want %v", path, got, want)
		}
	}
	if refused := count(h, FunctionRefused); refused != 3 {
		t.Errorf("%d functions refused, want 3: %v", refused, h.Events())
	}
}

func TestFirstFunctionByNameWins(t *testing.T) {
	// The level shows which function took the request.
	h := start(t, app{functions: map[string]string{
		"b":     functionJSON("{*path}", "admin", ""),
		"A":     functionJSON("open/{*path}", "anonymous", "get"),
		"Zlast": functionJSON("later/{*path}", "anonymous", ""),
	}}, Options{Auth: true})
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/open/x", 299},
		{http.MethodGet, "/OPEN", 299},
		{http.MethodGet, "/later/x", http.StatusUnauthorized}, // b, which comes before Zlast
		{http.MethodPost, "/open/x", http.StatusUnauthorized}, // A takes no POST: b is next
	} {
		response, _ := do(t, newRequest(t, test.method, h.URL+test.path+"?script=status:299", nil))
		if response.StatusCode != test.status {
			t.Errorf("%s %s: %d, want %d", test.method, test.path, response.StatusCode, test.status)
		}
	}
}

func TestUnlistedMethodIs404(t *testing.T) {
	h := start(t, app{functions: map[string]string{"one": functionJSON("one/{*path}", "anonymous", "get head")}}, Options{})
	if reaches(t, h, http.MethodPost, "/one/x") || !reaches(t, h, http.MethodGet, "/one/x") {
		t.Error("want GET to reach the handler and POST a 404")
	}
	if reaches(t, h, http.MethodGet, "/two") {
		t.Error("a path without a route reached the handler")
	}
}

func TestRouteIsPrefixAndRouteOrName(t *testing.T) {
	functions := map[string]string{"named": functionJSON("", "anonymous", ""), "routed": functionJSON("a/{id:int}/{rest?}", "anonymous", "")}
	for prefix, test := range map[string]struct {
		host string
		base string
	}{
		"api by default": {strings.Replace(plainHost, `"routePrefix":""`, ``, 1), "/api"},
		"none":           {plainHost, ""},
		"its own":        {strings.Replace(plainHost, `"routePrefix":""`, `"routePrefix":"x/y"`, 1), "/x/y"},
	} {
		t.Run(prefix, func(t *testing.T) {
			h := start(t, app{host: test.host, functions: functions}, Options{})
			for path, want := range map[string]bool{
				"/named": true, "/a/7": true, "/a/7/b": true, "/a/7/": true, "/a/seven": false, "/a/7/b/c": false, "/a": false, "/named/x": false,
			} {
				if got := reaches(t, h, http.MethodGet, test.base+path); got != want {
					t.Errorf("%s reaches the handler: %v, want %v", test.base+path, got, want)
				}
			}
			if test.base != "" && reaches(t, h, http.MethodGet, "/named") {
				t.Error("reached without the prefix")
			}
		})
	}
}

func TestConstraintsAndLiteralsOfRoutes(t *testing.T) {
	for _, test := range []struct {
		route, path string
		want        bool
	}{
		{"{*path}", "/", true},
		{"{*path}", "/a/b/", true},
		{"v1/{*path}", "/v1", true},
		{"v1/{*path}", "/v12", false},
		{"v1/{*path}", "/V1/chat", true},
		{"x/{name:alpha}", "/x/abc", true},
		{"x/{name:alpha}", "/x/a1", false},
		{"x/{id:guid}", "/x/0f8fad5b-d9cb-469f-a165-70867728950e", true},
		{"x/{id:guid}", "/x/0f8fad5b", false},
		{"x/{n:regex(^a.$)}", "/x/Ab", true},
		{"x/{n:regex(^a.$)}", "/x/b", false},
		{"x/{n:long}/y", "/x/12345678901/y", true},
		{"x/{n}/y", "/x//y", false},
		{"x", "/x/", true},
		{"x", "/", false},
	} {
		compiled, err := compileRoute("", test.route)
		if err != nil {
			t.Errorf("%s: %v", test.route, err)
			continue
		}
		if got := compiled.matches(test.path); got != test.want {
			t.Errorf("%s takes %s: %v, want %v", test.route, test.path, got, test.want)
		}
	}
	for _, unknown := range []string{"x/{n:datetime}", "x/v{n}", "x/{n:regex([)}"} {
		if _, err := compileRoute("", unknown); err == nil {
			t.Errorf("%s was compiled, want an error", unknown)
		}
	}
}

func TestRoutesOfTheHostNeverReachTheHandler(t *testing.T) {
	h := start(t, app{functions: map[string]string{
		"all": catchAll, "bad": functionJSON("administer", "anonymous", ""), "worse": functionJSON("runtime/x", "anonymous", ""),
	}}, Options{})
	if refused := count(h, FunctionRefused); refused != 2 {
		t.Errorf("%d functions refused, want 2: %v", refused, h.Events())
	}
	for path, want := range map[string]bool{
		"/admin": false, "/ADMIN/host/status": false, "/admin/functions/all": false, "/runtime/webhooks": false,
		"/Runtime/Webhooks/x": false, "/runtime/other": true, "/administer": true, "/": true,
	} {
		if got := reaches(t, h, http.MethodGet, path); got != want {
			t.Errorf("%s reaches the handler: %v, want %v", path, got, want)
		}
	}
	if response, _ := get(t, h.URL+"/admin/host/ping"); response.StatusCode != http.StatusOK {
		t.Errorf("ping of the host is %d", response.StatusCode)
	}
}

func TestKeysOpenFunctionsByLevel(t *testing.T) {
	h := start(t, app{functions: map[string]string{
		"open": functionJSON("open", "anonymous", ""), "keyed": functionJSON("keyed", "", ""), "ruled": functionJSON("ruled", "admin", ""),
	}}, Options{Auth: true, FunctionKeys: []string{"k1", "k2"}, MasterKey: "m"})
	for _, test := range []struct {
		path, header, code string
		status             int
	}{
		{"/open", "", "", 299},
		{"/open", "wrong", "", 299},
		{"/keyed", "", "", 401},
		{"/keyed", "wrong", "", 401},
		{"/keyed", "k1", "", 299},
		{"/keyed", "", "k2", 299},
		{"/keyed", "wrong", "k2", 401}, // the header comes first
		{"/keyed", "m", "", 299},
		{"/ruled", "k1", "", 401},
		{"/ruled", "m", "", 299},
	} {
		request := newRequest(t, http.MethodGet, h.URL+test.path+"?script=status:299&code="+test.code, nil)
		if test.header != "" {
			request.Header.Set("X-Functions-Key", test.header)
		}
		response, body := do(t, request)
		if response.StatusCode != test.status || body != "" {
			t.Errorf("%s header %q code %q: %d %q, want %d", test.path, test.header, test.code, response.StatusCode, body, test.status)
		}
	}
	_, body := get(t, h.URL+"/open?script=echo")
	if seen := echoed(t, body); seen.Hits != 7 {
		t.Errorf("the handler was called %d times, want 7: a call with 401 must not reach it", seen.Hits)
	}
}

func TestEveryFunctionIsOpenWithAuthOff(t *testing.T) {
	h := start(t, app{functions: map[string]string{"ruled": functionJSON("ruled", "admin", "")}}, Options{})
	if !reaches(t, h, http.MethodGet, "/ruled") {
		t.Error("want it open, as under func start")
	}
}

func TestEnvelopeFunctionIsRefused(t *testing.T) {
	in := `{"type":"httpTrigger","direction":"in","name":"req"}`
	out := `{"type":"http","direction":"out","name":"res"}`
	for name, bindings := range map[string]string{
		"no out binding":    in,
		"a third binding":   in + "," + out + `,{"type":"queue","direction":"out","name":"q"}`,
		"a timer":           `{"type":"timerTrigger","direction":"in","name":"t"},` + out,
		"two in":            in + "," + in,
		"out of other type": in + `,{"type":"queue","direction":"out","name":"q"}`,
	} {
		t.Run(name, func(t *testing.T) {
			root := stage(t, app{bare: true, functions: map[string]string{"f": `{"bindings":[` + bindings + `]}`}})
			_, err := Open(Options{Root: root})
			if err == nil || !strings.Contains(err.Error(), `function "f"`) || !strings.Contains(err.Error(), "envelope") {
				t.Errorf("error %v, want one that names the function and the envelope", err)
			}
		})
	}
}

func TestSecondFunctionOfOneRouteIsRefused(t *testing.T) {
	h := start(t, app{functions: map[string]string{
		"a": functionJSON("same", "anonymous", "get"), "b": functionJSON("SAME", "anonymous", "get post"), "c": functionJSON("same", "anonymous", "post"),
	}}, Options{})
	if refused := count(h, FunctionRefused); refused != 1 {
		t.Errorf("%d functions refused, want only b: %v", refused, h.Events())
	}
}

func TestPathIsDecodedAndEncodedAgain(t *testing.T) {
	for raw, want := range map[string]string{
		"/":                        "/",
		"/a/b/":                    "/a/b/",
		"/a//b":                    "/a//b",
		"/openai/deployments/x":    "/openai/deployments/x",
		"/%7Euser":                 "/~user",
		"/a%20b":                   "/a%20b",
		"/a%2Fb":                   "/a%252Fb",
		"/a%2fb%2f%2F":             "/a%252fb%252f%252F",
		"/a%252Fb":                 "/a%252Fb",
		"/%41%62":                  "/Ab",
		"/a/./b/../c":              "/a/c",
		"/a/%2e%2e/b":              "/b",
		"/../..":                   "/",
		"/a/b/..":                  "/a/",
		"/a/.":                     "/a/",
		"/a/.b":                    "/a/.b",
		"/%E4%BD%A0%E5%A5%BD":      "/%E4%BD%A0%E5%A5%BD",
		"/你":                       "/%E4%BD%A0",
		"/%FF%41":                  "/%25FFA",
		"/%":                       "/%25",
		"/%zz":                     "/%25zz",
		"/!$&'()*+,;=:@":           "/!$&'()*+,;=:@",
		"/\"<>[\\]^`{|}":           "/%22%3C%3E%5B%5C%5D%5E%60%7B%7C%7D",
		"/%3F%23":                  "/%3F%23",
		"/gpt-4o%3Aft/x%2Cy":       "/gpt-4o:ft/x,y",
		"/%e4%bd%a0%2F%e4%bd%a0/x": "/%E4%BD%A0%252F%E4%BD%A0/x",
	} {
		decoded, err := decodePath(raw)
		if got := encodePath(decoded); got != want || err != nil {
			t.Errorf("%s arrives as %s (%v), want %s", raw, got, err, want)
		}
	}
	if _, err := decodePath("/a%00b"); !errors.Is(err, errNullInPath) {
		t.Errorf("a null character: %v, want %v", err, errNullInPath)
	}
}

func TestTargetIsCutAtTheFirstQuestionMark(t *testing.T) {
	for target, want := range map[string][2]string{
		"/a?b=c?d":             {"/a", "?b=c?d"},
		"/a?":                  {"/a", "?"},
		"/a":                   {"/a", ""},
		"http://h:1/a?b=http:": {"/a", "?b=http:"},
		"/a?u=http://x/y":      {"/a", "?u=http://x/y"},
	} {
		path, query := splitTarget(target)
		if path != want[0] || query != want[1] {
			t.Errorf("%s is cut into %q and %q, want %q", target, path, query, want)
		}
	}
}

// The path is a fixed point: a second host changes only the percent signs, which
// each host escapes again.
func FuzzPathThroughTheHost(f *testing.F) {
	for _, seed := range []string{"/", "/a%2Fb", "/%E4%BD", "/..%2f", "/%00", "//.", "/a/.."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		decoded, err := decodePath("/" + raw)
		if err != nil {
			return
		}
		encoded := encodePath(decoded)
		for i := range len(encoded) {
			if c := encoded[i]; c <= ' ' || c >= 0x7f || c == '?' || c == '#' {
				t.Fatalf("%q arrives as %q: byte %q cannot stand in a request line", raw, encoded, c)
			}
		}
		if again, err := decodePath(encoded); err != nil || encodePath(again) != encoded && again == decoded {
			t.Fatalf("%q: %q is decoded as %q (%v)", raw, encoded, again, err)
		}
	})
}
