package api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-chi/chi/v5"

	"spillway/handler/internal/openai/operations"
)

// families is a set of the URL families of docs/azure-openai.md#addresses.
type families uint8

const (
	inDeployment families = 1 << iota // /openai/deployments/{deployment}/…, with an api-version
	unscoped                          // /openai/…, with an api-version; the body names the model
	v1                                // /openai/v1/…
	bare                              // /v1/…, as OpenAI's own service
	anthropic                         // /anthropic/v1/…, as Anthropic's own service
	foundry                           // /models/…, of Azure.AI.Inference

	versionless = v1 | bare
	resources   = unscoped | versionless
	everywhere  = inDeployment | resources
)

// route is one row of the table: what the methods of a pattern ask for.
type route struct {
	methods   []string
	pattern   string // below the family's base; "/*" is what lies below a resource
	operation string // by its name in package operations
	in        families
}

var (
	get  = []string{http.MethodGet, http.MethodHead}
	post = []string{http.MethodPost}
	crud = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete}
)

// routes is every path of the inference API. The router prefers a literal
// segment to a wildcard, whatever the order of the rows.
var routes = []route{
	{post, "/chat/completions", "chat", everywhere | foundry},
	{get, "/chat/completions", "stored-chats", versionless},
	{crud, "/chat/completions/*", "stored-chat", versionless},
	{post, "/completions", "completions", everywhere},
	{post, "/embeddings", "embeddings", everywhere | foundry},
	{post, "/images/generations", "images", everywhere},
	{post, "/images/edits", "image-edits", everywhere},
	{post, "/images/variations", "image-variations", everywhere},
	{post, "/audio/speech", "speech", everywhere},
	{post, "/audio/transcriptions", "transcriptions", everywhere},
	{post, "/audio/translations", "translations", everywhere},

	{post, "/responses", "responses", resources},
	{post, "/responses/compact", "compact", resources},
	{post, "/responses/input_tokens", "input-tokens", resources},
	{crud, "/responses/*", "response", resources},
	{post, "/conversations", "conversations", resources},
	{crud, "/conversations/*", "conversation", resources},

	{crud, "/files", "files", resources},
	{crud, "/files/*", "files", resources},
	{crud, "/uploads", "uploads", resources},
	{crud, "/uploads/*", "uploads", resources},
	{crud, "/batches", "batches", everywhere}, // some SDKs name a deployment here
	{crud, "/batches/*", "batches", everywhere},
	{crud, "/vector_stores", "vector-stores", resources},
	{crud, "/vector_stores/*", "vector-stores", resources},
	{crud, "/fine_tuning", "fine-tuning", resources},
	{crud, "/fine_tuning/*", "fine-tuning", resources},
	{crud, "/assistants", "assistants", resources},
	{crud, "/assistants/*", "assistants", resources},
	{crud, "/threads", "threads", resources},
	{crud, "/threads/*", "threads", resources},
	{crud, "/containers", "containers", resources},
	{crud, "/containers/*", "containers", resources},
	{crud, "/videos", "videos", resources},
	{crud, "/videos/*", "videos", resources},
	{crud, "/skills", "skills", resources},
	{crud, "/skills/*", "skills", resources},
	{crud, "/evals", "evals", resources},
	{crud, "/evals/*", "evals", resources},

	{post, "/messages", "messages", anthropic},
	{post, "/messages/count_tokens", "count-tokens", anthropic},

	{get, "/models", "models", resources},
	{get, "/models/*", "models", resources},

	// What Azure lacks, such as rerank, an OpenAI-compatible backend may offer.
	{crud, "/*", "other", versionless},
}

// bases are the families with the paths that they begin with.
var bases = [...]struct {
	in     families
	family operations.Family
	path   string
}{
	{inDeployment, operations.Deployments, deploymentsPath + "{deployment}"},
	{unscoped, operations.Unscoped, unscopedPath},
	{v1, operations.V1, "/openai/v1"},
	{bare, operations.Bare, "/v1"},
	{anthropic, operations.Anthropic, anthropicPath + "/v1"},
	{foundry, operations.Foundry, foundryPath},
}

const (
	deploymentsPath = "/openai/deployments/"
	unscopedPath    = "/openai"
	anthropicPath   = "/anthropic"
	foundryPath     = "/models"
	adminPath       = "/ops"
)

// Handler returns the router of every path. The Functions host asks for GET /
// at any time and waits for the answer, so that path depends on nothing
// (docs/functions-host.md#start-and-readiness).
func (s *Server) Handler() http.Handler { return s.router(s.inference) }

// router routes the inference API to the handlers that serve makes.
func (s *Server) router(serve func(target) http.HandlerFunc) http.Handler {
	r := chi.NewRouter()
	r.Use(s.requestID, cleanPath)
	s.public(r, "/", s.root)
	s.public(r, "/health/live", s.live)
	s.public(r, "/health/ready", s.ready)
	if s.Admin != nil {
		r.Mount(adminPath, s.Admin)
	}
	r.With(s.record, s.authenticate).NotFound(s.notFound)
	allowed := map[string][]string{} // methods by pattern
	for _, row := range routes {
		operation := operations.ByName(row.operation)
		for _, base := range bases {
			if row.in&base.in != 0 {
				pattern := base.path + row.pattern
				known := r.With(routed(pattern), s.record, s.authenticate)
				if allowed[pattern] == nil {
					known.Handle(pattern, s.methodNotAllowed(func() []string { return allowed[pattern] }))
				}
				allowed[pattern] = append(allowed[pattern], row.methods...)
				for _, method := range row.methods {
					known.With(s.limits).Method(method, pattern, serve(target{operation: operation, family: base.family}))
				}
			}
		}
	}
	return r
}

// public adds a path that needs no credential.
func (s *Server) public(r chi.Router, pattern string, h http.HandlerFunc) {
	r.Handle(pattern, s.methodNotAllowed(func() []string { return get }))
	r.Get(pattern, h)
	r.Head(pattern, h)
}

func (s *Server) root(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("spillway\n"))
}

// notFound answers for paths that no route matches.
func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	state := stateOf(r)
	if asksForWebSocket(r) {
		state.fail(w, r, webSocketRefused())
		return
	}
	state.fail(w, r, pathNotFound(r, state.pathErr))
}

// methodNotAllowed answers for the other methods of a path.
func (s *Server) methodNotAllowed(allowed func() []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if asksForWebSocket(r) {
			stateOf(r).fail(w, r, webSocketRefused())
			return
		}
		w.Header().Set("Allow", strings.Join(allowed(), ", "))
		stateOf(r).fail(w, r, methodNotAllowed(r.Method, allowed()))
	}
}

func asksForWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// target is what a request's path names.
type target struct {
	operation  *operations.Operation
	family     operations.Family
	deployment string // the name in the path; "" outside of a deployment
	subpath    string // below the operation's own path: "resp_1/cancel"
}

// named returns the target with the names of this request's path, in the case
// that the caller wrote them in.
func (t target) named(r *http.Request) target {
	path := stateOf(r).path
	if n := len(chi.URLParam(r, "deployment")); n > 0 {
		t.deployment = path[len(deploymentsPath):][:n]
	}
	t.subpath = path[len(path)-len(chi.URLParam(r, "*")):]
	return t
}

// errUnsafePath is a path with a segment that is neither a name nor an id.
var errUnsafePath = errors.New("api: path segment is not acceptable")

// unroutable matches no route: its segment cannot come out of [canonical].
const unroutable = "/%"

// cleanPath has requests routed by their path in lower case and canonical form,
// so that no spelling leads around a route. The Functions host ignores case in
// routes as well (docs/functions-host.md#routes).
func cleanPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state, route := stateOf(r), chi.RouteContext(r.Context())
		escaped := r.URL.EscapedPath()
		if isAdmin(escaped) {
			route.RoutePath = adminPath + escaped[len(adminPath):] // names of backends may hold anything
		} else if state.path, state.pathErr = canonical(escaped); state.pathErr != nil {
			route.RoutePath = unroutable
		} else {
			route.RoutePath = strings.ToLower(state.path)
		}
		if !standardMethods[r.Method] {
			route.RouteMethod = http.MethodTrace // no route has it: a 405, or a 404
		}
		next.ServeHTTP(w, r)
	})
}

// standardMethods are those that the router knows.
var standardMethods = map[string]bool{
	http.MethodConnect: true, http.MethodDelete: true, http.MethodGet: true, http.MethodHead: true, http.MethodOptions: true,
	http.MethodPatch: true, http.MethodPost: true, http.MethodPut: true, http.MethodTrace: true,
}

// canonical decodes each segment of an escaped path once and drops empty ones,
// as a base URL with a slash too many makes them. It fails when a segment is
// not a plain name, so that no path can leave its place.
func canonical(escaped string) (string, error) {
	var path strings.Builder
	path.Grow(len(escaped))
	for segment := range strings.SplitSeq(escaped, "/") {
		if segment == "" {
			continue
		}
		segment, err := url.PathUnescape(segment)
		if err != nil || !operations.IsSafeID(segment) {
			return "", errUnsafePath
		}
		path.WriteByte('/')
		path.WriteString(segment)
	}
	if path.Len() == 0 {
		return "/", nil
	}
	return path.String(), nil
}

func isAdmin(path string) bool { return isBelow(path, adminPath) }

// isBelow reports whether a path is base, or below it, in any case.
func isBelow(path, base string) bool {
	rest := path[min(len(path), len(base)):]
	return len(path) >= len(base) && strings.EqualFold(path[:len(base)], base) && (rest == "" || rest[0] == '/')
}
