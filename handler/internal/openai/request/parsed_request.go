// Package payload reads what Spillway acts on out of a request's JSON body in
// one forward pass, and edits it by splicing: bytes that need no change are
// not changed.
//
// # What is checked
//
// The whole body, as strictly as the strictest backend would: brackets, commas,
// words, numbers, escapes, control characters, UTF-8, nothing behind the
// object. So Spillway and a backend can never read two different requests out
// of the same bytes. What the members that Spillway does not act on hold is
// the backend's to judge.
//
// # Names
//
// Names are matched exactly and after their escapes are undone: "mode\u006c" is
// model, "Model" is not. A member that Spillway acts on may stand there once.
package request

// Span is a half-open range of bytes of the body. The zero Span is absence.
type Span struct{ From, To int }

// ParsedRequest are the top-level members that Spillway acts on. The zero value of
// each is absence, and so is null. Spans are places in the body that was
// scanned; the strings are copies and do not hold it.
type ParsedRequest struct {
	Model              string
	ModelSpan          Span // the string with its quotes
	Stream             bool
	StreamOptionsSpan  Span // the value of stream_options
	IncludeUsage       bool
	IncludeUsageSpan   Span // the value of stream_options.include_usage
	MaxOutputTokens    int64
	Choices            int64 // n, or best_of when larger; 0 = 1
	PromptBytes        int64 // bytes of the members that hold the prompt and the tools; pictures and sound count 4 KiB each
	PromptSpan         Span  // the first of them: messages, input, prompt or instructions
	PromptCacheKey     string
	PreviousResponseID string
	Conversation       string
	Store              *bool
	Background         bool
	ResourceBound      bool   // the input holds item references, reasoning items or encrypted content
	ResourceBoundID    string // the id of the first such item; "" when it has none
	ServiceTier        string
	InsertAt           int  // just behind the opening brace: where a member may be inserted
	Empty              bool // the object has no members
}
