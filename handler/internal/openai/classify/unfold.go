package classify

import (
	"bytes"
	"encoding/json"
	"fmt"

	"spillway/handler/internal/openai/operations"
)

// object is a JSON object whose members keep their text.
type object map[string]json.RawMessage

// Unfold returns a whole answer of chat, completions or the Responses API as the
// events of the stream that would carry it, its usage included. ok is false when the
// answer cannot be one.
func Unfold(dialect operations.Dialect, answer []byte) (events []byte, ok bool) {
	var whole object
	if json.Unmarshal(answer, &whole) != nil {
		return nil, false
	}
	u := unfolder{}
	switch dialect {
	case operations.Responses:
		ok = u.response(whole)
	case operations.Chat:
		ok = u.chat(whole)
	case operations.Plain, operations.Messages:
	}
	return u.events.Bytes(), ok
}

// unfolder writes events.
type unfolder struct {
	events   bytes.Buffer
	sequence int
}

// with is a copy of the object in which members are changed; nil removes one.
func (o object) with(changes map[string]any) object {
	out := make(object, len(o))
	for name, value := range o {
		out[name] = value
	}
	for name, value := range changes {
		if delete(out, name); value != nil {
			out[name] = marshal(value)
		}
	}
	return out
}

// marshal encodes what came out of JSON.
func marshal(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic("classify: decoded JSON does not marshal: " + err.Error())
	}
	return text
}

func (u *unfolder) data(o object) { fmt.Fprintf(&u.events, "data: %s\n\n", marshal(o)) }

// chat writes a chunk with the message of each choice, one with its finish reason,
// the usage and the end.
func (u *unfolder) chat(whole object) bool {
	var choices []object
	if json.Unmarshal(whole["choices"], &choices) != nil || len(choices) == 0 {
		return false
	}
	head := map[string]any{"usage": nil, "prompt_filter_results": nil}
	if string(whole["object"]) == `"chat.completion"` {
		head["object"] = "chat.completion.chunk"
	}
	for i, choice := range choices {
		var finish string
		if json.Unmarshal(choice["finish_reason"], &finish) != nil || finish == "" {
			return false
		}
		part, end := map[string]any{"message": nil, "finish_reason": json.RawMessage("null")}, map[string]any{"message": nil}
		if choice["index"] == nil {
			part["index"], end["index"] = i, i
		}
		if choice["message"] != nil {
			part["delta"], end["delta"] = deltaOf(choice["message"]), object{}
		} else if choice["text"] != nil {
			end["text"] = ""
		}
		head["choices"] = []object{choice.with(part)}
		u.data(whole.with(head))
		head["choices"] = []object{choice.with(end)}
		u.data(whole.with(head))
	}
	if len(whole["usage"]) > 0 {
		head["choices"], head["usage"] = []object{}, whole["usage"]
		u.data(whole.with(head))
	}
	u.events.WriteString("data: [DONE]\n\n")
	return true
}

// deltaOf is a message as the delta that carries it: calls of tools are numbered.
func deltaOf(message json.RawMessage) json.RawMessage {
	var delta object
	var calls []object
	if json.Unmarshal(message, &delta) != nil || json.Unmarshal(delta["tool_calls"], &calls) != nil {
		return message
	}
	for i := range calls {
		if calls[i]["index"] == nil {
			calls[i] = calls[i].with(map[string]any{"index": i})
		}
	}
	return marshal(delta.with(map[string]any{"tool_calls": calls}))
}

// event writes an event of the Responses API.
func (u *unfolder) event(name string, members map[string]any) {
	members["type"], members["sequence_number"] = name, u.sequence
	u.sequence++
	fmt.Fprintf(&u.events, "event: %s\ndata: %s\n\n", name, marshal(members))
}

// response writes the events of a response that has ended.
func (u *unfolder) response(whole object) bool {
	var output []object
	var status string
	if json.Unmarshal(whole["output"], &output) != nil || json.Unmarshal(whole["status"], &status) != nil {
		return false
	}
	if status != "completed" && status != "incomplete" {
		return false
	}
	begun := whole.with(map[string]any{"status": "in_progress", "output": []object{}, "usage": json.RawMessage("null"), "incomplete_details": json.RawMessage("null")})
	u.event("response.created", map[string]any{"response": begun})
	u.event("response.in_progress", map[string]any{"response": begun})
	for i, item := range output {
		u.item(i, item)
	}
	u.event("response."+status, map[string]any{"response": whole})
	return true
}

// item writes the events of one item of the output.
func (u *unfolder) item(index int, item object) {
	at := func(more map[string]any) map[string]any {
		more["output_index"] = index
		if item["id"] != nil && more["item"] == nil {
			more["item_id"] = item["id"]
		}
		return more
	}
	var content []object
	_ = json.Unmarshal(item["content"], &content) // a call of a tool has none
	changes := map[string]any{}
	if item["status"] != nil {
		changes["status"] = "in_progress"
	}
	if item["content"] != nil {
		changes["content"] = []object{}
	}
	if item["arguments"] != nil {
		changes["arguments"] = ""
	}
	u.event("response.output_item.added", at(map[string]any{"item": item.with(changes)}))
	for k, part := range content {
		of := func(more map[string]any) map[string]any { more["content_index"] = k; return at(more) }
		if part["text"] == nil || string(item["type"]) != `"message"` {
			continue
		}
		u.event("response.content_part.added", of(map[string]any{"part": part.with(map[string]any{"text": ""})}))
		u.event("response.output_text.delta", of(map[string]any{"delta": part["text"]}))
		u.event("response.output_text.done", of(map[string]any{"text": part["text"]}))
		u.event("response.content_part.done", of(map[string]any{"part": part}))
	}
	if item["arguments"] != nil {
		u.event("response.function_call_arguments.delta", at(map[string]any{"delta": item["arguments"]}))
		u.event("response.function_call_arguments.done", at(map[string]any{"arguments": item["arguments"]}))
	}
	u.event("response.output_item.done", at(map[string]any{"item": item}))
}
