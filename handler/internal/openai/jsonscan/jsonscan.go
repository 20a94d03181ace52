// Package jsonscan goes over JSON text in place, forward only: it copies nothing,
// keeps nothing and never recurses, so its time is linear and its memory does
// not depend on the text.
//
// It is as strict as RFC 8259 and RFC 3629 together: no control characters or
// unpaired surrogates in strings, no invalid UTF-8 anywhere, no numbers but
// JSON's. What it lets pass, every JSON decoder reads the same way.
//
// It knows no names: which members matter is for its callers to say.
package jsonscan

// Reason is why a walk stopped. The zero Reason is that it did not.
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
)

// String says what is wrong at the place where the walk stopped, as a clause.
func (r Reason) String() string {
	switch r {
	case OK:
		return "nothing is wrong"
	case Truncated:
		return "the text ends too early"
	case MissingValue:
		return "a value is missing"
	case MissingKey:
		return "a member's name in double quotes is missing"
	case MissingColon:
		return "a colon is missing behind a member's name"
	case MissingComma:
		return "a comma or a closing bracket is missing"
	case TrailingComma:
		return "a comma stands before a closing bracket"
	case BadLiteral:
		return "a word that is not true, false or null"
	case BadNumber:
		return "a number is not written as JSON writes numbers"
	case BadEscape:
		return "a backslash begins no escape of JSON"
	case LoneSurrogate:
		return "half of a surrogate pair stands alone"
	case ControlCharacter:
		return "a control character stands unescaped in a string"
	case BadUTF8:
		return "the bytes are not UTF-8"
	case TooDeep:
		return "brackets are nested deeper than 10,000"
	}
	return "unknown"
}

// SkipSpace is the place of the first byte of b at or behind i that is not white
// space, or len(b).
func SkipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }
