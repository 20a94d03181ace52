package bicep

// textExpr turns the parts of a string into expressions.
func (p *parser) textExpr(t token) *Text {
	out := &Text{at: at{p.posOf(t)}}
	for _, part := range t.parts {
		tokens, isExpr := part.([]token)
		if !isExpr {
			out.Parts = append(out.Parts, part)
			continue
		}
		inner := &parser{file: p.file, tokens: tokens}
		x := inner.expression()
		if rest := inner.peek(); rest.kind != endOfFile {
			p.fail(rest, "unexpected %q in ${}", rest.text)
		}
		out.Parts = append(out.Parts, x)
	}
	return out
}

// arguments reads up to the closing parenthesis.
func (p *parser) arguments() []Expr {
	var out []Expr
	for p.skipNewlines(); !p.accept(")"); p.skipNewlines() {
		if len(out) > 0 {
			p.op(",")
			p.skipNewlines()
		}
		out = append(out, p.expression())
	}
	return out
}

func (p *parser) arrayOrLoop(pos at) Expr {
	p.skipNewlines()
	if t := p.peek(); t.kind == identifier && t.text == "for" {
		p.next()
		return p.loop(pos)
	}
	out := &Array{at: pos}
	for p.skipNewlines(); !p.accept("]"); p.skipNewlines() {
		out.Items = append(out.Items, p.expression())
		p.separator("]")
	}
	return out
}

func (p *parser) loop(pos at) Expr {
	f := &For{at: pos}
	if p.accept("(") {
		f.Item = p.expect(identifier, "").text
		p.op(",")
		f.Index = p.expect(identifier, "").text
		p.op(")")
	} else {
		f.Item = p.expect(identifier, "").text
	}
	p.expect(identifier, "in")
	f.Source = p.expression()
	p.op(":")
	p.skipNewlines()
	if t := p.peek(); t.kind == identifier && t.text == "if" {
		p.next()
		p.op("(")
		f.Cond = p.expression()
		p.op(")")
	}
	f.Body = p.expression()
	p.skipNewlines()
	p.op("]")
	return f
}

func (p *parser) object(pos at) Expr {
	out := &ObjectExpr{at: pos}
	for p.skipNewlines(); !p.accept("}"); p.skipNewlines() {
		p.member(out)
		p.separator("}")
	}
	return out
}

func (p *parser) member(o *ObjectExpr) {
	t := p.peek()
	pos := p.posOf(t)
	if p.accept("...") {
		o.Members = append(o.Members, MemberExpr{Pos: pos, Value: p.expression(), Spread: true})
		return
	}
	decorators := p.decorators()
	t = p.next()
	var key Expr
	switch {
	case t.kind == identifier && t.text == "resource" && p.peek().kind == identifier:
		o.Nested = append(o.Nested, p.resource(p.posOf(t), decorators, nil))
		return
	case t.kind == identifier:
		key = &Name{at: at{pos}, Name: t.text}
	case t.kind == text:
		key = p.textExpr(t)
	default:
		p.fail(t, "a property name expected, found %q", t.text)
	}
	p.op(":")
	p.skipNewlines()
	o.Members = append(o.Members, MemberExpr{Pos: pos, Key: key, Value: p.value()})
}

// separator: members and items stand on lines of their own or have commas between them.
func (p *parser) separator(closing string) {
	if p.accept(",") {
		return
	}
	if t := p.peek(); t.kind != newline && (t.kind != operator || t.text != closing) {
		p.fail(t, "a comma, a new line or %q expected, found %q", closing, t.text)
	}
}
