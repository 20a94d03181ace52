package request

import "spillway/handler/internal/openai/request/walk"

// prompt passes a member that holds (part of) the prompt and weighs it.
func (s *scanner) prompt(m member) {
	from := s.At
	s.light = 0
	if m == input && s.Text[from] == '[' {
		s.items()
	} else {
		s.pass()
	}
	s.facts.PromptChars += int64(s.At - from - s.light)
	if m != tools && s.facts.PromptAt == (Span{}) {
		s.facts.PromptAt = Span{from, s.At}
	}
}

// items passes the input of the Responses API item by item, and notes those
// that only the resource which made them can read
// (facts/azure-openai.md §1.2).
func (s *scanner) items() {
	list := reader{Walk: walk.Into(s.Text, s.At)}
	for list.Next() {
		if s.Text[list.At] != '{' {
			list.pass()
			continue
		}
		one := item{reader: reader{Walk: walk.Into(s.Text, list.At)}}
		one.read()
		list.pastInner(&one.reader)
		if !s.facts.Bound && one.bound() {
			s.facts.Bound, s.facts.BoundID = true, one.id()
		}
	}
	s.pastInner(&list)
}

// item is one item of the input under way.
type item struct {
	reader
	at [parts]Span // the strings met, with their quotes
}

// read goes over the item's members.
func (it *item) read() {
	for it.Next() {
		p := nested(it.Key)
		if p == otherPart {
			it.pass()
			continue
		}
		at, ok := it.span()
		if ok && it.Text[at.From] == '"' {
			it.at[p] = at
		}
	}
}

// id is the item's id, "" when it has none worth remembering.
func (it *item) id() string {
	id := it.text(ownID)
	if len(id) > longestString {
		return ""
	}
	return walk.Unquote(id)
}

// bound reports whether only the item's maker can read it.
func (it *item) bound() bool {
	return it.text(encryptedContent) != nil || it.refers()
}

// refers reports whether the item stands for one that a resource has kept. The
// type of a reference may be left out; a message's may be too, but not its role.
func (it *item) refers() bool {
	if it.text(ownID) == nil {
		return false
	}
	kind := it.text(itemType)
	if kind == nil {
		return it.text(itemRole) == nil
	}
	return walk.Is(kind, "item_reference") || walk.Is(kind, "reasoning")
}

// text is what a member holds between its quotes, nil when it is absent, empty
// or not a string.
func (it *item) text(p part) []byte {
	at := it.at[p]
	if at.To-at.From <= 2 {
		return nil
	}
	return it.Text[at.From+1 : at.To-1]
}
