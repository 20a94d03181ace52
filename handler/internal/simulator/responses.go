package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// responses serves POST responses.
func (c *call) responses() {
	r := c.newResponse()
	a := c.generateChoice(0)
	use := c.usage(len(a.tokens))
	stored := &storedResponse{
		final: r.finish(a, use, c.responseOutput(a)), input: c.inputItems(), made: c.arrived, streamed: c.request.Stream,
	}
	stored.events = responseEvents(r, stored.final, a)
	switch {
	case c.request.Stream:
		c.streamResponse(stored)
	case c.request.Background:
		c.queueResponse(stored, use)
	default:
		c.wholeResponse(stored, use)
	}
}

func (c *call) wholeResponse(stored *storedResponse, use tokenUsage) {
	if !c.sleep(c.answerDelay(use.completion)) {
		c.clientDisconnected()
		return
	}
	c.storeResponse(stored)
	c.recordUsage(use)
	c.writeResponse(http.StatusOK, "", marshal(stored.final))
}

// queueResponse answers at once; the response completes as time passes.
func (c *call) queueResponse(stored *storedResponse, use tokenUsage) {
	now := c.now()
	stored.starts = now.Add(c.firstTokenDelay())
	stored.ends = now.Add(c.answerDelay(use.completion))
	c.storeResponse(stored)
	c.recordUsage(use)
	queued := stored.at(now)
	queued.Status = "queued"
	c.writeResponse(http.StatusOK, "", marshal(queued))
}

func (c *call) storeResponse(stored *storedResponse) {
	if c.storesResponse() {
		stored.made = c.now()
		c.res.store.put(stored)
	}
}

// checkResponse checks a request's references to state of this resource
// (docs/azure-openai.md#stateful-operations).
func (c *call) checkResponse() *apiError {
	if c.request.Background && !c.storesResponse() {
		return invalidRequest("Background mode requires 'store' to be true.", "background", "")
	}
	if apiErr := missingParameter(len(c.request.Input) == 0 && c.request.PreviousResponseID == "", "input"); apiErr != nil {
		return apiErr
	}
	if id := c.request.PreviousResponseID; id != "" {
		if _, ok := c.res.store.get(id, c.now(), c.res.StoreDelay); !ok {
			apiErr := invalidRequest(fmt.Sprintf("Previous response with id '%s' not found.", id), "previous_response_id", "previous_response_not_found")
			apiErr.name = "400-previous"
			return apiErr
		}
	}
	if apiErr := c.checkConversation(); apiErr != nil {
		return apiErr
	}
	if name := c.imageDeployment(); name != "" && c.res.deployments[name] == nil {
		return deploymentNotFound(c.route)
	}
	for _, item := range c.inputItems() {
		if apiErr := c.checkItem(item); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

func (c *call) checkConversation() *apiError {
	id := conversationID(c.request.Conversation)
	if id == "" || c.res.objects.has("conversations", id) {
		return nil
	}
	apiErr := invalidRequest(fmt.Sprintf("Conversation with id '%s' not found.", id), "conversation", "")
	apiErr.name, apiErr.status = "404-conversation", http.StatusNotFound
	return apiErr
}

// conversationID reads "conv_…" or {"id":"conv_…"}.
func conversationID(raw json.RawMessage) string {
	var id string
	if json.Unmarshal(raw, &id) == nil {
		return id
	}
	var object struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(raw, &object) // absent is no conversation
	return object.ID
}

// checkItem checks a reference to an item and encrypted content.
func (c *call) checkItem(raw json.RawMessage) *apiError {
	var item struct {
		Type      string `json:"type"`
		ID        string `json:"id"`
		Encrypted string `json:"encrypted_content"`
	}
	if json.Unmarshal(raw, &item) != nil {
		return nil
	}
	if item.Encrypted != "" {
		if !c.res.unseals(item.Encrypted) {
			return invalidEncryptedContent(item.Encrypted)
		}
		return nil
	}
	if (item.Type == "item_reference" || item.Type == "reasoning") && item.ID != "" && !c.res.store.hasItem(item.ID) {
		apiErr := invalidRequest(fmt.Sprintf(
			"Item with id '%s' not found. Items are not persisted when 'store' is set to false. Try again with 'store' set to true, or remove this item from your input.", item.ID),
			"input", "")
		apiErr.name = "400-item"
		return apiErr
	}
	return nil
}

// inputItems is the input as items; a text is one message.
func (c *call) inputItems() []json.RawMessage {
	var items []json.RawMessage
	if json.Unmarshal(c.request.Input, &items) == nil {
		return items
	}
	if text := contentText(c.request.Input); text != "" {
		return []json.RawMessage{fmt.Appendf(nil, `{"id":%s,"type":"message","role":"user","content":[{"type":"input_text","text":%s}]}`,
			quote(c.itemID("msg_in_")), quote(text))}
	}
	return nil
}

// responseByID serves the paths responses/{id} and below.
func (c *call) responseByID() {
	id := c.route.rest[0]
	verb := ""
	if len(c.route.rest) > 1 {
		verb = c.route.rest[1]
	}
	switch {
	case c.r.Method == http.MethodDelete && verb == "":
		c.deleteResponse(id)
	case c.r.Method == http.MethodPost && verb == "cancel":
		c.cancelResponse(id)
	case c.r.Method == http.MethodGet && verb == "input_items":
		c.listInput(id)
	case c.r.Method == http.MethodGet && verb == "":
		c.getResponse(id)
	default:
		c.writeError(resourceNotFound())
	}
}

func responseNotFound(id string) *apiError {
	return &apiError{name: "404-response", status: http.StatusNotFound, body: openaiBody(fmt.Sprintf("Response with id '%s' not found.", id), "invalid_request_error", "", "")}
}

func (c *call) getResponse(id string) {
	stored, ok := c.res.store.get(id, c.now(), c.res.StoreDelay)
	if !ok {
		c.writeError(responseNotFound(id))
		return
	}
	if c.r.URL.Query().Get("stream") != "true" {
		c.writeResponse(http.StatusOK, "", marshal(stored.at(c.now())))
		return
	}
	if !stored.streamed {
		c.writeError(invalidRequest("This response cannot be streamed because it was not created with 'stream' set to true.", "stream", ""))
		return
	}
	after := -1
	if n, err := strconv.Atoi(c.r.URL.Query().Get("starting_after")); err == nil {
		after = n
	}
	s := c.openStream(dialectResponses)
	for _, ev := range stored.events[min(after+1, len(stored.events)):] {
		if !s.send(ev) {
			return
		}
	}
	c.finish(Served)
}

func (c *call) deleteResponse(id string) {
	if !c.res.store.remove(id) {
		c.writeError(responseNotFound(id))
		return
	}
	c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{"id":%s,"object":"response","deleted":true}`, quote(id)))
}

func (c *call) cancelResponse(id string) {
	stored, ok := c.res.store.cancel(id, c.now())
	if !ok {
		c.writeError(responseNotFound(id))
		return
	}
	if !stored.final.Background {
		c.writeError(invalidRequest("Cannot cancel a synchronous response.", "", ""))
		return
	}
	c.writeResponse(http.StatusOK, "", marshal(stored.at(c.now())))
}

func (c *call) listInput(id string) {
	stored, ok := c.res.store.get(id, c.now(), c.res.StoreDelay)
	if !ok {
		c.writeError(responseNotFound(id))
		return
	}
	c.writeResponse(http.StatusOK, "", marshal(map[string]any{"object": "list", "data": stored.input, "has_more": false}))
}

// compact replaces a conversation by one encrypted item.
func (c *call) compact() {
	id := c.itemID("cmp_")
	c.recordUsage(c.usage(1))
	c.writeResponse(http.StatusOK, "", fmt.Appendf(nil,
		`{"id":%s,"object":"response.compaction","created_at":%d,"output":[{"id":%s,"type":"compaction","encrypted_content":%s}],"usage":%s}`,
		quote(c.svc.identifier("resp_", c.seq, 4)), c.arrived.Unix(), quote(id), quote(c.res.sealed(id)), marshal(c.usage(1).response())))
}

// responseEvents are all events of a response, numbered from 0
// (docs/azure-openai.md#responses-events). There is no [DONE].
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

// preambleEvents is the number of events before anything is generated.
const preambleEvents = 2

// streamResponse streams a response. When its client leaves, a synchronous one is
// not stored; a background one goes on.
func (c *call) streamResponse(stored *storedResponse) {
	if stored.final.Background {
		now := c.now()
		stored.starts, stored.ends = now, now.Add(c.answerDelay(stored.final.Usage.OutputTokens))
		c.storeResponse(stored)
	}
	s := c.openStream(dialectResponses, stored.events[:preambleEvents]...)
	if !s.pause(c.firstTokenDelay()) {
		return
	}
	c.update(func(e *Entry) { e.CompletionTokens += c.spec.ReasoningTokens })
	burst := max(1, c.spec.FilterBurst)
	for _, ev := range stored.events[preambleEvents:] {
		if ev.tokens > 0 && s.content > 0 && s.content%burst == 0 && !s.pause(c.burstDelay(s.content, burst)) {
			return
		}
		if ev.last && !stored.final.Background && !s.faultDue(ev) {
			c.storeResponse(stored)
		}
		if !s.send(ev) {
			return
		}
	}
}

// responseStub is a response object without output, for error events.
func (c *call) responseStub(status, reason, details string) string {
	return fmt.Sprintf(`{"id":%s,"object":"response","created_at":%d,"status":%s,"error":%s,"incomplete_details":%s,"model":%s,"output":[],"usage":null}`,
		quote(c.svc.identifier("resp_", c.seq, 4)), c.arrived.Unix(), quote(status), reason, details, quote(c.spec.Name))
}
