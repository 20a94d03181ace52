package bicep

import "fmt"

func (p *parser) peek() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	line := 1
	if len(p.tokens) > 0 {
		line = p.tokens[len(p.tokens)-1].line
	}
	return token{kind: endOfFile, text: "end of file", line: line}
}

func (p *parser) next() token {
	t := p.peek()
	p.at++
	return t
}

func (p *parser) skipNewlines() {
	for p.peek().kind == newline {
		p.at++
	}
}

// accept takes the operator when it is next.
func (p *parser) accept(op string) bool {
	if t := p.peek(); t.kind == operator && t.text == op {
		p.at++
		return true
	}
	return false
}

func (p *parser) op(op string) {
	if !p.accept(op) {
		p.fail(p.peek(), "%q expected, found %q", op, p.peek().text)
	}
}

func (p *parser) expect(k kind, word string) token {
	t := p.next()
	if t.kind != k || word != "" && t.text != word {
		p.fail(t, "unexpected %q", t.text)
	}
	return t
}

func (p *parser) endOfStatement() {
	if t := p.peek(); t.kind != newline && t.kind != endOfFile {
		p.fail(t, "unexpected %q after the statement", t.text)
	}
}

// plainText is a string without ${}.
func (p *parser) plainText() string {
	t := p.expect(text, "")
	if len(t.parts) != 1 {
		p.fail(t, "a plain string is needed here")
	}
	s, _ := t.parts[0].(string)
	return s
}

func (p *parser) posOf(t token) Pos { return Pos{File: p.file, Line: t.line} }

func (p *parser) fail(t token, format string, args ...any) {
	panic(&SyntaxError{Pos: p.posOf(t), Message: fmt.Sprintf(format, args...)})
}
