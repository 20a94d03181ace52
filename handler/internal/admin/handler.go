package admin

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mountPath is the prefix of all paths, in any case. A router may or may not
// strip it.
const mountPath = "/ops"

// idHeader identifies each response in the audit log.
const idHeader = "X-Request-Id"

// ServeHTTP serves everything below /ops. The key is checked before the path is
// looked up, so that no spelling of a path avoids it.
func (o *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setSecurityHeaders(w.Header())
	if o.cfg.NewID != nil {
		w.Header().Set(idHeader, o.cfg.NewID())
	}
	if !o.access.enabled(r) {
		writeError(w, http.StatusNotFound, "not_found", "There is no such path.")
		return
	}
	path := r.URL.Path
	if n := len(mountPath); len(path) >= n && strings.EqualFold(path[:n], mountPath) {
		path = path[n:]
	}
	found, ok := o.routes[path]
	pattern := mountPath + path
	if !ok {
		found, ok = o.actionRoute(path)
		pattern = found.pattern
	}
	served := &statusWriter{ResponseWriter: w}
	if found.public {
		o.serveRoute(served, r, &found, ok, nil)
		return
	}
	began := o.cfg.Now()
	who, refused := o.access.authorize(r, began)
	if refused != nil {
		writeRefusal(served, refused)
	} else {
		o.serveRoute(served, r, &found, ok, &who)
	}
	if o.cfg.Access != nil {
		o.cfg.Access(&Access{
			At: began, Method: r.Method, Path: pattern, Status: served.status, Who: who.name, Object: who.identity, Key: who.key, From: who.address,
			Request: w.Header().Get(idHeader), Took: o.cfg.Now().Sub(began),
		})
	}
}

// Access is a request below /ops. It holds no secret.
type Access struct {
	At      time.Time
	Method  string
	Path    string // the pattern of the route: a path may hold anything that was typed; "" = there is none
	Status  int
	Who     string
	Object  string // the object id of the token; "" = by key
	Key     string // first digits of the hash of the key; "" = by token, or refused
	From    string // the address of the operator
	Request string
	Took    time.Duration
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (o *Handler) serveRoute(w http.ResponseWriter, r *http.Request, found *route, ok bool, who *operator) {
	switch {
	case !ok:
		writeError(w, http.StatusNotFound, "not_found", "There is no such path. See GET /ops/ for the status page and GET /ops/api/status for its data.")
	case !methodAllowed(found.method, r.Method):
		w.Header().Set("Allow", found.method)
		writeError(w, http.StatusMethodNotAllowed, "method_not_allowed", "Use "+found.method+" for this path.")
	case found.act != nil:
		found.act(w, r, who)
	default:
		found.serve(w, r)
	}
}

func methodAllowed(want, got string) bool {
	return got == want || want == http.MethodGet && got == http.MethodHead
}

// actionRoute is the route of an action. The name of a backend may contain a
// slash: "backend/model".
func (o *Handler) actionRoute(path string) (route, bool) {
	rest, ok := strings.CutPrefix(path, "/api/backends/")
	at := strings.LastIndexByte(rest, '/')
	if !ok || at < 1 || !slices.Contains(verbs, rest[at+1:]) {
		return route{}, false
	}
	return route{method: http.MethodPost, pattern: mountPath + "/api/backends/{backend}/" + rest[at+1:], act: func(w http.ResponseWriter, r *http.Request, who *operator) {
		o.serveAction(w, r, who, rest[at+1:], rest[:at])
	}}, true
}

// setSecurityHeaders forbids everything that the page does not need. Scripts
// cannot write markup: names of backends, consumers and models are only ever text.
func setSecurityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src "+styleHash+"; img-src 'self'; connect-src 'self'; "+
		"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

func writeRefusal(w http.ResponseWriter, why *refusal) {
	if why.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="spillway operators"`)
	}
	if why.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((why.retryAfter+time.Second-1)/time.Second)))
	}
	writeError(w, why.status, why.code, why.message)
}

// writeError responds with an error in OpenAI's shape.
func writeError(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"error": errorBody(status, code, message)})
}

func errorBody(status int, code, message string) map[string]any {
	kind := "invalid_request_error"
	if status >= http.StatusInternalServerError {
		kind = "server_error"
	}
	return map[string]any{"message": message, "type": kind, "param": nil, "code": code}
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic("admin: encode response: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
