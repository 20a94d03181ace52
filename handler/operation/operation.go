// Package operation is what callers may ask for: the name of each operation,
// its place in both URL families, and the dialect of its stream.
package operation

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
	None
)

// Operation is one thing a caller may ask for.
type Operation struct {
	Name    string // as logs and metrics say it: "chat", "embeddings", "responses"
	Path    string // below /openai/v1/ and, for classic calls, below the deployment: "chat/completions"
	Dialect Dialect
	Body    BodyKind
	Classic Classic
}

// Classic is where the operation stands in the URLs that carry an api-version.
type Classic uint8

// The classic places (facts/azure-openai.md §1.1).
const (
	InDeployment      Classic = iota // /openai/deployments/{deployment}/{path}
	OutsideDeployment                // /openai/{path}; the body names the model
)

// Family is one of the URL families that callers use and backends offer.
type Family uint8

// The families.
const (
	Deployments Family = iota // /openai/deployments/{deployment}/… with an api-version
	V1                        // /openai/v1/…, model in the body
	Bare                      // /v1/…, as OpenAI itself; sent to Azure as V1
	Unscoped                  // /openai/{responses|…} with an api-version
)

// ChatCompletions is the main job.
var ChatCompletions = Operation{Name: "chat", Path: "chat/completions", Dialect: Chat} //nolint:gochecknoglobals // a constant in all but name
