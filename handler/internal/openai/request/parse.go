package request

import (
	"bytes"

	"spillway/handler/internal/openai/jsonscan"
)

// Parse reads a JSON body in one forward pass. It copies only the short strings
// of ParsedRequest, never recurses, and takes time linear in the body. The error
// is a *ParseError; the ParsedRequest is then zero.
func Parse(body []byte) (ParsedRequest, error) {
	at := jsonscan.SkipSpace(body, 0)
	if at == len(body) {
		return ParsedRequest{}, malformed(at, "it is empty")
	}
	if body[at] != '{' {
		return ParsedRequest{}, malformed(at, notAnObject(body[at:]))
	}
	s := parser{valueReader: valueReader{Iterator: jsonscan.Iterate(body, at)}}
	err := s.readMembers()
	if err != nil {
		return ParsedRequest{}, err
	}
	end := jsonscan.SkipSpace(body, s.Offset)
	if end != len(body) {
		return ParsedRequest{}, malformed(end, "something follows its closing brace")
	}
	s.parsed.InsertAt = at + 1
	return s.parsed, nil
}

func notAnObject(b []byte) string {
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return "it begins with a byte order mark; send UTF-8 without one"
	}
	return "it must begin with an opening brace"
}

// parser is the state of one Parse.
type parser struct {
	valueReader
	parsed ParsedRequest
	seen   uint32 // one bit for each member that occurred
}

// readMembers reads the top-level members.
func (s *parser) readMembers() error {
	s.parsed.Empty = true
	for s.Next() {
		s.parsed.Empty = false
		m := memberNamed(s.Key)
		if m == other {
			continue
		}
		if s.seen&(1<<m) != 0 {
			return duplicate(s.Offset, s.name())
		}
		s.seen |= 1 << m
		err := s.readMember(m)
		if err != nil {
			return err
		}
	}
	if s.Reason != jsonscan.OK {
		return malformedAt(s.Offset, s.Reason)
	}
	return nil
}

// readMember reads the value of one member. A fault of the text inside the value
// ends the iteration and is reported by readMembers.
func (s *parser) readMember(m member) error {
	f := &s.parsed
	switch m {
	case model:
		return s.readModel()
	case stream:
		return s.readBool(&f.Stream)
	case background:
		return s.readBool(&f.Background)
	case store:
		return s.readStore()
	case maxTokens, maxCompletionTokens, maxOutputTokens:
		return s.readMaxInt(&f.MaxOutputTokens)
	case choices, bestOf:
		return s.readMaxInt(&f.Choices)
	case promptCacheKey:
		return s.readString(&f.PromptCacheKey)
	case previousResponseID:
		return s.readString(&f.PreviousResponseID)
	case serviceTier:
		return s.readString(&f.ServiceTier)
	case conversation:
		return s.readConversation()
	case streamOptions:
		return s.readStreamOptions()
	case messages, prompt, instructions, input, tools:
		s.readPrompt(m)
	case other:
	}
	return nil
}

// readModel reads the model, which may not be null.
func (s *parser) readModel() error {
	if s.Data[s.Offset] == 'n' {
		return wrongType(s.Offset, "model", "a string")
	}
	from := s.Offset
	err := s.readString(&s.parsed.Model)
	s.parsed.ModelSpan = Span{from, s.Offset}
	return err
}

// readStore reads a boolean whose absence does not mean false.
func (s *parser) readStore() error {
	if s.Data[s.Offset] == 'n' {
		return nil
	}
	given := new(bool)
	err := s.readBool(given)
	if err == nil {
		s.parsed.Store = given
	}
	return err
}

// readConversation reads an id, or an object that holds one.
func (s *parser) readConversation() error {
	if s.Data[s.Offset] != '{' {
		return s.readString(&s.parsed.Conversation)
	}
	in := valueReader{Iterator: jsonscan.Iterate(s.Data, s.Offset)}
	for in.Next() {
		if nestedNamed(in.Key) != ownID {
			continue
		}
		err := in.readString(&s.parsed.Conversation)
		if err != nil {
			return wrongType(in.Offset, "conversation.id", "a string of at most 1,024 bytes")
		}
	}
	s.skipInner(&in)
	return nil
}

// readStreamOptions reads include_usage from stream_options, which may be null.
func (s *parser) readStreamOptions() error {
	s.parsed.StreamOptionsSpan.From = s.Offset
	switch s.Data[s.Offset] {
	case 'n':
		s.Skip()
	case '{':
		err := s.readIncludeUsage()
		if err != nil {
			return err
		}
	default:
		return wrongType(s.Offset, "stream_options", "an object")
	}
	s.parsed.StreamOptionsSpan.To = s.Offset
	return nil
}

// readIncludeUsage reads the members of stream_options.
func (s *parser) readIncludeUsage() error {
	const member = "stream_options.include_usage"
	in := valueReader{Iterator: jsonscan.Iterate(s.Data, s.Offset)}
	for in.Next() {
		if nestedNamed(in.Key) != includeUsage {
			continue
		}
		if s.parsed.IncludeUsageSpan != (Span{}) {
			return duplicate(in.Offset, member)
		}
		at := Span{From: in.Offset}
		err := in.readBool(&s.parsed.IncludeUsage)
		if err != nil {
			return wrongType(at.From, member, "true or false")
		}
		at.To = in.Offset
		s.parsed.IncludeUsageSpan = at
	}
	s.skipInner(&in)
	return nil
}

// readPrompt passes a member that holds the prompt, or a part of it, and measures
// it.
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

// readItems passes the input of the Responses API item by item, and records
// whether one can be read only by the resource that made it
// (docs/azure-openai.md#stateful-operations).
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

// item is one item of the input.
type item struct {
	valueReader
	spans [nestedMembers]Span // the strings that occurred, with their quotes
}

// readMembers reads the item's members.
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

// id is the item's id, "" when it has none or one that is too long.
func (it *item) id() string {
	id := it.text(ownID)
	if len(id) > maxStringLength {
		return ""
	}
	return jsonscan.Unquote(id)
}

// resourceBound reports whether only the resource that made the item can read it.
func (it *item) resourceBound() bool {
	return it.text(encryptedContent) != nil || it.isReference()
}

// isReference reports whether the item refers to one that a resource keeps. The
// type of a reference may be left out; that of a message too, but not its role.
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

// text is a member's string between its quotes, nil when it is absent, empty or
// not a string.
func (it *item) text(p nestedMember) []byte {
	at := it.spans[p]
	if at.To-at.From <= 2 {
		return nil
	}
	return it.Data[at.From+1 : at.To-1]
}
