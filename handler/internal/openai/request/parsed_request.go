// Package request reads what Spillway acts on from a request's JSON body in one
// forward pass, and changes the body in place: bytes that need no change are
// copied as they are.
//
// # What is checked
//
// The whole body, as strictly as the strictest backend: brackets, commas,
// literals, numbers, escapes, control characters, UTF-8, nothing after the
// object. So Spillway and a backend cannot read two different requests from the
// same bytes. The values of members that Spillway does not act on are the
// backend's to judge.
//
// # Names
//
// Names are compared exactly, after their escapes are undone: "mode\u006c" is
// model, "Model" is not, and a strict parser refuses it. A member that Spillway acts
// on may occur once.
package request

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"spillway/handler/internal/openai/jsonscan"
)

// Span is a half-open range of bytes of the body. The zero Span is absence.
type Span struct{ From, To int }

// ParsedRequest is the top-level members that Spillway acts on. The zero value
// of each is absence, and so is null. Spans are offsets into the body that was
// parsed; the strings are copies.
type ParsedRequest struct {
	Model              string
	ModelSpan          Span // the string with its quotes
	Stream             bool
	StreamOptionsSpan  Span // the value of stream_options
	IncludeUsage       bool
	IncludeUsageSpan   Span // the value of stream_options.include_usage
	MaxOutputTokens    int64
	OutputBounds       [outputMembers]OutputBound // what each member says, by OutputMember
	Choices            int64                      // n, or best_of when larger, for each prompt; 0 = 1
	Returned           int64                      // n for each prompt: the choices that the answer has; 0 = 1
	OtherBound         int64                      // the largest that members of other dialects, or budgets of thinking, allow an answer; 0 = they allow none
	PromptBytes        int64                      // of the members that the model reads; an attachment counts 4 KiB
	OtherBytes         int64                      // of the other ones without a type, but for the metadata
	PromptSpan         Span                       // the first of them: messages, input, prompt, instructions or system
	PromptCacheKey     string
	PromptCacheKeySpan Span // the string with its quotes
	PreviousResponseID string
	Conversation       string
	Store              *bool
	Background         bool
	ResourceBound      bool   // the input holds item references, reasoning items or encrypted content
	ResourceBoundID    string // the id of the first such item; "" when it has none
	ServiceTier        string
	User               string      // the end user, as the caller names it
	SafetyIdentifier   string      // the same, by its newer name
	MetadataUser       string      // user_id of the metadata, which names the end user in Anthropic's API
	References         []Reference // the stored objects that it names, in the order of the body
	Models             []string    // the models and deployments that it names besides Model
	Geographies        []string    // where it asks to be processed
	DataSources        Span        // the value of data_sources
	Tools              Span        // the value of tools
	SearchesWeb        bool        // web_search_options are given
	NestedSources      bool        // data_sources occur below the top level only
	NestedCacheKey     bool        // a prompt_cache_key occurs below the top level, where it is not replaced
	Reaches            string      // a member by which the backend's own identity is used; "" = none
	ReasoningSpan      Span        // the value of reasoning_effort, or of the member that may hold the effort
	Audio              bool        // the answer may have sound
	Thread             bool        // the service keeps the conversation under the id of the answer
	KeepsMessage       bool        // it keeps that, or how the conversation began
	File               bool        // the model reads a file that is encoded in the body
	AsksForText        bool        // it has a member that only requests for text have
	Compared           []Span      // the strings that name a message which it is only compared with
	InsertAt           int         // just behind the opening brace: where a member may be inserted
	Empty              bool        // the object has no members
}

// ForgetCompared has the body, in its own memory, compared with no message.
func (p *ParsedRequest) ForgetCompared(body []byte) {
	for _, at := range p.Compared {
		value, nothing := body[at.From:at.To], "null"
		if len(value) < len(nothing) {
			nothing = `""`
		}
		copy(value, nothing+strings.Repeat(" ", len(value)-len(nothing)))
	}
}

// OutputMember is a member that bounds the tokens of an answer.
type OutputMember uint8

// The members. NoOutputMember is none.
const (
	MaxTokens OutputMember = iota
	MaxCompletionTokens
	MaxOutputTokens
	NoOutputMember

	outputMembers = int(NoOutputMember)
)

func (m OutputMember) String() string {
	return [...]string{"max_tokens", "max_completion_tokens", "max_output_tokens", ""}[m]
}

// OutputBound is what a member allows an answer. Without Tokens it bounds nothing.
type OutputBound struct {
	Tokens int64
	Span   Span // the value; zero = the member is absent
	Open   bool // the member is given, but is no bound: zero, or less
}

// Estimate is the most tokens that a request may cost, as Azure counts when it
// arrives (docs/azure-openai.md#how-limits-count): the prompt's bytes / 4 and
// the largest output of every choice. It saturates and is never negative. A
// request without a bound on its output counts as its prompt alone.
func Estimate(p *ParsedRequest) int64 {
	prompt := p.PromptBytes / 4
	each := max(p.Choices, 1)
	if p.MaxOutputTokens > (math.MaxInt64-prompt)/each {
		return math.MaxInt64
	}
	return prompt + p.MaxOutputTokens*each
}

// Why a body is refused. All of them are the caller's to correct.
var (
	ErrMalformed = errors.New("the body is not a valid JSON object")
	ErrDuplicate = errors.New("a member occurs twice in the body")
	ErrType      = errors.New("a member has a value of the wrong type")
	ErrSpelling  = errors.New("a member is not spelt as the service spells it")
)

// ParseError is where and why a body is refused. Its text is a sentence for the
// caller, without a full stop. errors.Is finds Err.
type ParseError struct {
	Err    error  // ErrMalformed, ErrDuplicate, ErrType, ErrSpelling or ErrForm
	Member string // the member at fault: "model", "stream_options.include_usage"; "" when the body itself is
	Offset int    // bytes from the start of the body
	Reason string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("%v: %s (at byte %d)", e.Err, e.Reason, e.Offset)
}

// Unwrap returns Err.
func (e *ParseError) Unwrap() error { return e.Err }

func malformed(at int, reason string) error {
	return &ParseError{Err: ErrMalformed, Offset: at, Reason: reason}
}

func malformedAt(at int, reason jsonscan.Reason) error { return malformed(at, reason.String()) }

func duplicate(at int, member string) error {
	return &ParseError{Err: ErrDuplicate, Member: member, Offset: at, Reason: fmt.Sprintf("%q is given more than once; send it once", member)}
}

func misspelt(at int, member, must string) error {
	return &ParseError{Err: ErrSpelling, Member: member, Offset: at, Reason: fmt.Sprintf("%q must be written %q", member, must)}
}

func wrongType(at int, member, must string) error {
	return &ParseError{Err: ErrType, Member: member, Offset: at, Reason: fmt.Sprintf("%q must be %s", member, must)}
}
