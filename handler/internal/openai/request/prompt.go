package request

import "spillway/handler/internal/openai/jsonscan"

// readPrompt passes a member that holds (part of) the readPrompt and weighs it.
func (s *parser) readPrompt(m member) {
	from := s.Offset
	s.discount = 0
	if m == input && s.Data[from] == '[' {
		s.readItems()
	} else {
		s.skipMeasured()
	}
	s.parsed.PromptBytes += int64(s.Offset - from - s.discount)
	if m != tools && s.parsed.PromptSpan == (Span{}) {
		s.parsed.PromptSpan = Span{from, s.Offset}
	}
}

// readItems passes the input of the Responses API item by item, and notes those
// that only the resource which made them can read
// (facts/azure-openai.md §1.2).
func (s *parser) readItems() {
	list := valueReader{Iterator: jsonscan.Iterate(s.Data, s.Offset)}
	for list.Next() {
		if s.Data[list.Offset] != '{' {
			list.skipMeasured()
			continue
		}
		one := item{valueReader: valueReader{Iterator: jsonscan.Iterate(s.Data, list.Offset)}}
		one.readMembers()
		list.skipInner(&one.valueReader)
		if !s.parsed.ResourceBound && one.resourceBound() {
			s.parsed.ResourceBound, s.parsed.ResourceBoundID = true, one.id()
		}
	}
	s.skipInner(&list)
}

// item is one item of the input under way.
type item struct {
	valueReader
	spans [nestedMembers]Span // the strings met, with their quotes
}

// readMembers goes over the item's members.
func (it *item) readMembers() {
	for it.Next() {
		p := nestedNamed(it.Key)
		if p == otherNested {
			it.skipMeasured()
			continue
		}
		at, ok := it.readSpan()
		if ok && it.Data[at.From] == '"' {
			it.spans[p] = at
		}
	}
}

// id is the item's id, "" when it has none worth remembering.
func (it *item) id() string {
	id := it.text(ownID)
	if len(id) > maxStringLength {
		return ""
	}
	return jsonscan.Unquote(id)
}

// resourceBound reports whether only the item's maker can read it.
func (it *item) resourceBound() bool {
	return it.text(encryptedContent) != nil || it.isReference()
}

// isReference reports whether the item stands for one that a resource has kept. The
// type of a reference may be left out; a message's may be too, but not its role.
func (it *item) isReference() bool {
	if it.text(ownID) == nil {
		return false
	}
	kind := it.text(itemType)
	if kind == nil {
		return it.text(itemRole) == nil
	}
	return jsonscan.EqualUnquoted(kind, "item_reference") || jsonscan.EqualUnquoted(kind, "reasoning")
}

// text is what a member holds between its quotes, nil when it is absent, empty
// or not a string.
func (it *item) text(p nestedMember) []byte {
	at := it.spans[p]
	if at.To-at.From <= 2 {
		return nil
	}
	return it.Data[at.From+1 : at.To-1]
}
