package admin

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
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
	if !ok {
		found, ok = o.actionRoute(path)
	}
	if !found.public && !o.access.authorized(r) {
		writeUnauthorized(w)
		return
	}
	switch {
	case !ok:
		writeError(w, http.StatusNotFound, "not_found", "There is no such path. See GET /ops/ for the status page and GET /ops/api/status for its data.")
	case !methodAllowed(found.method, r.Method):
		w.Header().Set("Allow", found.method)
		writeError(w, http.StatusMethodNotAllowed, "method_not_allowed", "Use "+found.method+" for this path.")
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
	return route{method: http.MethodPost, serve: func(w http.ResponseWriter, r *http.Request) { o.serveAction(w, r, rest[at+1:], rest[:at]) }}, true
}

// setSecurityHeaders forbids everything that the page does not need. Scripts
// cannot write markup: names of backends, consumers and models are only ever text.
func setSecurityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

func writeUnauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="spillway operators"`)
	writeError(w, http.StatusUnauthorized, "operator_key_required", "Send the operators' key (SPILLWAY_OPERATOR_KEY) as x-spillway-operator-key or as Authorization: Bearer.")
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
