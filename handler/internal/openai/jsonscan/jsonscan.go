// Package jsonscan reads JSON text in place, forward only: it copies nothing,
// keeps nothing and never recurses, so its time is linear and its memory does
// not depend on the text.
//
// It is as strict as RFC 8259 and RFC 3629 together: no control characters or
// unpaired surrogates in strings, no invalid UTF-8 anywhere, no numbers but
// JSON's. Every JSON decoder reads what it accepts in the same way.
//
// It knows no names: its callers choose the members that matter.
package jsonscan

// Reason is why reading stopped. The zero Reason, OK, is that it did not.
type Reason uint8

// The reasons.
const (
	OK Reason = iota
	Truncated
	MissingValue
	MissingKey
	MissingColon
	MissingComma
	TrailingComma
	BadLiteral
	BadNumber
	BadEscape
	LoneSurrogate
	ControlCharacter
	BadUTF8
	TooDeep
	TooManyMatches
	Repeated // a member that is watched occurs twice in one object
	Misspelt // a member is not spelt as the service spells it
	NotText  // a member that names something is an object
)

// String is the reason as a clause, for the offset where reading stopped.
func (r Reason) String() string {
	switch r {
	case OK:
		return "no fault"
	case Truncated:
		return "the text ends too early"
	case MissingValue:
		return "a value is missing"
	case MissingKey:
		return "a member's name in double quotes is missing"
	case MissingColon:
		return "a colon is missing after a member's name"
	case MissingComma:
		return "a comma or a closing bracket is missing"
	case TrailingComma:
		return "a comma is followed by a closing bracket"
	case BadLiteral:
		return "a literal is not true, false or null"
	case BadNumber:
		return "a number is not valid JSON"
	case BadEscape:
		return "a backslash does not begin an escape"
	case LoneSurrogate:
		return "half of a surrogate pair is missing"
	case ControlCharacter:
		return "a string holds an unescaped control character"
	case BadUTF8:
		return "the bytes are not UTF-8"
	case TooDeep:
		return "brackets are nested deeper than 10,000"
	case TooManyMatches:
		return "too many members are of a kind that is looked for"
	case Repeated:
		return "a member is given more than once in one object"
	case Misspelt:
		return "a member is not spelt as the service spells it"
	case NotText:
		return "a member that names something must be a string or a list of strings"
	}
	return "unknown"
}

// SkipSpace is the offset of the first byte of b, from i on, that is not white
// space, or len(b).
func SkipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
