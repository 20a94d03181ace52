package bicep

import (
	"fmt"
	"strings"
)

type kind int

const (
	endOfFile kind = iota
	newline
	identifier
	number
	text
	operator
)

// token is one word of a file. Parts is set for text only.
type token struct {
	kind  kind
	text  string
	parts []any // string or []token, in turn
	line  int
}

// SyntaxError is what Parse returns for a file that cannot be read.
type SyntaxError struct {
	Pos     Pos
	Message string
}

// Error makes it an error.
func (e *SyntaxError) Error() string { return e.Pos.String() + ": " + e.Message }

type lexer struct {
	file string
	src  string
	at   int
	line int
	out  []token
}

// Longer operators come first: the first that fits is taken.
var operators = []string{
	"...", "=>", "==", "!=", "=~", "!~", "<=", ">=", "&&", "||", "??", "::", ".?", "[?",
	"{", "}", "[", "]", "(", ")", ":", ",", ".", "=", "<", ">", "+", "-", "*", "/", "%", "!", "?", "@", "|",
}

// lex cuts src into tokens. It stops at an unmatched "}" when nested, which is the end of ${…}.
func lex(file, src string, line int) (_ []token, rest string, err error) {
	l := &lexer{file: file, src: src, line: line}
	depth := 0
	for l.at < len(l.src) {
		if l.blank() {
			continue
		}
		c := l.src[l.at]
		switch {
		case c == '\n':
			l.emit(newline, "\n")
			l.line++
		case c == '\'':
			if err := l.quoted(); err != nil {
				return nil, "", err
			}
		case isLetter(c):
			l.emit(identifier, l.while(func(b byte) bool { return isLetter(b) || isDigit(b) }))
		case isDigit(c):
			l.emit(number, l.while(isDigit))
		default:
			op := l.operator()
			if op == "" {
				return nil, "", l.fail("unexpected character %q", c)
			}
			depth += brace(op)
			if depth < 0 {
				return l.out, l.src[l.at:], nil
			}
			l.emit(operator, op)
		}
	}
	return l.out, "", nil
}

func brace(op string) int {
	switch op {
	case "{":
		return 1
	case "}":
		return -1
	}
	return 0
}

// blank steps over spaces and comments.
func (l *lexer) blank() bool {
	rest := l.src[l.at:]
	switch {
	case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r':
		l.at++
	case strings.HasPrefix(rest, "//"):
		l.at += lengthUntil(rest, "\n")
	case strings.HasPrefix(rest, "#disable"):
		l.at += lengthUntil(rest, "\n")
	case strings.HasPrefix(rest, "/*"):
		n := lengthUntil(rest, "*/")
		l.line += strings.Count(rest[:n], "\n")
		l.at += min(n+2, len(rest))
	default:
		return false
	}
	return true
}

func lengthUntil(s, end string) int {
	if i := strings.Index(s, end); i >= 0 {
		return i
	}
	return len(s)
}

func (l *lexer) emit(k kind, s string) {
	l.out = append(l.out, token{kind: k, text: s, line: l.line})
	l.at += len(s)
}

func (l *lexer) while(ok func(byte) bool) string {
	end := l.at
	for end < len(l.src) && ok(l.src[end]) {
		end++
	}
	return l.src[l.at:end]
}

func (l *lexer) operator() string {
	for _, op := range operators {
		if strings.HasPrefix(l.src[l.at:], op) {
			return op
		}
	}
	return ""
}

func (l *lexer) fail(format string, args ...any) error {
	return &SyntaxError{Pos: Pos{File: l.file, Line: l.line}, Message: fmt.Sprintf(format, args...)}
}

func isLetter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
