package classify

import (
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/sse"
	"spillway/handler/internal/openai/usage"
)

// messageParts is the parts of a message of Anthropic's Messages API, or of the
// data of one event of its streams. Offsets are 0 when a part is absent or null.
type messageParts struct {
	text       []byte
	kind       []byte // type
	id         []byte
	stop       []byte // stop_reason
	messageAt  int    // of message_start
	deltaAt    int
	blockAt    int // content_block
	usageAt    int
	errorAt    int
	hasContent bool // a list of content blocks
}

// parseMessage reads the object that begins at b[i]. It returns false when that is
// none, or not JSON.
func parseMessage(b []byte, i int) (p messageParts, ok bool) {
	p.text = b
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		p.readMember(&it)
	}
	return p, it.Reason == jsonscan.OK
}

func (p *messageParts) readMember(it *jsonscan.Iterator) {
	if it.Data[it.Offset] == 'n' {
		return
	}
	switch string(it.Key) {
	case "type":
		p.kind = stringValue(it)
	case "id":
		p.id = stringValue(it)
	case "stop_reason":
		p.stop = stringValue(it)
	case "message":
		p.messageAt = it.Offset
	case "delta":
		p.deltaAt = it.Offset
	case "content_block":
		p.blockAt = it.Offset
	case "usage":
		p.usageAt = it.Offset
	case "content":
		p.hasContent = it.Data[it.Offset] == '['
	case "error":
		if isPresent(it.Data, it.Offset) {
			p.errorAt = it.Offset
		}
	}
}

// updateMessage adds what the parts of a message hold. The usage of an event is
// that of the message so far.
func (info *ResponseInfo) updateMessage(p *messageParts) {
	if len(p.stop) > 0 {
		info.FinishReason = intern(p.stop)
	}
	if info.ID == "" && len(p.id) > 0 {
		info.ID = truncated(p.id)
	}
	if p.usageAt == 0 {
		return
	}
	end, _ := jsonscan.SkipValue(p.text, p.usageAt)
	object := p.text[p.usageAt:end]
	if t, ok := usage.MergeMessages(info.Usage, object); ok {
		info.Usage, info.HasUsage, info.usageText = t, true, info.TextBytes
	}
	it := jsonscan.Iterate(object, 0)
	for it.Next() {
		if string(it.Key) == "service_tier" {
			info.ServiceTier = intern(stringValue(&it))
		}
	}
}

// Message is [Body] for an answer of Anthropic's Messages API, which has a list of
// content blocks.
func Message(body []byte, header map[string][]string, now time.Time, policy Policy) (ResponseInfo, health.Outcome) {
	var info ResponseInfo
	o := health.Outcome{Signals: Signals(header)}
	at := jsonscan.SkipSpace(body, 0)
	fault := bodyFault(body, at)
	if fault == "" && body[at] != '{' {
		fault = "no answer"
	}
	if fault != "" {
		o.Class, o.Reason = health.Failed, fault
		return info, o
	}
	p, _ := parseMessage(body, at)
	info.updateMessage(&p)
	switch {
	case p.errorAt > 0:
		failure := parseErrorAt(body, p.errorAt)
		_, hint := waitFromHeaders(header, now)
		o = classifier{policy: &policy, header: header, now: now}.inBandError(&failure, "in-body", hint)
	case !p.hasContent:
		o.Class, o.Reason = health.Failed, "no answer"
	}
	return info, o
}

// readMessagesEvent reads an event of Anthropic's Messages API. Only blocks of
// content and their deltas carry a part of the answer.
func (s *Stream) readMessagesEvent(e sse.Event, now time.Time) EventResult {
	p, ok := parseMessage(e.Data, jsonscan.SkipSpace(e.Data, 0))
	name := string(e.Name)
	if name == "" {
		name = string(p.kind)
	}
	switch {
	case name == "error", p.errorAt > 0:
		failure := parseErrorBody(e.Data)
		return s.errorResult(&failure, now)
	case !ok:
		return EventResult{}
	}
	switch name {
	case "message_start":
		s.readMessageStart(&p)
	case "content_block_start":
		if hasBlockContent(p.text, p.blockAt) {
			return EventResult{Kind: Content}
		}
	case "content_block_delta":
		return s.readBlockDelta(&p)
	case "message_delta":
		return s.readMessageDelta(&p)
	case "message_stop":
		s.ended = true
		return EventResult{Kind: Done}
	}
	return EventResult{}
}

func (s *Stream) readMessageStart(p *messageParts) {
	s.started.add(0)
	if p.messageAt > 0 {
		inside, _ := parseMessage(p.text, p.messageAt)
		s.Info.updateMessage(&inside)
	}
}

// hasBlockContent reports whether a block that begins carries anything: a text or
// a thought begins empty, and a call of a tool with its name.
func hasBlockContent(b []byte, i int) bool {
	if i == 0 {
		return false
	}
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		switch string(it.Key) {
		case "type", "citations":
			continue
		}
		if value := rawValue(&it); len(value) > 0 && string(value) != `""` && value[0] != 'n' {
			return true
		}
	}
	return false
}

// readBlockDelta reads a part of a block. One that adds an empty text adds nothing.
func (s *Stream) readBlockDelta(p *messageParts) EventResult {
	if p.deltaAt == 0 {
		return EventResult{}
	}
	size := textBytes(p.text, p.deltaAt, 0)
	s.Info.TextBytes += size
	inside, _ := parseMessage(p.text, p.deltaAt)
	switch string(inside.kind) {
	case "text_delta", "thinking_delta", "input_json_delta":
		if size == 0 {
			return EventResult{}
		}
	}
	return EventResult{Kind: Content}
}

// readMessageDelta reads the event with the reason why a message ends and with its
// usage.
func (s *Stream) readMessageDelta(p *messageParts) EventResult {
	s.Info.updateMessage(p)
	if p.deltaAt == 0 {
		return EventResult{}
	}
	inside, _ := parseMessage(p.text, p.deltaAt)
	s.Info.updateMessage(&inside)
	if len(inside.stop) == 0 || s.finished != (choiceSet{}) {
		return EventResult{}
	}
	s.finished.add(0)
	return EventResult{FinishedChoices: 1}
}
