package bicep

import "strconv"

func (p *parser) typeExpr() TypeExpr {
	mark := p.at
	p.skipNewlines()
	if !p.accept("|") {
		p.at = mark
	}
	members := []TypeExpr{p.typePostfix()}
	for {
		mark = p.at
		p.skipNewlines()
		if !p.accept("|") {
			p.at = mark
			break
		}
		members = append(members, p.typePostfix())
	}
	if len(members) == 1 {
		return members[0]
	}
	return TypeUnion{Members: members}
}

func (p *parser) typePostfix() TypeExpr {
	t := p.typePrimary()
	for {
		switch {
		case p.accept("["):
			p.op("]")
			t = TypeArray{Item: t}
		case p.accept("?"):
			t = TypeNullable{Base: t}
		default:
			return t
		}
	}
}

func (p *parser) typePrimary() TypeExpr {
	t := p.next()
	switch {
	case t.kind == identifier && (t.text == "true" || t.text == "false"):
		return TypeLiteral{Value: t.text == "true"}
	case t.kind == identifier:
		return TypeRef{Pos: p.posOf(t), Name: t.text}
	case t.kind == text && len(t.parts) == 1:
		return TypeLiteral{Value: t.parts[0]}
	case t.kind == number:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			p.fail(t, "%s is not an integer", t.text)
		}
		return TypeLiteral{Value: n}
	case t.kind == operator && t.text == "(":
		inner := p.typeExpr()
		p.op(")")
		return inner
	case t.kind == operator && t.text == "{":
		return p.typeObject()
	}
	p.fail(t, "a type expected, found %q", t.text)
	return nil
}

func (p *parser) typeObject() TypeExpr {
	out := TypeObject{}
	for p.skipNewlines(); !p.accept("}"); p.skipNewlines() {
		decorators := p.decorators()
		t := p.next()
		name := t.text
		if t.kind == text && len(t.parts) == 1 {
			name, _ = t.parts[0].(string)
		}
		p.op(":")
		member := p.typeExpr()
		p.separator("}")
		if t.kind == operator && t.text == "*" {
			out.Rest = member
			continue
		}
		out.Members = append(out.Members, TypeMember{Name: name, Type: member, Decorators: decorators})
	}
	return out
}
