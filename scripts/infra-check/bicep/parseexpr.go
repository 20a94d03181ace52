package bicep

import "strconv"

// value is what may stand to the right of "=": an expression, a loop or a condition.
func (p *parser) value() Expr {
	if t := p.peek(); t.kind == identifier && t.text == "if" {
		p.next()
		return p.condition(t)
	}
	return p.expression()
}

func (p *parser) condition(word token) Expr {
	p.op("(")
	cond := p.expression()
	p.op(")")
	return &If{at: at{p.posOf(word)}, Cond: cond, Body: p.expression()}
}

func (p *parser) expression() Expr {
	if l := p.lambda(); l != nil {
		return l
	}
	cond := p.binary(0)
	mark := p.at
	p.skipNewlines()
	if !p.accept("?") {
		p.at = mark
		return cond
	}
	p.skipNewlines()
	then := p.expression()
	p.skipNewlines()
	p.op(":")
	p.skipNewlines()
	return &Ternary{at: at{cond.Position()}, Cond: cond, Then: then, Else: p.expression()}
}

// lambda reads "x => …" or "(x, i) => …", or nothing.
func (p *parser) lambda() Expr {
	mark := p.at
	start := p.peek()
	var params []string
	switch {
	case start.kind == identifier:
		params = []string{p.next().text}
	case p.accept("("):
		for p.peek().kind == identifier {
			params = append(params, p.next().text)
			p.accept(",")
		}
		if !p.accept(")") {
			p.at = mark
			return nil
		}
	}
	if len(params) == 0 || !p.accept("=>") {
		p.at = mark
		return nil
	}
	p.skipNewlines()
	return &Lambda{at: at{p.posOf(start)}, Params: params, Body: p.expression()}
}

// precedence of the binary operators, loosest first.
var precedence = [][]string{
	{"??"}, {"||"}, {"&&"}, {"==", "!=", "=~", "!~"}, {"<", ">", "<=", ">="}, {"+", "-"}, {"*", "/", "%"},
}

func (p *parser) binary(level int) Expr {
	if level == len(precedence) {
		return p.unary()
	}
	x := p.binary(level + 1)
	for {
		op := ""
		for _, candidate := range precedence[level] {
			if p.accept(candidate) {
				op = candidate
				break
			}
		}
		if op == "" {
			return x
		}
		x = &Binary{at: at{x.Position()}, Op: op, X: x, Y: p.binary(level + 1)}
	}
}

func (p *parser) unary() Expr {
	for _, op := range []string{"!", "-"} {
		if t := p.peek(); p.accept(op) {
			return &Unary{at: at{p.posOf(t)}, Op: op, X: p.unary()}
		}
	}
	return p.postfix(p.primary())
}

func (p *parser) postfix(x Expr) Expr {
	for {
		pos := at{p.posOf(p.peek())}
		switch {
		case p.accept("."), p.accept(".?"):
			safe := p.tokens[p.at-1].text == ".?"
			name := p.expect(identifier, "").text
			if p.accept("(") {
				x = &Call{at: pos, Base: x, Name: name, Args: p.arguments()}
				continue
			}
			x = &Member{at: pos, Base: x, Name: name, Safe: safe}
		case p.accept("["), p.accept("[?"):
			safe := p.tokens[p.at-1].text == "[?"
			i := p.expression()
			p.op("]")
			x = &Index{at: pos, Base: x, Index: i, Safe: safe}
		case p.accept("::"):
			x = &Nested{at: pos, Base: x, Name: p.expect(identifier, "").text}
		case p.accept("!"):
			x = &NonNull{at: pos, Base: x}
		default:
			return x
		}
	}
}

func (p *parser) primary() Expr {
	t := p.peek()
	pos := at{p.posOf(t)}
	switch {
	case t.kind == text:
		p.next()
		return p.textExpr(t)
	case t.kind == number:
		p.next()
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			p.fail(t, "%s is not an integer", t.text)
		}
		return &Literal{at: pos, Value: n}
	case t.kind == identifier:
		p.next()
		return p.word(t)
	case p.accept("("):
		p.skipNewlines()
		x := p.expression()
		p.skipNewlines()
		p.op(")")
		return x
	case p.accept("["):
		return p.arrayOrLoop(pos)
	case p.accept("{"):
		return p.object(pos)
	}
	p.fail(t, "an expression expected, found %q", t.text)
	return nil
}

func (p *parser) word(t token) Expr {
	pos := at{p.posOf(t)}
	switch t.text {
	case "true", "false":
		return &Literal{at: pos, Value: t.text == "true"}
	case "null":
		return &Literal{at: pos}
	}
	if p.accept("(") {
		return &Call{at: pos, Name: t.text, Args: p.arguments()}
	}
	return &Name{at: pos, Name: t.text}
}
