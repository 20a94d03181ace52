package request

import (
	"bytes"
	"math"

	"spillway/handler/internal/openai/jsonscan"
)

// Parse reads a JSON body in one forward pass. It copies only the short strings
// of ParsedRequest, never recurses, and takes time linear in the body. The error
// is a *ParseError; the ParsedRequest is then zero.
func Parse(body []byte) (ParsedRequest, error) { return new(Parser).Parse(body) }

// Parse is [Parse] in the memory of p.
func (p *Parser) Parse(body []byte) (ParsedRequest, error) {
	at := jsonscan.SkipSpace(body, 0)
	if at == len(body) {
		return ParsedRequest{}, malformed(at, "it is empty")
	}
	if body[at] != '{' {
		return ParsedRequest{}, malformed(at, notAnObject(body[at:]))
	}
	s := parser{valueReader: valueReader{Iterator: jsonscan.Iterate(body, at), watch: p.reset()}, owner: p}
	err := s.readMembers()
	if err == nil {
		err = s.readMatches()
	}
	if err != nil {
		return ParsedRequest{}, err
	}
	end := jsonscan.SkipSpace(body, s.Offset)
	if end != len(body) {
		return ParsedRequest{}, malformed(end, "something follows its closing brace")
	}
	s.parsed.InsertAt = at + 1
	s.parsed.AsksForText = s.seen&textRequests != 0
	s.multiplyChoices()
	s.addAttachments()
	return s.parsed, nil
}

// addAttachments counts the pictures that the body names as those that it holds, and
// notes whether it holds files.
func (s *parser) addAttachments() {
	s.parsed.PromptBytes += int64(s.watch.Fetched) * jsonscan.AttachmentSize
	s.parsed.File = s.watch.Met.Meets(namesOfFiles)
}

var namesOfFiles = namesOf(fileMembers...)

func notAnObject(b []byte) string {
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return "it begins with a byte order mark; send UTF-8 without one"
	}
	return "it must begin with an opening brace"
}

// parser is the state of one Parse.
type parser struct {
	valueReader
	owner   *Parser
	parsed  ParsedRequest
	seen    uint32   // one bit for each member that occurred
	inLine  []string // the members of a line that occurred
	prompts int64    // how many there are; 0 = there is no member of that name
}

// readMembers reads the top-level members.
func (s *parser) readMembers() error {
	s.parsed.Empty = true
	for s.Next() {
		s.parsed.Empty = false
		m := memberNamed(s.Key)
		switch reason := s.watch.Member(s.Key); {
		case reason == jsonscan.Misspelt, m == other && !s.owner.atTop(s.Key):
			return s.misspelt(s.Offset, s.Key)
		case reason != jsonscan.OK, s.seen&(1<<m) != 0, m == other && s.repeatedInLine(s.Key):
			return duplicate(s.Offset, s.name())
		}
		if m != other {
			s.seen |= 1 << m
		}
		if m != other && countedNames.Has(s.watch.Pending()) {
			s.watch.Root(0) // it is read as the service's own
		}
		err := s.readMember(m)
		if err != nil {
			return err
		}
	}
	return s.fault()
}

// fault is why the iteration ended early. The name of a member that is repeated or
// misspelt begins where it ended.
func (s *parser) fault() error {
	switch reason := s.Reason; {
	case reason == jsonscan.OK:
		return nil
	case reason == jsonscan.Repeated, reason == jsonscan.Misspelt:
		end, _ := jsonscan.SkipValue(s.Data, s.Offset)
		key := s.Data[s.Offset+1 : end-1]
		if reason == jsonscan.Misspelt {
			return s.misspelt(s.Offset, key)
		}
		return duplicate(s.Offset, jsonscan.Unquote(key))
	case reason == jsonscan.NotText && s.watch.Pending() != anyModel:
		return wrongType(s.Offset, vocabulary.Text(s.watch.Pending()), "a string, or a list of strings")
	}
	return malformedAt(s.Offset, s.Reason)
}

// readMember reads the value of one member. A fault of the text inside the value
// ends the iteration and is reported by readMembers.
func (s *parser) readMember(m member) error {
	from := s.Offset
	if m == other {
		s.readOther()
		return nil
	}
	if m >= messages {
		s.readPrompt(m)
		if m == tools {
			s.parsed.Tools = Span{from, s.Offset}
		}
		return nil
	}
	err := s.readTyped(m)
	if err == nil && s.Reason == jsonscan.OK && m != model && s.watch.Pending() != 0 {
		end, _, reason := jsonscan.MeasureWatched(s.Data, from, s.watch)
		if reason != jsonscan.OK {
			s.Fail(end, reason)
		}
	}
	return err
}

// readOther passes a member that Spillway does not act on.
func (s *parser) readOther() {
	from, name, key := s.Offset, s.watch.Pending(), s.Key
	s.discount = 0
	s.skipMeasured()
	if name != metadataName {
		s.parsed.OtherBytes += int64(s.Offset - from - s.discount)
	}
	switch string(key) {
	case "reasoning_effort", "reasoning", "output_config":
		s.parsed.ReasoningSpan = Span{from, s.Offset}
	case "thread":
		s.parsed.Thread, s.parsed.KeepsMessage = true, true
	case "diagnostics":
		s.parsed.KeepsMessage = true
	case "web_search_options":
		s.parsed.SearchesWeb = s.Data[from] != 'n'
	}
	switch name {
	case metadataName:
		s.readMetadataUser(from)
	case dataSources:
		s.parsed.DataSources = Span{from, s.Offset}
	case audioName:
		s.parsed.Audio = true
	}
}

// readMetadataUser reads the end user from the metadata that begin at i. What is no
// text is not refused here: in other dialects the name is the caller's own.
func (s *parser) readMetadataUser(i int) {
	if s.Reason != jsonscan.OK || s.Data[i] != '{' {
		return
	}
	in := valueReader{Iterator: jsonscan.Iterate(s.Data, i)}
	for in.Next() {
		if string(in.Key) == "user_id" && in.readString(&s.parsed.MetadataUser) != nil {
			return
		}
	}
}

// readTyped reads the value of a member that has a type.
func (s *parser) readTyped(m member) error {
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
		return s.readOutputBound(&f.OutputBounds[m-maxTokens])
	case choices:
		err := s.readMaxInt(&f.Returned)
		f.Choices = max(f.Choices, f.Returned)
		return err
	case bestOf:
		return s.readMaxInt(&f.Choices)
	case promptCacheKey:
		return s.readCacheKey()
	case previousResponseID:
		return s.readString(&f.PreviousResponseID)
	case serviceTier:
		return s.readString(&f.ServiceTier)
	case user:
		return s.readString(&f.User)
	case safetyIdentifier:
		return s.readString(&f.SafetyIdentifier)
	case conversation:
		return s.readConversation()
	case streamOptions:
		return s.readStreamOptions()
	case other, messages, input, prompt, instructions, system, tools, functions, responseFormat, textFormat, prediction, suffix, documents, query:
	}
	return nil
}

// readOutputBound reads a bound of the answer, of which the largest counts.
func (s *parser) readOutputBound(bound *OutputBound) error {
	from := s.Offset
	err := s.readMaxInt(&bound.Tokens)
	bound.Span = Span{from, s.Offset}
	bound.Open = err == nil && bound.Tokens == 0 && s.Data[from] != 'n'
	s.parsed.MaxOutputTokens = max(s.parsed.MaxOutputTokens, bound.Tokens)
	return err
}

// readModel reads the model. Null is none, and is replaced like a name: the path may
// name the model.
func (s *parser) readModel() error {
	from := s.Offset
	err := s.readString(&s.parsed.Model)
	s.parsed.ModelSpan = Span{from, s.Offset}
	return err
}

// readCacheKey reads the key of the prompt cache, and where it is.
func (s *parser) readCacheKey() error {
	from := s.Offset
	err := s.readString(&s.parsed.PromptCacheKey)
	if err == nil && s.parsed.PromptCacheKey != "" {
		s.parsed.PromptCacheKeySpan = Span{from, s.Offset}
	}
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

// readPrompt passes a member that the model reads, and measures it.
func (s *parser) readPrompt(m member) {
	from := s.Offset
	s.discount = 0
	s.skipMeasured()
	s.parsed.PromptBytes += int64(s.Offset - from - s.discount)
	if m <= system && s.parsed.PromptSpan == (Span{}) {
		s.parsed.PromptSpan = Span{from, s.Offset}
	}
	if m == prompt && s.Reason == jsonscan.OK {
		s.prompts = promptsIn(s.Data[:s.Offset], from)
		s.readPromptName(from)
	}
}

// readPromptName notes that the prompt at i is an object with a name, which is one of a
// project's.
func (s *parser) readPromptName(i int) {
	if s.Data[i] != '{' {
		return
	}
	for in := jsonscan.Iterate(s.Data, i); in.Next(); {
		if foldsTo([]byte(jsonscan.Unquote(in.Key)), "name") {
			s.parsed.Reaches = "prompt.name"
		}
	}
}

// promptsIn is how many prompts the value of prompt has: a list of texts, or of
// lists of tokens, is answered one by one.
func promptsIn(data []byte, at int) int64 {
	n := int64(0)
	if data[at] == '[' {
		for list := jsonscan.Iterate(data, at); list.Next(); {
			if c := data[list.Offset]; c == '"' || c == '[' {
				n++
			}
		}
	}
	return max(n, 1)
}

// multiplyChoices counts the answers to each of several prompts. It saturates.
func (s *parser) multiplyChoices() {
	if s.prompts > 1 {
		for _, choices := range []*int64{&s.parsed.Choices, &s.parsed.Returned} {
			*choices = min(max(*choices, 1), math.MaxInt64/s.prompts) * s.prompts
		}
	}
}
