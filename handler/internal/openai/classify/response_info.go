package classify

import (
	"strconv"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/usage"
)

// ResponseInfo is what is worth knowing of one answer. It grows as the events of a
// stream are read; the zero ResponseInfo is nothing known.
type ResponseInfo struct {
	Usage        usage.Tokens
	HasUsage     bool     // the backend said its usage
	FinishReason string   // the last finish reason: "stop", "length", "tool_calls"; of the Responses API "completed", "max_output_tokens", …
	ID           string   // "chatcmpl-…", "resp_…"
	ServiceTier  string   // the service tier that served
	ItemIDs      []string // the ids of a response's output items, of the first 64
}

// responseParts is the parts of one JSON answer, or of the data of one event. Places
// are 0 when a part is absent or null: no part begins an object.
type responseParts struct {
	text             []byte
	eventType        []byte // type, of events that have one
	object           []byte
	id               []byte
	tier             []byte
	status           []byte // of a response of the Responses API
	finish           []byte // the last finish reason
	finished         choiceSet
	started          choiceSet
	hasChoices       bool // there is a list of choices
	hasContent       bool // a choice carries something of an answer
	contentAt        int  // where the last such thing is
	hasPromptFilters bool // annotations of the prompt are there
	errorAt          int
	responseAt       int
	detailsAt        int // incomplete_details
	outputAt         int // of a response
	sequence         int64
	usage            usage.Tokens
	hasUsage         bool
}

// parseParts reads the object that begins at b[i]. It is false when that is none
// or not JSON.
func parseParts(b []byte, i int) (a responseParts, ok bool) {
	a.text = b
	w := jsonscan.Iterate(b, i)
	for w.Next() {
		a.readMember(&w)
	}
	return a, w.Reason == jsonscan.OK
}

// readMember reads one readMember.
func (a *responseParts) readMember(w *jsonscan.Iterator) {
	if w.Data[w.Offset] == 'n' {
		return
	}
	switch string(w.Key) {
	case "id":
		a.id = stringValue(w)
	case "object":
		a.object = stringValue(w)
	case "type":
		a.eventType = stringValue(w)
	case "status":
		a.status = stringValue(w)
	case "service_tier":
		a.tier = stringValue(w)
	case "choices":
		a.readChoices(w)
	case "usage":
		a.usage, a.hasUsage = usage.Parse(rawValue(w))
	case "prompt_filter_results", "prompt_annotations":
		a.hasPromptFilters = true
	case "response":
		a.responseAt = w.Offset
	case "output":
		a.outputAt = w.Offset
	case "incomplete_details":
		a.detailsAt = w.Offset
	case "error":
		if isPresent(w.Data, w.Offset) {
			a.errorAt = w.Offset
		}
	case "sequence_number":
		a.sequence, _ = strconv.ParseInt(string(rawValue(w)), 10, 64)
	}
}

// readChoices reads the list of readChoices.
func (a *responseParts) readChoices(w *jsonscan.Iterator) {
	if w.Data[w.Offset] != '[' {
		return
	}
	a.hasChoices = true
	list := jsonscan.Iterate(w.Data, w.Offset)
	for list.Next() {
		one := jsonscan.Iterate(list.Data, list.Offset)
		a.readChoice(&one)
		skipInner(&list, &one)
	}
	skipInner(w, &list)
}

// readChoice reads one readChoice. One that has neither delta nor text nor message is
// an annotation (facts/azure-openai.md §5.1).
func (a *responseParts) readChoice(w *jsonscan.Iterator) {
	index, finish := 0, []byte(nil)
	for w.Next() {
		if w.Data[w.Offset] == 'n' {
			continue
		}
		switch string(w.Key) {
		case "delta", "text", "message":
			a.hasContent, a.contentAt = true, w.Offset
		case "index":
			index, _ = strconv.Atoi(string(rawValue(w)))
		case "finish_reason":
			finish = stringValue(w)
		}
	}
	a.started.add(index)
	if len(finish) > 0 {
		a.hasContent, a.finish = true, finish
		a.finished.add(index)
	}
}

// usageOnly reports whether a chunk of chat carries nothing but the usage that
// was asked for. Annotations of the prompt make it worth something to callers.
func (a *responseParts) usageOnly() bool {
	return a.hasUsage && a.hasChoices && a.started == (choiceSet{}) && !a.hasPromptFilters && a.errorAt == 0
}

// update adds what the anatomy says of the answer.
func (n *ResponseInfo) update(a *responseParts) {
	if a.hasUsage {
		n.Usage, n.HasUsage = a.usage, true
	}
	if len(a.finish) > 0 {
		n.FinishReason = intern(a.finish)
	}
	if n.ID == "" && len(a.id) > 0 {
		n.ID = truncated(a.id)
	}
	if a.outputAt > 0 {
		n.ItemIDs = itemIDs(a.text, a.outputAt)
	}
	if len(a.tier) > 0 && n.ServiceTier != string(a.tier) {
		n.ServiceTier = intern(a.tier)
	}
}

// maxItems bounds how many items of an answer are told of.
const maxItems = 64

// itemIDs are the ids of the objects in the list at b[i].
func itemIDs(b []byte, i int) []string {
	if b[i] != '[' {
		return nil
	}
	var ids []string
	list := jsonscan.Iterate(b, i)
	for list.Next() && len(ids) < maxItems {
		one := jsonscan.Iterate(list.Data, list.Offset)
		for one.Next() {
			if string(one.Key) != "id" {
				continue
			}
			if id := stringValue(&one); len(id) > 0 {
				ids = append(ids, truncated(id))
			}
		}
		skipInner(&list, &one)
	}
	return ids
}

// stringValue is the present value's text as written, nil when it is no string.
func stringValue(w *jsonscan.Iterator) []byte {
	v := rawValue(w)
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	return v[1 : len(v)-1]
}

// rawValue passes the present rawValue and is its text.
func rawValue(w *jsonscan.Iterator) []byte {
	from := w.Offset
	end := w.Skip()
	if w.Reason != jsonscan.OK {
		return nil
	}
	return w.Data[from:end]
}

// skipInner goes on behind a value that an inner walk went over.
func skipInner(w, in *jsonscan.Iterator) {
	if in.Reason != jsonscan.OK && in.Reason != jsonscan.MissingValue {
		w.Fail(in.Offset, in.Reason)
		return
	}
	if in.Reason == jsonscan.OK {
		w.SkipTo(in.Offset)
	}
}

// intern is a word as a string, without taking memory for those that every
// stream says.
func intern(b []byte) string {
	for _, w := range [...]string{
		"stop", "length", "tool_calls", "content_filter", "function_call", "completed", "max_output_tokens",
		"default", "auto", "priority", "flex",
	} {
		if string(b) == w {
			return w
		}
	}
	return truncated(b)
}

// truncated is a word as a string, of a length that a log can bear.
func truncated(b []byte) string { return jsonscan.Unquote(b[:min(len(b), 256)]) }
