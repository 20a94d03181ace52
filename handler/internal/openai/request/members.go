package request

import "spillway/handler/internal/openai/request/walk"

// model reads the model, which may not be null.
func (s *scanner) model() error {
	if s.Text[s.At] == 'n' {
		return wrongType(s.At, "model", "a string")
	}
	from := s.At
	err := s.short(&s.facts.Model)
	s.facts.ModelAt = Span{from, s.At}
	return err
}

// store reads a boolean whose absence means something else than false.
func (s *scanner) store() error {
	if s.Text[s.At] == 'n' {
		return nil
	}
	given := new(bool)
	err := s.boolean(given)
	if err == nil {
		s.facts.Store = given
	}
	return err
}

// conversation reads an id, or an object that holds one.
func (s *scanner) conversation() error {
	if s.Text[s.At] != '{' {
		return s.short(&s.facts.Conversation)
	}
	in := reader{Walk: walk.Into(s.Text, s.At)}
	for in.Next() {
		if nested(in.Key) != ownID {
			continue
		}
		err := in.short(&s.facts.Conversation)
		if err != nil {
			return wrongType(in.At, "conversation.id", "a string of at most 1,024 bytes")
		}
	}
	s.pastInner(&in)
	return nil
}

// streamOptions reads include_usage out of stream_options, which may be null.
func (s *scanner) streamOptions() error {
	s.facts.StreamOptionsAt.From = s.At
	switch s.Text[s.At] {
	case 'n':
		s.Skip()
	case '{':
		err := s.includeUsage()
		if err != nil {
			return err
		}
	default:
		return wrongType(s.At, "stream_options", "an object")
	}
	s.facts.StreamOptionsAt.To = s.At
	return nil
}

// includeUsage goes over the members of stream_options.
func (s *scanner) includeUsage() error {
	const member = "stream_options.include_usage"
	in := reader{Walk: walk.Into(s.Text, s.At)}
	for in.Next() {
		if nested(in.Key) != includeUsage {
			continue
		}
		if s.facts.IncludeUsageAt != (Span{}) {
			return duplicate(in.At, member)
		}
		at := Span{From: in.At}
		err := in.boolean(&s.facts.IncludeUsage)
		if err != nil {
			return wrongType(at.From, member, "true or false")
		}
		at.To = in.At
		s.facts.IncludeUsageAt = at
	}
	s.pastInner(&in)
	return nil
}
