// Package payload reads what Spillway acts on out of a request's JSON body in
// one forward pass, and edits it by splicing: bytes that need no change are
// not changed.
package payload

// Span is a half-open range of bytes of the body. The zero Span is absence.
type Span struct{ From, To int }

// Facts are the top-level members that Spillway acts on. Names are matched
// exactly; a duplicate of one is an error of the scan. The zero value of each
// is absence.
type Facts struct {
	Model              string
	ModelAt            Span // the string with its quotes
	Stream             bool
	StreamOptionsAt    Span // the value of stream_options
	IncludeUsage       bool
	IncludeUsageAt     Span // the value of stream_options.include_usage
	MaxOutput          int64
	Choices            int64 // n, or best_of when larger; 0 = 1
	PromptChars        int64 // bytes of the members that hold the prompt
	PromptAt           Span  // the first of them: messages, input, prompt or instructions
	PromptCacheKey     string
	PreviousResponseID string
	Conversation       string
	Store              *bool
	Background         bool
	Bound              bool // the input holds item references or encrypted content
	ServiceTier        string
	OpenAt             int  // just behind the opening brace: where a member may be inserted
	Empty              bool // the object has no members
}
