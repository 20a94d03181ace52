package funchost

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
)

// ServeHTTP takes one request from the network: the host's own paths, the
// routes in order, the key, the call.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect { // D 32
		h.internalError(w, r, "Request", "unsupported request method CONNECT")
		return
	}
	raw, query := splitTarget(r.RequestURI)
	path, err := decodePath(raw)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if reserved(path) {
		admin(w, path)
		return
	}
	one := match(h.functions, r.Method, path)
	switch {
	case one == nil && path == "/":
		h.homepage(w)
	case one == nil:
		w.WriteHeader(http.StatusNotFound)
	case !h.authorized(one.level, r):
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.invoke(w, r, encodePath(path), query)
	}
}

// reserved tells whether a path is the host's own: such never reach the
// handler, whatever the routes say (D 12).
func reserved(path string) bool {
	lower := strings.ToLower(path) + "/"
	return strings.HasPrefix(lower, "/admin/") || strings.HasPrefix(lower, "/runtime/webhooks/")
}

// admin answers the host's own paths as far as a probe needs them.
func admin(w http.ResponseWriter, path string) {
	if strings.EqualFold(path, "/admin/host/ping") {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// homepage is what the host shows at / when no function takes it.
func (h *Host) homepage(w http.ResponseWriter) {
	if strings.EqualFold(h.options.setting("AzureWebJobsDisableHomepage"), "true") {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!DOCTYPE html><title>Your Azure Function App is up and running.</title>\n"))
}

// authorized checks the key of a request against a function's level: the header
// x-functions-key when there is one, else the query's code (D 13).
func (h *Host) authorized(level string, r *http.Request) bool {
	if !h.options.Auth || level == "anonymous" {
		return true
	}
	key := r.URL.Query().Get("code")
	if sent := r.Header.Values("x-functions-key"); len(sent) > 0 {
		key = sent[0]
	}
	known := []string{h.options.MasterKey}
	if level == "function" {
		known = append(known, h.options.FunctionKeys...)
	}
	return slices.ContainsFunc(known, func(good string) bool {
		return good != "" && subtle.ConstantTimeCompare([]byte(good), []byte(key)) == 1
	})
}

// internalError answers a call that went wrong before anything was sent: 500, no body,
// whatever the reason (D 28, D 29).
func (h *Host) internalError(w http.ResponseWriter, r *http.Request, what, why string) {
	h.emit(Event{Kind: CallFailed, Detail: r.Method + " " + r.URL.Path + ": " + what + ": " + why})
	w.WriteHeader(http.StatusInternalServerError)
}
