package request

import "spillway/handler/internal/openai/jsonscan"

// readModel reads the readModel, which may not be null.
func (s *parser) readModel() error {
	if s.Data[s.Offset] == 'n' {
		return wrongType(s.Offset, "model", "a string")
	}
	from := s.Offset
	err := s.readString(&s.parsed.Model)
	s.parsed.ModelSpan = Span{from, s.Offset}
	return err
}

// readStore reads a boolean whose absence means something else than false.
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

// readStreamOptions reads include_usage out of stream_options, which may be null.
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

// readIncludeUsage goes over the members of stream_options.
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
