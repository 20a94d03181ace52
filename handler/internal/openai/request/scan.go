package request

import (
	"bytes"

	"spillway/handler/internal/openai/request/walk"
)

// Scan reads a JSON body in one forward pass. It copies only the few short
// strings of Facts, never recurses, and takes time linear in the body. The
// error is a *Fault; Facts are then zero.
func Scan(body []byte) (Facts, error) {
	at := walk.Space(body, 0)
	if at == len(body) {
		return Facts{}, malformed(at, "it is empty")
	}
	if body[at] != '{' {
		return Facts{}, malformed(at, notAnObject(body[at:]))
	}
	s := scanner{reader: reader{Walk: walk.Into(body, at)}}
	err := s.members()
	if err != nil {
		return Facts{}, err
	}
	end := walk.Space(body, s.At)
	if end != len(body) {
		return Facts{}, malformed(end, "something follows behind its closing brace")
	}
	s.facts.OpenAt = at + 1
	return s.facts, nil
}

func notAnObject(b []byte) string {
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return "a byte order mark stands before it; send UTF-8 without one"
	}
	return "it must begin with an opening brace"
}

// scanner is one scan under way.
type scanner struct {
	reader
	facts Facts
	seen  uint32 // one bit for each member met
}

// members goes over the top-level members.
func (s *scanner) members() error {
	s.facts.Empty = true
	for s.Next() {
		s.facts.Empty = false
		m := named(s.Key)
		if m == other {
			continue
		}
		if s.seen&(1<<m) != 0 {
			return duplicate(s.At, s.name())
		}
		s.seen |= 1 << m
		err := s.take(m)
		if err != nil {
			return err
		}
	}
	if s.Why != walk.OK {
		return stopped(s.At, s.Why)
	}
	return nil
}

// take reads the value of one member. A fault of the text inside the value
// ends the walk and is told by members.
func (s *scanner) take(m member) error {
	f := &s.facts
	switch m {
	case model:
		return s.model()
	case stream:
		return s.boolean(&f.Stream)
	case background:
		return s.boolean(&f.Background)
	case store:
		return s.store()
	case maxTokens, maxCompletionTokens, maxOutputTokens:
		return s.largest(&f.MaxOutput)
	case choices, bestOf:
		return s.largest(&f.Choices)
	case promptCacheKey:
		return s.short(&f.PromptCacheKey)
	case previousResponseID:
		return s.short(&f.PreviousResponseID)
	case serviceTier:
		return s.short(&f.ServiceTier)
	case conversation:
		return s.conversation()
	case streamOptions:
		return s.streamOptions()
	case messages, prompt, instructions, input, tools:
		s.prompt(m)
	case other:
	}
	return nil
}
