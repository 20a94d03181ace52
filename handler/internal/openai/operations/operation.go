// Package operation is what callers may ask for: the name of each operation,
// its place in the URL families, and the dialect of its stream.
package operations

// Dialect is the shape of a stream's events and of its errors.
type Dialect uint8

// The dialects (facts/azure-openai.md §5).
const (
	Plain     Dialect = iota // no events: one body
	Chat                     // data-only events, closed by data: [DONE]
	Responses                // named events with a type, no [DONE]
)

// BodyKind is how the request's body is written.
type BodyKind uint8

// The kinds of body.
const (
	JSON BodyKind = iota
	Multipart
	Opaque // passed on unread
)

// State is whether an operation needs the backend that holds something.
type State uint8

// The kinds of state (facts/azure-openai.md §1.2).
const (
	Stateless State = iota // any backend
	Stateful               // may refer to earlier responses, and is remembered itself
	ByID                   // names by its id what one resource holds: responses/{id}
	Pinned                 // lives at the one resource that is marked stateful: files, batches
	Local                  // answered by Spillway itself
)

// Stored reports whether an operation is about what a resource holds already:
// it costs no tokens, and only that resource can serve it.
func (s State) Stored() bool { return s == ByID || s == Pinned }

// Operation is one thing a caller may ask for.
type Operation struct {
	Name           string // as logs and metrics say it: "chat", "embeddings", "responses"
	Path           string // below /openai/v1/ and, in classic URLs, below the deployment
	Dialect        Dialect
	Body           BodyKind
	State          State
	RecordsID      bool // who asks may come back with the id of the answer: where it was made is remembered
	CompatibleOnly bool // not one of Azure's: for OpenAI-compatible backends alone
}

// Family is one of the URL families that callers use and backends offer.
type Family uint8

// The families (facts/azure-openai.md §1.1).
const (
	Deployments Family = iota // /openai/deployments/{deployment}/… with an api-version
	V1                        // /openai/v1/…, model in the body
	Bare                      // /v1/…, as OpenAI itself; sent to Azure as V1
	Unscoped                  // /openai/{responses|…} with an api-version
)

func (f Family) String() string {
	switch f {
	case Deployments:
		return "deployments"
	case V1:
		return "v1"
	case Bare:
		return "bare"
	case Unscoped:
		return "unscoped"
	}
	return "unknown"
}
