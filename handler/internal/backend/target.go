// Package upstream speaks to the backends: it builds the request from
// configuration, puts our own credential on it, sends it over connections that
// are kept warm, and says what the answer, or the lack of one, tells about the
// backend. It knows nothing of callers' connections, of other backends or of
// shared state.
package backend

import (
	"net/http"
	"net/url"

	"spillway/handler/internal/backend/http1"
)

// Target is one resource: where it is, how we prove who we are, and the
// connections to it. It is immutable once in use.
type Target struct {
	Name       string
	Endpoint   *url.URL // scheme, host and base path; nothing else of it is used
	OpenAI     bool     // an OpenAI-compatible base URL: {base}/{path}, model in the body
	Credential Credential
	Transport  *http.Transport // of [NewTransport]
	Direct     *http1.Origin   // of [NewOrigin]: serves instead of Transport; nil = Transport does

	// Deployments maps a model to this resource's deployment of it, for the
	// header that names a second deployment. Nil passes names on.
	Deployments map[string]string

	// CallerHeader tells the resource who calls; "" does not. It is canonical.
	CallerHeader string
}
