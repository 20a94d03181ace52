package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

// responseObject is a response of the Responses API.
type responseObject struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	CreatedAt          int64             `json:"created_at"`
	Status             string            `json:"status"`
	Background         bool              `json:"background"`
	Error              *responseError    `json:"error"`
	IncompleteDetails  *incompleteReason `json:"incomplete_details"`
	Instructions       *string           `json:"instructions"`
	MaxOutputTokens    *int              `json:"max_output_tokens"`
	Model              string            `json:"model"`
	Output             []any             `json:"output"`
	ParallelToolCalls  bool              `json:"parallel_tool_calls"`
	PreviousResponseID *string           `json:"previous_response_id"`
	ServiceTier        string            `json:"service_tier"`
	Store              bool              `json:"store"`
	Temperature        float64           `json:"temperature"`
	ToolChoice         json.RawMessage   `json:"tool_choice"`
	Tools              []json.RawMessage `json:"tools"`
	TopP               float64           `json:"top_p"`
	Truncation         string            `json:"truncation"`
	Usage              *responseUsage    `json:"usage"`
	Metadata           json.RawMessage   `json:"metadata"`
}

type responseError struct {
	Code    *string `json:"code"`
	Message string  `json:"message"`
}

type incompleteReason struct {
	Reason string `json:"reason"`
}

type responseUsage struct {
	InputTokens  int `json:"input_tokens"`
	InputDetails struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	OutputTokens  int `json:"output_tokens"`
	OutputDetails struct {
		ReasoningTokens int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	TotalTokens int `json:"total_tokens"`
}

func (t tokenUsage) response() *responseUsage {
	u := &responseUsage{InputTokens: t.prompt, OutputTokens: t.completion, TotalTokens: t.prompt + t.completion}
	u.InputDetails.CachedTokens, u.OutputDetails.ReasoningTokens = t.cached, t.reasoning
	return u
}

// Items of a response's output.
type (
	messageItem struct {
		ID      string     `json:"id"`
		Type    string     `json:"type"`
		Status  string     `json:"status"`
		Role    string     `json:"role"`
		Content []textPart `json:"content"`
	}
	textPart struct {
		Type        string `json:"type"`
		Text        string `json:"text"`
		Annotations []any  `json:"annotations"`
	}
	reasoningItem struct {
		ID        string  `json:"id"`
		Type      string  `json:"type"`
		Summary   []any   `json:"summary"`
		Encrypted *string `json:"encrypted_content,omitempty"`
	}
	functionItem struct {
		ID        string `json:"id"`
		Type      string `json:"type"`
		Status    string `json:"status"`
		CallID    string `json:"call_id"`
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}
	imageItem struct {
		ID     string `json:"id"`
		Type   string `json:"type"`
		Status string `json:"status"`
		Result string `json:"result"`
	}
)

func textOf(text string) textPart {
	return textPart{Type: "output_text", Text: text, Annotations: []any{}}
}

// newResponse is a response at its creation: in progress and empty.
func (c *call) newResponse() responseObject {
	r := responseObject{
		ID: c.svc.identifier("resp_", c.seq, 4), Object: "response", CreatedAt: c.arrived.Unix(), Status: "in_progress",
		Background: c.request.Background, MaxOutputTokens: c.request.MaxOutputTokens, Model: c.spec.Name, Output: []any{},
		ParallelToolCalls: true, ServiceTier: c.tier, Store: c.storesResponse(), Temperature: 1, ToolChoice: c.request.ToolChoice,
		Tools: c.request.Tools, TopP: 1, Truncation: "disabled", Metadata: c.request.Metadata,
	}
	if c.request.Instructions != "" {
		r.Instructions = &c.request.Instructions
	}
	if c.fault != nil && c.fault.BigCreated {
		long := c.request.Instructions + strings.Repeat(" and go on", 2000)
		r.Instructions = &long
	}
	if c.request.PreviousResponseID != "" {
		r.PreviousResponseID = &c.request.PreviousResponseID
	}
	if len(r.ToolChoice) == 0 {
		r.ToolChoice = json.RawMessage(`"auto"`)
	}
	if r.Tools == nil {
		r.Tools = []json.RawMessage{}
	}
	if len(r.Metadata) == 0 {
		r.Metadata = json.RawMessage(`{}`)
	}
	return r
}

// storesResponse reports whether the response is stored: unless store is false.
func (c *call) storesResponse() bool { return c.request.Store == nil || *c.request.Store }

// finish is the response at its end.
func (r responseObject) finish(a choice, use tokenUsage, output []any) responseObject {
	r.Status, r.Output, r.Usage = "completed", output, use.response()
	switch a.reason {
	case "length":
		r.Status, r.IncompleteDetails = "incomplete", &incompleteReason{"max_output_tokens"}
	case "content_filter":
		r.Status, r.IncompleteDetails = "incomplete", &incompleteReason{"content_filter"}
	}
	return r
}

// responseOutput is the items of a choice, in order.
func (c *call) responseOutput(a choice) []any {
	var out []any
	if c.spec.ReasoningTokens > 0 || c.spec.reasons() {
		out = append(out, c.reasoning())
	}
	if c.imageDeployment() != "" {
		out = append(out, imageItem{ID: c.itemID("ig_"), Type: "image_generation_call", Status: "completed", Result: onePixel})
	}
	text := strings.Join(a.tokens, "")
	if a.tool != "" {
		return append(out, functionItem{ID: c.itemID("fc_"), Type: "function_call", Status: "completed", CallID: c.toolCallID(0), Name: a.tool, Arguments: text})
	}
	return append(out, messageItem{ID: c.itemID("msg_"), Type: "message", Status: "completed", Role: "assistant", Content: []textPart{textOf(text)}})
}

func (c *call) itemID(prefix string) string {
	return c.svc.identifier(prefix, c.seq, uint64(len(prefix))+32)
}

// marshal encodes a value that always encodes.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("simulator: render an answer: " + err.Error())
	}
	return b
}

// storeLimit is the number of responses that a resource stores; the oldest are
// dropped.
const storeLimit = 10_000

// store is the stored responses of one resource.
type store struct {
	mu        sync.Mutex
	responses map[string]*storedResponse
	items     map[string]string // item id → response id
	order     []string
}

// storedResponse is one response. Its status at an instant is computed on reading:
// no goroutine works on a background response.
type storedResponse struct {
	final    responseObject
	input    []json.RawMessage
	events   []event
	streamed bool
	made     time.Time
	starts   time.Time // until then it is queued
	ends     time.Time // until then it is in progress
	canceled bool
}

func newStore() *store {
	s := &store{}
	s.reset()
	return s
}

func (s *store) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.responses, s.items, s.order = map[string]*storedResponse{}, map[string]string{}, nil
}

func (s *store) put(r *storedResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) >= storeLimit {
		s.evict(s.order[0])
		s.order = s.order[1:]
	}
	s.responses[r.final.ID] = r
	s.order = append(s.order, r.final.ID)
	for _, id := range r.itemIDs() {
		s.items[id] = r.final.ID
	}
}

// evict drops a response and its items. The caller holds the lock.
func (s *store) evict(id string) {
	r := s.responses[id]
	if r == nil {
		return
	}
	delete(s.responses, id)
	for _, item := range r.itemIDs() {
		delete(s.items, item)
	}
}

// get is a copy of a response that was stored at least delay ago.
func (s *store) get(id string, now time.Time, delay time.Duration) (storedResponse, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.responses[id]
	if r == nil || now.Sub(r.made) < delay {
		return storedResponse{}, false
	}
	return *r, true
}

func (s *store) hasItem(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.items[id]
	return ok
}

func (s *store) remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.responses[id]
	s.evict(id)
	return ok
}

// cancel cancels a background response that has not ended, and returns it. It may
// be called repeatedly.
func (s *store) cancel(id string, now time.Time) (storedResponse, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.responses[id]
	if r == nil {
		return storedResponse{}, false
	}
	if r.final.Background && now.Before(r.ends) {
		r.canceled = true
	}
	return *r, true
}

// itemIDs are the ids of the output items.
func (r *storedResponse) itemIDs() []string {
	var ids []string
	for _, item := range r.final.Output {
		switch item := item.(type) {
		case messageItem:
			ids = append(ids, item.ID)
		case reasoningItem:
			ids = append(ids, item.ID)
		case functionItem:
			ids = append(ids, item.ID)
		case imageItem:
			ids = append(ids, item.ID)
		}
	}
	return ids
}

// at is the response at an instant.
func (r storedResponse) at(now time.Time) responseObject {
	unfinished := r.final
	unfinished.Output, unfinished.Usage, unfinished.IncompleteDetails = []any{}, nil, nil
	switch {
	case r.canceled:
		unfinished.Status = "cancelled"
	case now.Before(r.starts):
		unfinished.Status = "queued"
	case now.Before(r.ends):
		unfinished.Status = "in_progress"
	default:
		return r.final
	}
	return unfinished
}

// Encrypted reasoning is accepted by the resource only that made it
// (docs/azure-openai.md#stateful-operations).

const sealMark = "gAAAAAB"

// sealed is an encrypted text of this resource for an item.
func (r *resource) sealed(id string) string {
	return sealMark + base64.RawURLEncoding.EncodeToString(append([]byte(id), r.seal(id)...))
}

func (r *resource) seal(id string) []byte {
	mac := hmac.New(sha256.New, []byte("account key of "+r.Name))
	mac.Write([]byte(id))
	return mac.Sum(nil)
}

// unseals reports whether an encrypted text is this resource's own.
func (r *resource) unseals(text string) bool {
	coded, ok := strings.CutPrefix(text, sealMark)
	if !ok {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil || len(raw) <= sha256.Size {
		return false
	}
	at := len(raw) - sha256.Size
	return hmac.Equal(raw[at:], r.seal(string(raw[:at])))
}

func invalidEncryptedContent(text string) *apiError {
	if len(text) > 16 {
		text = text[:16] + "..."
	}
	apiErr := invalidRequest("The encrypted content "+text+" could not be verified.", "", "invalid_encrypted_content")
	apiErr.name = "400-encrypted"
	return apiErr
}

// reasoning is the reasoning item of a response, encrypted if the request includes
// that.
func (c *call) reasoning() reasoningItem {
	item := reasoningItem{ID: c.itemID("rs_"), Type: "reasoning", Summary: []any{}}
	if slices.Contains(c.request.Include, "reasoning.encrypted_content") {
		text := c.res.sealed(item.ID)
		item.Encrypted = &text
	}
	return item
}
