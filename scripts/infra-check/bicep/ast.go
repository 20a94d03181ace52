// Package bicep reads the part of Bicep that this project writes: it parses a file, checks names, wiring and what has to
// be known at the start of a deployment, and works a template out for given parameters, down to the resource bodies.
// It is not the Bicep compiler; infra/README.md says what is left to that.
package bicep

import "fmt"

// Pos is a place in a file; the first line is 1.
type Pos struct {
	File string
	Line int
}

// String is what a finding's Where holds.
func (p Pos) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Expr is any expression.
type Expr interface{ Position() Pos }

type at struct{ Pos Pos }

// Position is where the expression begins.
func (a at) Position() Pos { return a.Pos }

// The expressions.
type (
	// Text is a string; Parts are its literal parts (string) and the expressions between them.
	Text struct {
		at
		Parts []any
	}
	// Literal is null, a boolean or an integer.
	Literal struct {
		at
		Value any // nil, bool, int64
	}
	// Name is an identifier.
	Name struct {
		at
		Name string
	}
	// Call is a function call.
	Call struct {
		at
		Base Expr // nil for a plain function
		Name string
		Args []Expr
	}
	// Member is base.name, Safe base.?name.
	Member struct {
		at
		Base Expr
		Name string
		Safe bool
	}
	// Index is base[i], Safe base[?i].
	Index struct {
		at
		Base, Index Expr
		Safe        bool
	}
	// Nested is storage::blob.
	Nested struct {
		at
		Base Expr
		Name string
	}
	// NonNull is base!.
	NonNull struct {
		at
		Base Expr
	}
	// Unary is an operator before a value.
	Unary struct {
		at
		Op string
		X  Expr
	}
	// Binary is an operator between values.
	Binary struct {
		at
		Op   string
		X, Y Expr
	}
	// Ternary is cond ? then : else.
	Ternary struct {
		at
		Cond, Then, Else Expr
	}
	// Array is [a, b].
	Array struct {
		at
		Items []Expr
	}
	// ObjectExpr is { a: b }, with the resources declared inside.
	ObjectExpr struct {
		at
		Members []MemberExpr
		Nested  []*Resource
	}
	// For is [for item in source: body].
	For struct {
		at
		Item, Index string
		Source      Expr
		Cond        Expr // of "if", or nil
		Body        Expr
	}
	// If is if (cond) body.
	If struct {
		at
		Cond, Body Expr
	}
	// Lambda is x => body.
	Lambda struct {
		at
		Params []string
		Body   Expr
	}
)

// MemberExpr is one member of an object; Spread members have only a Value.
type MemberExpr struct {
	Pos    Pos
	Key    Expr // Name or Text
	Value  Expr
	Spread bool
}

// Decorator is @name(args).
type Decorator struct {
	Pos  Pos
	Name string
	Args []Expr
}

// Param is a declared parameter; Default is nil when it is required.
type Param struct {
	Pos        Pos
	Name       string
	Type       TypeExpr
	Default    Expr
	Decorators []Decorator
}

// Var is a variable.
type Var struct {
	Pos   Pos
	Name  string
	Value Expr
}

// Output is an output.
type Output struct {
	Pos   Pos
	Name  string
	Type  TypeExpr
	Value Expr
}

// Resource is a resource declaration, at the top or inside another.
type Resource struct {
	Pos        Pos
	Name       string
	Type       string // without the parent's part when nested
	Existing   bool
	Value      Expr
	Decorators []Decorator
	Parent     *Resource
	Children   []*Resource
}

// Module is a call of another file.
type Module struct {
	Pos   Pos
	Name  string
	Path  string
	Value Expr
}

// Assignment is "param x = …" in a parameter file.
type Assignment struct {
	Pos   Pos
	Name  string
	Value Expr
}

// File is one parsed file.
type File struct {
	Path        string
	Scope       string
	Using       string
	Params      []*Param
	Vars        []*Var
	Outputs     []*Output
	Resources   []*Resource
	Modules     []*Module
	Types       map[string]TypeExpr
	Imports     []Import
	Assignments []Assignment
}

// Import is import { a, b } from 'file'.
type Import struct {
	Pos   Pos
	Names []string
	Path  string
}
