package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// responses serves POST responses.
func (c *call) responses() {
	r := c.newResponse()
	a := c.generateChoice(0)
	use := c.usage(len(a.tokens))
	kept := &storedResponse{
		final: r.finish(a, use, c.responseOutput(a)), input: c.inputItems(), made: c.arrived, streamed: c.request.Stream,
	}
	kept.events = responseEvents(r, kept.final, a)
	switch {
	case c.request.Stream:
		c.streamResponse(kept)
	case c.request.Background:
		c.queueResponse(kept, use)
	default:
		c.wholeResponse(kept, use)
	}
}

func (c *call) wholeResponse(kept *storedResponse, use tokenUsage) {
	if !c.sleep(c.answerDelay(use.completion)) {
		c.clientDisconnected()
		return
	}
	c.storeResponse(kept)
	c.recordUsage(use)
	c.writeResponse(http.StatusOK, "", marshal(kept.final))
}

// queueResponse answers at once; the response is worked on as time goes by.
func (c *call) queueResponse(kept *storedResponse, use tokenUsage) {
	now := c.now()
	kept.starts = now.Add(c.firstTokenDelay())
	kept.ends = now.Add(c.answerDelay(use.completion))
	c.storeResponse(kept)
	c.recordUsage(use)
	queued := kept.at(now)
	queued.Status = "queued"
	c.writeResponse(http.StatusOK, "", marshal(queued))
}

func (c *call) storeResponse(kept *storedResponse) {
	if c.storesResponse() {
		kept.made = c.now()
		c.res.store.put(kept)
	}
}

// checkResponse refuses a request that leans on what this resource does not
// have (facts/azure-openai.md §1.2).
func (c *call) checkResponse() *apiError {
	if c.request.Background && !c.storesResponse() {
		return invalidRequest("Background mode requires 'store' to be true.", "background", "")
	}
	if no := missingParameter(len(c.request.Input) == 0 && c.request.PreviousResponseID == "", "input"); no != nil {
		return no
	}
	if id := c.request.PreviousResponseID; id != "" {
		if _, ok := c.res.store.get(id, c.now(), c.res.StoreDelay); !ok {
			no := invalidRequest(fmt.Sprintf("Previous response with id '%s' not found.", id), "previous_response_id", "previous_response_not_found")
			no.name = "400-previous"
			return no
		}
	}
	if no := c.checkConversation(); no != nil {
		return no
	}
	if name := c.imageDeployment(); name != "" && c.res.deployments[name] == nil {
		return deploymentNotFound(c.route)
	}
	for _, item := range c.inputItems() {
		if no := c.checkItem(item); no != nil {
			return no
		}
	}
	return nil
}

func (c *call) checkConversation() *apiError {
	id := conversationID(c.request.Conversation)
	if id == "" || c.res.objects.has("conversations", id) {
		return nil
	}
	no := invalidRequest(fmt.Sprintf("Conversation with id '%s' not found.", id), "conversation", "")
	no.name, no.status = "404-conversation", http.StatusNotFound
	return no
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

// checkItem refuses references to items of elsewhere and foreign ciphertext.
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
		no := invalidRequest(fmt.Sprintf(
			"Item with id '%s' not found. Items are not persisted when 'store' is set to false. Try again with 'store' set to true, or remove this item from your input.", item.ID),
			"input", "")
		no.name = "400-item"
		return no
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

// responseByID serves everything below responses/{id}.
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
	kept, ok := c.res.store.get(id, c.now(), c.res.StoreDelay)
	if !ok {
		c.writeError(responseNotFound(id))
		return
	}
	if c.r.URL.Query().Get("stream") != "true" {
		c.writeResponse(http.StatusOK, "", marshal(kept.at(c.now())))
		return
	}
	if !kept.streamed {
		c.writeError(invalidRequest("This response cannot be streamed because it was not created with 'stream' set to true.", "stream", ""))
		return
	}
	after := -1
	if n, err := strconv.Atoi(c.r.URL.Query().Get("starting_after")); err == nil {
		after = n
	}
	s := c.openStream(dialectResponses)
	for _, ev := range kept.events[min(after+1, len(kept.events)):] {
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
	kept, ok := c.res.store.cancel(id, c.now())
	if !ok {
		c.writeError(responseNotFound(id))
		return
	}
	if !kept.final.Background {
		c.writeError(invalidRequest("Cannot cancel a synchronous response.", "", ""))
		return
	}
	c.writeResponse(http.StatusOK, "", marshal(kept.at(c.now())))
}

func (c *call) listInput(id string) {
	kept, ok := c.res.store.get(id, c.now(), c.res.StoreDelay)
	if !ok {
		c.writeError(responseNotFound(id))
		return
	}
	c.writeResponse(http.StatusOK, "", marshal(map[string]any{"object": "list", "data": kept.input, "has_more": false}))
}

// compact folds a conversation into one encrypted item.
func (c *call) compact() {
	id := c.itemID("cmp_")
	c.recordUsage(c.usage(1))
	c.writeResponse(http.StatusOK, "", fmt.Appendf(nil,
		`{"id":%s,"object":"response.compaction","created_at":%d,"output":[{"id":%s,"type":"compaction","encrypted_content":%s}],"usage":%s}`,
		quote(c.svc.identifier("resp_", c.seq, 4)), c.arrived.Unix(), quote(id), quote(c.res.sealed(id)), marshal(c.usage(1).response())))
}
