package bicep

import "strings"

var escapes = map[byte]string{'\\': "\\", '\'': "'", 'n': "\n", 'r': "\r", 't': "\t", '$': "$"}

// quoted reads 'text ${expression}' or ”'text”'.
func (l *lexer) quoted() error {
	start := l.line
	if strings.HasPrefix(l.src[l.at:], "'''") {
		return l.multiLine(start)
	}
	l.at++
	var parts []any
	var b strings.Builder
	for {
		if l.at >= len(l.src) || l.src[l.at] == '\n' {
			return l.fail("string is not closed")
		}
		switch c := l.src[l.at]; {
		case c == '\'':
			l.at++
			l.out = append(l.out, token{kind: text, parts: append(parts, b.String()), line: start})
			return nil
		case c == '\\':
			if err := l.escape(&b); err != nil {
				return err
			}
		case strings.HasPrefix(l.src[l.at:], "${"):
			inner, rest, err := lex(l.file, l.src[l.at+2:], l.line)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(rest, "}") {
				return l.fail("${ is not closed")
			}
			parts = append(parts, b.String(), inner)
			b.Reset()
			l.at = len(l.src) - len(rest) + 1
		default:
			b.WriteByte(c)
			l.at++
		}
	}
}

func (l *lexer) multiLine(start int) error {
	body, rest, found := strings.Cut(l.src[l.at+3:], "'''")
	if !found {
		return l.fail("''' is not closed")
	}
	l.line += strings.Count(body, "\n")
	l.at = len(l.src) - len(rest)
	l.out = append(l.out, token{kind: text, parts: []any{strings.TrimPrefix(body, "\n")}, line: start})
	return nil
}

func (l *lexer) escape(b *strings.Builder) error {
	if l.at+1 >= len(l.src) {
		return l.fail("string is not closed")
	}
	s, ok := escapes[l.src[l.at+1]]
	if !ok {
		return l.fail("unknown escape \\%c", l.src[l.at+1])
	}
	b.WriteString(s)
	l.at += 2
	return nil
}
