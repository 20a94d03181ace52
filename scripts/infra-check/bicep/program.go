package bicep

import (
	"path"
	"path/filepath"

	"spillway/scripts/infra-check/arm"
	"spillway/scripts/infra-check/finding"
)

// Program is a folder of templates, the types they are checked against, and what has been found.
type Program struct {
	Dir      string // on disk
	Types    *arm.Snapshot
	Findings *finding.List

	files map[string]*File
	seen  map[Expr]int // ternaries and conditions: bit 1 taken, bit 2 not taken

	functions map[string]function
}

// NewProgram is for the templates below dir.
func NewProgram(dir string, types *arm.Snapshot, findings *finding.List) *Program {
	return &Program{Dir: dir, Types: types, Findings: findings, files: map[string]*File{}, seen: map[Expr]int{}, functions: functionTable()}
}

// file parses a file once; nil when it cannot be read, with a finding.
func (p *Program) file(name string) *File {
	if f, ok := p.files[name]; ok {
		return f
	}
	f, err := Load(filepath.Join(p.Dir, filepath.FromSlash(name)), name)
	if err != nil {
		p.Findings.Add("bicep-syntax", name, "%v", err)
	}
	p.files[name] = f
	if f != nil {
		p.lint(f)
	}
	return f
}

func (p *Program) say(check string, pos Pos, format string, args ...any) {
	p.Findings.Add(check, pos.String(), format, args...)
}

// beside is the name of a file that another one refers to.
func beside(file, reference string) string { return path.Join(path.Dir(file), reference) }

// Unvisited tells which branches no example has taken: what was never worked out was never checked.
func (p *Program) Unvisited() {
	for e, seen := range p.seen {
		if seen&1 == 0 {
			p.say("bicep-coverage", e.Position(), "no example takes this condition when it holds")
		}
		if seen&2 == 0 {
			p.say("bicep-coverage", e.Position(), "no example takes this condition when it does not hold")
		}
	}
}

func (p *Program) visit(e Expr, taken bool) {
	if t, ok := e.(*Ternary); ok && refuses(t.Else) {
		return // a refusal is no branch that an example could take
	}
	if taken {
		p.seen[e] |= 1
	} else {
		p.seen[e] |= 2
	}
}

// refuses tells whether an expression is a call of fail().
func refuses(e Expr) bool {
	c, ok := e.(*Call)
	return ok && c.Base == nil && c.Name == "fail"
}
