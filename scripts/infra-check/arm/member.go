package arm

import "maps"

// Member returns the type of t.name. ok is false when the type is known and has no such member;
// a nil type with ok true means that nothing is known about it.
func (s *Snapshot) Member(t *Type, name string) (member *Type, ok bool) {
	if t == nil {
		return nil, true
	}
	switch t.Kind {
	case "ObjectType":
		if p, found := t.Properties[name]; found {
			return s.deref(p.Type), true
		}
		if t.AdditionalProperties != nil {
			return s.deref(*t.AdditionalProperties), true
		}
		return nil, false
	case "DiscriminatedObjectType":
		if p, found := t.BaseProperties[name]; found {
			return s.deref(p.Type), true
		}
		for _, v := range s.variants(t) {
			if p, found := v.Properties[name]; found {
				return s.deref(p.Type), true
			}
		}
		return nil, false
	case "AnyType":
		return nil, true
	}
	return nil, false
}

// Item returns the type of an element of an array type, nil when unknown.
func (s *Snapshot) Item(t *Type) *Type {
	if t == nil || t.ItemType == nil {
		return nil
	}
	return s.deref(*t.ItemType)
}

// Names lists the members of an object type.
func (s *Snapshot) Names(t *Type) []string {
	var out []string
	for name := range maps.Keys(t.Properties) {
		out = append(out, name)
	}
	for name := range maps.Keys(t.BaseProperties) {
		out = append(out, name)
	}
	return out
}
