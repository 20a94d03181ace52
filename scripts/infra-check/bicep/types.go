package bicep

// TypeExpr is the type of a parameter, output or member.
type TypeExpr interface{ typeExpr() }

// The forms of a type. Ref is string, int, bool, object, array, any or a declared name.
type (
	TypeRef struct {
		Pos  Pos
		Name string
	}
	TypeLiteral  struct{ Value any }
	TypeUnion    struct{ Members []TypeExpr }
	TypeArray    struct{ Item TypeExpr }
	TypeNullable struct{ Base TypeExpr }
	TypeObject   struct {
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
