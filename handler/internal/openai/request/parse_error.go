package request

import (
	"errors"
	"fmt"

	"spillway/handler/internal/openai/jsonscan"
)

// The ways in which a body is refused. All of them are the caller's to mend.
var (
	ErrMalformed = errors.New("the body is not a valid JSON object")
	ErrDuplicate = errors.New("a member stands in the body twice")
	ErrType      = errors.New("a member has a value of the wrong type")
)

// ParseError says where and why a body was refused. Its text is a sentence for the
// caller, without a full stop.
type ParseError struct {
	Err    error  // ErrMalformed, ErrDuplicate or ErrType
	Member string // the member at fault: "model", "stream_options.include_usage"; "" with ErrMalformed
	Offset int    // bytes from the start of the body
	Reason string
}

// Error names the place and the reason.
func (f *ParseError) Error() string {
	return fmt.Sprintf("%v: %s (at byte %d)", f.Err, f.Reason, f.Offset)
}

// Unwrap is the kind of refusal.
func (f *ParseError) Unwrap() error { return f.Err }

func malformed(at int, reason string) error {
	return &ParseError{Err: ErrMalformed, Offset: at, Reason: reason}
}

func malformedAt(at int, why jsonscan.Reason) error { return malformed(at, why.String()) }

func duplicate(at int, member string) error {
	return &ParseError{Err: ErrDuplicate, Member: member, Offset: at, Reason: fmt.Sprintf("%q is given more than once; send it once", member)}
}

func wrongType(at int, member, must string) error {
	return &ParseError{Err: ErrType, Member: member, Offset: at, Reason: fmt.Sprintf("%q must be %s", member, must)}
}
