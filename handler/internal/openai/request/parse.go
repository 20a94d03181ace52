package request

import (
	"bytes"

	"spillway/handler/internal/openai/jsonscan"
)

// Parse reads a JSON body in one forward pass. It copies only the few short
// strings of Facts, never recurses, and takes time linear in the body. The
// error is a *Fault; Facts are then zero.
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
		return ParsedRequest{}, malformed(end, "something follows behind its closing brace")
	}
	s.parsed.InsertAt = at + 1
	return s.parsed, nil
}

func notAnObject(b []byte) string {
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return "a byte order mark stands before it; send UTF-8 without one"
	}
	return "it must begin with an opening brace"
}

// parser is one scan under way.
type parser struct {
	valueReader
	parsed ParsedRequest
	seen   uint32 // one bit for each member met
}

// readMembers goes over the top-level readMembers.
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
// ends the walk and is told by members.
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
