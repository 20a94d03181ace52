package bicep

// TypeExpr is the type of a parameter, output or member.
type TypeExpr interface{ typeExpr() }

// The forms of a type.
type (
	// TypeRef is string, int, bool, object, array, any or a declared name.
	TypeRef struct {
		Pos  Pos
		Name string
	}
	// TypeLiteral allows one value.
	TypeLiteral struct{ Value any }
	// TypeUnion allows what any of its members allows.
	TypeUnion struct{ Members []TypeExpr }
	// TypeArray is Item[].
	TypeArray struct{ Item TypeExpr }
	// TypeNullable is Base?.
	TypeNullable struct{ Base TypeExpr }
	// TypeObject is { a: T }.
	TypeObject struct {
		Members []TypeMember
		Rest    TypeExpr // of { *: T }, or nil
	}
)

// TypeMember is one member of an object type.
type TypeMember struct {
	Name       string
	Type       TypeExpr
	Decorators []Decorator
}

func (TypeRef) typeExpr()      {}
func (TypeLiteral) typeExpr()  {}
func (TypeUnion) typeExpr()    {}
func (TypeArray) typeExpr()    {}
func (TypeNullable) typeExpr() {}
func (TypeObject) typeExpr()   {}
