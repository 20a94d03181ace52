package classify

import (
	"strconv"

	"spillway/handler/internal/openai/request/walk"
	"spillway/handler/internal/openai/usage"
)

// Answer is what is worth knowing of one answer. It grows as the events of a
// stream are read; the zero Answer is nothing known.
type Answer struct {
	Usage   usage.Tokens
	Metered bool     // the backend said its usage
	Finish  string   // the last finish reason: "stop", "length", "tool_calls"; of the Responses API "completed", "max_output_tokens", …
	ID      string   // "chatcmpl-…", "resp_…"
	Tier    string   // the service tier that served
	Items   []string // the ids of a response's output items, of the first 64
}

// anatomy is the parts of one JSON answer, or of the data of one event. Places
// are 0 when a part is absent or null: no part begins an object.
type anatomy struct {
	text     []byte
	kind     []byte // type, of events that have one
	object   []byte
	id       []byte
	tier     []byte
	status   []byte // of a response of the Responses API
	finish   []byte // the last finish reason
	finished choices
	started  choices
	listed   bool // there is a list of choices
	content  bool // a choice carries something of an answer
	piece    int  // where the last such thing is
	filters  bool // annotations of the prompt are there
	errorAt  int
	response int
	details  int // incomplete_details
	output   int // of a response
	sequence int64
	usage    usage.Tokens
	metered  bool
}

// dissect reads the object that begins at b[i]. It is false when that is none
// or not JSON.
func dissect(b []byte, i int) (a anatomy, ok bool) {
	a.text = b
	w := walk.Into(b, i)
	for w.Next() {
		a.member(&w)
	}
	return a, w.Why == walk.OK
}

// member reads one member.
func (a *anatomy) member(w *walk.Walk) {
	if w.Text[w.At] == 'n' {
		return
	}
	switch string(w.Key) {
	case "id":
		a.id = word(w)
	case "object":
		a.object = word(w)
	case "type":
		a.kind = word(w)
	case "status":
		a.status = word(w)
	case "service_tier":
		a.tier = word(w)
	case "choices":
		a.choices(w)
	case "usage":
		a.usage, a.metered = usage.Parse(value(w))
	case "prompt_filter_results", "prompt_annotations":
		a.filters = true
	case "response":
		a.response = w.At
	case "output":
		a.output = w.At
	case "incomplete_details":
		a.details = w.At
	case "error":
		if truthy(w.Text, w.At) {
			a.errorAt = w.At
		}
	case "sequence_number":
		a.sequence, _ = strconv.ParseInt(string(value(w)), 10, 64)
	}
}

// choices reads the list of choices.
func (a *anatomy) choices(w *walk.Walk) {
	if w.Text[w.At] != '[' {
		return
	}
	a.listed = true
	list := walk.Into(w.Text, w.At)
	for list.Next() {
		one := walk.Into(list.Text, list.At)
		a.choice(&one)
		pass(&list, &one)
	}
	pass(w, &list)
}

// choice reads one choice. One that has neither delta nor text nor message is
// an annotation (facts/azure-openai.md §5.1).
func (a *anatomy) choice(w *walk.Walk) {
	index, finish := 0, []byte(nil)
	for w.Next() {
		if w.Text[w.At] == 'n' {
			continue
		}
		switch string(w.Key) {
		case "delta", "text", "message":
			a.content, a.piece = true, w.At
		case "index":
			index, _ = strconv.Atoi(string(value(w)))
		case "finish_reason":
			finish = word(w)
		}
	}
	a.started.add(index)
	if len(finish) > 0 {
		a.content, a.finish = true, finish
		a.finished.add(index)
	}
}

// usageOnly reports whether a chunk of chat carries nothing but the usage that
// was asked for. Annotations of the prompt make it worth something to callers.
func (a *anatomy) usageOnly() bool {
	return a.metered && a.listed && a.started == (choices{}) && !a.filters && a.errorAt == 0
}

// note adds what the anatomy says of the answer.
func (n *Answer) note(a *anatomy) {
	if a.metered {
		n.Usage, n.Metered = a.usage, true
	}
	if len(a.finish) > 0 {
		n.Finish = known(a.finish)
	}
	if n.ID == "" && len(a.id) > 0 {
		n.ID = brief(a.id)
	}
	if a.output > 0 {
		n.Items = items(a.text, a.output)
	}
	if len(a.tier) > 0 && n.Tier != string(a.tier) {
		n.Tier = known(a.tier)
	}
}

// maxItems bounds how many items of an answer are told of.
const maxItems = 64

// items are the ids of the objects in the list at b[i].
func items(b []byte, i int) []string {
	if b[i] != '[' {
		return nil
	}
	var ids []string
	list := walk.Into(b, i)
	for list.Next() && len(ids) < maxItems {
		one := walk.Into(list.Text, list.At)
		for one.Next() {
			if string(one.Key) != "id" {
				continue
			}
			if id := word(&one); len(id) > 0 {
				ids = append(ids, brief(id))
			}
		}
		pass(&list, &one)
	}
	return ids
}

// word is the present value's text as written, nil when it is no string.
func word(w *walk.Walk) []byte {
	v := value(w)
	if len(v) < 2 || v[0] != '"' {
		return nil
	}
	return v[1 : len(v)-1]
}

// value passes the present value and is its text.
func value(w *walk.Walk) []byte {
	from := w.At
	end := w.Skip()
	if w.Why != walk.OK {
		return nil
	}
	return w.Text[from:end]
}

// pass goes on behind a value that an inner walk went over.
func pass(w, in *walk.Walk) {
	if in.Why != walk.OK && in.Why != walk.NoValue {
		w.Fail(in.At, in.Why)
		return
	}
	if in.Why == walk.OK {
		w.Past(in.At)
	}
}

// known is a word as a string, without taking memory for those that every
// stream says.
func known(b []byte) string {
	for _, w := range [...]string{
		"stop", "length", "tool_calls", "content_filter", "function_call", "completed", "max_output_tokens",
		"default", "auto", "priority", "flex",
	} {
		if string(b) == w {
			return w
		}
	}
	return brief(b)
}

// brief is a word as a string, of a length that a log can bear.
func brief(b []byte) string { return walk.Unquote(b[:min(len(b), 256)]) }
