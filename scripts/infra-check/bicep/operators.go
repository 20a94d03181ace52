package bicep

func (t *Template) unary(e *Unary, x Value) Value {
	switch x := x.(type) {
	case bool:
		if e.Op == "!" {
			return !x
		}
	case int64:
		if e.Op == "-" {
			return -x
		}
	case Ref, broken:
		return x
	}
	t.program.say("bicep-body", e.Pos, "%s cannot be applied to %s", e.Op, describe(x))
	return broken{}
}

func (t *Template) binary(e *Binary, scope env) Value {
	switch e.Op {
	case "&&":
		return t.truth(e.X, scope) && t.truth(e.Y, scope)
	case "||":
		return t.truth(e.X, scope) || t.truth(e.Y, scope)
	case "??":
		if x := t.eval(e.X, scope); x != nil {
			return x
		}
		return t.eval(e.Y, scope)
	}
	x, y := t.eval(e.X, scope), t.eval(e.Y, scope)
	switch {
	case isBroken(x) || isBroken(y):
		return broken{}
	case e.Op == "==":
		return equal(x, y)
	case e.Op == "!=":
		return !equal(x, y)
	}
	a, ok1 := x.(int64)
	b, ok2 := y.(int64)
	if !ok1 || !ok2 {
		t.program.say("bicep-body", e.Pos, "%s cannot be applied to %s and %s", e.Op, describe(x), describe(y))
		return broken{}
	}
	return t.arithmetic(e, a, b)
}

func (t *Template) arithmetic(e *Binary, a, b int64) Value {
	switch e.Op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "<":
		return a < b
	case ">":
		return a > b
	case "<=":
		return a <= b
	case ">=":
		return a >= b
	}
	if b == 0 {
		t.program.say("bicep-body", e.Pos, "division by zero")
		return broken{}
	}
	if e.Op == "/" {
		return a / b
	}
	return a % b
}
