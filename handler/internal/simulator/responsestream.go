package simulator

import (
	"fmt"
	"strings"
)

// responseEvents are all events of a response, numbered from 0
// (facts/azure-openai.md §5.3). There is no [DONE].
func responseEvents(begun, final responseObject, a choice) []event {
	var e eventList
	created := marshal(begun)
	e.add("response.created", `"response":%s`, created)
	e.add("response.in_progress", `"response":%s`, created)
	for i, item := range final.Output {
		e.addItem(i, item, a)
	}
	terminal := "response.completed"
	if final.Status == "incomplete" {
		terminal = "response.incomplete"
	}
	e.add(terminal, `"response":%s`, marshal(final))
	last := &e.events[len(e.events)-1]
	last.finish, last.last = true, true
	return e.events
}

// eventList numbers events as they are added.
type eventList struct{ events []event }

func (e *eventList) add(kind, format string, args ...any) {
	head := fmt.Appendf(nil, `{"type":"%s","sequence_number":%d,`, kind, len(e.events))
	data := append(fmt.Appendf(head, format, args...), '}')
	e.events = append(e.events, event{name: kind, data: data})
}

// addDelta adds an event that carries one token.
func (e *eventList) addDelta(kind, format string, args ...any) {
	e.add(kind, format, args...)
	e.events[len(e.events)-1].tokens = 1
}

func (e *eventList) addItem(i int, item any, a choice) {
	switch item := item.(type) {
	case messageItem:
		e.addMessage(i, item, a)
	case functionItem:
		e.addFunction(i, item, a)
	default:
		e.add("response.output_item.added", `"output_index":%d,"item":%s`, i, marshal(item))
		e.add("response.output_item.done", `"output_index":%d,"item":%s`, i, marshal(item))
	}
}

func (e *eventList) addMessage(i int, item messageItem, a choice) {
	begun := item
	begun.Status, begun.Content = "in_progress", []textPart{}
	where := fmt.Sprintf(`"item_id":%s,"output_index":%d,"content_index":0`, quote(item.ID), i)
	text := strings.Join(a.tokens, "")
	e.add("response.output_item.added", `"output_index":%d,"item":%s`, i, marshal(begun))
	e.add("response.content_part.added", `%s,"part":%s`, where, marshal(textOf("")))
	for _, token := range a.tokens {
		e.addDelta("response.output_text.delta", `%s,"delta":%s`, where, quote(token))
	}
	e.add("response.output_text.done", `%s,"text":%s`, where, quote(text))
	e.add("response.content_part.done", `%s,"part":%s`, where, marshal(textOf(text)))
	e.add("response.output_item.done", `"output_index":%d,"item":%s`, i, marshal(item))
}

func (e *eventList) addFunction(i int, item functionItem, a choice) {
	begun := item
	begun.Status, begun.Arguments = "in_progress", ""
	where := fmt.Sprintf(`"item_id":%s,"output_index":%d`, quote(item.ID), i)
	e.add("response.output_item.added", `"output_index":%d,"item":%s`, i, marshal(begun))
	for _, token := range a.tokens {
		e.addDelta("response.function_call_arguments.delta", `%s,"delta":%s`, where, quote(token))
	}
	e.add("response.function_call_arguments.done", `%s,"arguments":%s`, where, quote(item.Arguments))
	e.add("response.output_item.done", `"output_index":%d,"item":%s`, i, marshal(item))
}

// preambleEvents is how many events come before anything is generated.
const preambleEvents = 2

// streamResponse tells a response as it is made. A caller who leaves cancels a
// synchronous one: it is not kept. A background one goes on without him.
func (c *call) streamResponse(kept *storedResponse) {
	if kept.final.Background {
		now := c.now()
		kept.starts, kept.ends = now, now.Add(c.answerDelay(kept.final.Usage.OutputTokens))
		c.storeResponse(kept)
	}
	s := c.openStream(dialectResponses, kept.events[:preambleEvents]...)
	if !s.pause(c.firstTokenDelay()) {
		return
	}
	c.update(func(e *Entry) { e.CompletionTokens += c.spec.ReasoningTokens })
	burst := max(1, c.spec.FilterBurst)
	for _, ev := range kept.events[preambleEvents:] {
		if ev.tokens > 0 && s.content > 0 && s.content%burst == 0 && !s.pause(c.burstDelay(s.content, burst)) {
			return
		}
		if ev.last && !kept.final.Background && !s.faultDue(ev) {
			c.storeResponse(kept)
		}
		if !s.send(ev) {
			return
		}
	}
}
