package bicep

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// parser walks the tokens of one file. Its methods panic with *SyntaxError, which Parse turns into an error.
type parser struct {
	file   string
	tokens []token
	at     int
}

// Load reads and parses a file; name is how it is called in findings.
func Load(path, name string) (*File, error) {
	src, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	return Parse(name, string(src))
}

// Parse reads one file: a template or a parameter file.
func Parse(name, src string) (f *File, err error) {
	tokens, rest, err := lex(name, src, 1)
	if err != nil {
		return nil, err
	}
	if rest != "" {
		return nil, &SyntaxError{Pos: Pos{name, 1 + strings.Count(src[:len(src)-len(rest)], "\n")}, Message: "} without {"}
	}
	p := &parser{file: name, tokens: tokens}
	defer func() {
		if r := recover(); r != nil {
			syntax, ok := r.(*SyntaxError)
			if !ok {
				panic(r)
			}
			f, err = nil, syntax
		}
	}()
	f = &File{Path: name, Scope: "resourceGroup", Types: map[string]TypeExpr{}}
	for p.skipNewlines(); p.peek().kind != endOfFile; p.skipNewlines() {
		p.statement(f)
		p.endOfStatement()
	}
	return f, nil
}

func (p *parser) statement(f *File) {
	decorators := p.decorators()
	word := p.expect(identifier, "")
	pos := p.posOf(word)
	switch word.text {
	case "targetScope":
		p.op("=")
		f.Scope = p.plainText()
	case "using":
		f.Using = p.plainText()
	case "import":
		f.Imports = append(f.Imports, p.importNames(pos))
	case "metadata":
		p.expect(identifier, "")
		p.op("=")
		p.expression()
	case "type":
		name := p.expect(identifier, "").text
		p.op("=")
		f.Types[name] = p.typeExpr()
	case "param":
		p.param(f, pos, decorators)
	case "var":
		name := p.expect(identifier, "").text
		p.op("=")
		f.Vars = append(f.Vars, &Var{Pos: pos, Name: name, Value: p.value()})
	case "output":
		o := &Output{Pos: pos, Name: p.expect(identifier, "").text, Type: p.typeExpr()}
		p.op("=")
		o.Value = p.value()
		f.Outputs = append(f.Outputs, o)
	case "resource":
		f.Resources = append(f.Resources, p.resource(pos, decorators, nil))
	case "module":
		m := &Module{Pos: pos, Name: p.expect(identifier, "").text, Path: p.plainText()}
		p.op("=")
		m.Value = p.value()
		f.Modules = append(f.Modules, m)
	default:
		p.fail(word, "unknown statement %q", word.text)
	}
}

// param reads a declaration, or in a parameter file an assignment.
func (p *parser) param(f *File, pos Pos, decorators []Decorator) {
	name := p.expect(identifier, "").text
	if p.accept("=") {
		f.Assignments = append(f.Assignments, Assignment{Pos: pos, Name: name, Value: p.value()})
		return
	}
	d := &Param{Pos: pos, Name: name, Type: p.typeExpr(), Decorators: decorators}
	if p.accept("=") {
		d.Default = p.value()
	}
	f.Params = append(f.Params, d)
}

func (p *parser) resource(pos Pos, decorators []Decorator, parent *Resource) *Resource {
	r := &Resource{Pos: pos, Decorators: decorators, Parent: parent, Name: p.expect(identifier, "").text, Type: p.plainText()}
	if p.peek().kind == identifier && p.peek().text == "existing" {
		p.next()
		r.Existing = true
	}
	p.op("=")
	r.Value = p.value()
	body := bodyOf(r.Value)
	if body == nil {
		p.fail(p.peek(), "resource %s has no body", r.Name)
	}
	r.Children = body.Nested
	for _, c := range r.Children {
		c.Parent = r
	}
	return r
}

func (p *parser) importNames(pos Pos) Import {
	p.op("{")
	imp := Import{Pos: pos}
	for p.skipNewlines(); !p.accept("}"); p.skipNewlines() {
		imp.Names = append(imp.Names, p.expect(identifier, "").text)
		p.accept(",")
	}
	p.expect(identifier, "from")
	imp.Path = p.plainText()
	return imp
}

func (p *parser) decorators() []Decorator {
	var out []Decorator
	for p.accept("@") {
		name := p.expect(identifier, "")
		d := Decorator{Pos: p.posOf(name), Name: name.text}
		p.op("(")
		d.Args = p.arguments()
		out = append(out, d)
		p.skipNewlines()
	}
	return out
}

// bodyOf is the object of a resource or module, inside loops and conditions.
func bodyOf(e Expr) *ObjectExpr {
	switch e := e.(type) {
	case *ObjectExpr:
		return e
	case *For:
		return bodyOf(e.Body)
	case *If:
		return bodyOf(e.Body)
	}
	return nil
}
