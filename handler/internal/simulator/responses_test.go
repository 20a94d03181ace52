package simulator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

const responsesPath = "/openai/v1/responses"

// response is the part of a Responses object that these tests read.
type response struct {
	ID         string `json:"id"`
	Status     string `json:"status"`
	Background bool   `json:"background"`
	Output     []struct {
		ID        string `json:"id"`
		Type      string `json:"type"`
		Encrypted string `json:"encrypted_content"`
		Arguments string `json:"arguments"`
		Content   []struct {
			Text string `json:"text"`
		} `json:"content"`
	} `json:"output"`
	Incomplete *struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
	Usage *struct {
		Input  int `json:"input_tokens"`
		Output int `json:"output_tokens"`
		Total  int `json:"total_tokens"`
	} `json:"usage"`
}

func responded(t *testing.T, r reply) response {
	t.Helper()
	var out response
	if err := json.Unmarshal([]byte(r.body), &out); err != nil || r.status != 200 {
		t.Fatalf("got %d %s: %v", r.status, r.body, err)
	}
	return out
}

// requestBody posts a Responses request with more fields than model and input.
func requestBody(more string) string {
	return `{"model":"gpt-4o","input":"Where does the water go?"` + more + `}`
}

// get sends a request without a body.
func get(t *testing.T, s *simulator.Service, method, resource, path string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL(resource)+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Api-Key", "key-"+resource)
	res, err := keepAlive(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, string(body), err}
}

func TestResponsesBelongToOneResource(t *testing.T) {
	s := simulator.Start(t, pool())
	first := responded(t, post(t, s, "payg", responsesPath, requestBody("")))
	if first.Status != "completed" || first.Usage.Output != 16 || first.Usage.Total != first.Usage.Input+16 {
		t.Errorf("got %+v", first)
	}
	follow := requestBody(`,"previous_response_id":"` + first.ID + `"`)
	missing := `{"error":{"message":"Previous response with id '` + first.ID + `' not found.","type":"invalid_request_error","param":"previous_response_id","code":"previous_response_not_found"}}`
	unknown := `{"error":{"message":"Response with id '` + first.ID + `' not found.","type":"invalid_request_error","param":null,"code":null}}`
	if r := post(t, s, "payg", responsesPath, follow); r.status != 200 {
		t.Errorf("at home: got %d %s", r.status, r.body)
	}
	if r := post(t, s, "ptu", responsesPath, follow); r.status != 400 || r.body != missing {
		t.Errorf("elsewhere: got %d %s, want 400 %s", r.status, r.body, missing)
	}
	at := responsesPath + "/" + first.ID
	if got := responded(t, get(t, s, "GET", "payg", at)); got.Output[0].Content[0].Text != first.Output[0].Content[0].Text {
		t.Errorf("read back: got %+v", got)
	}
	for _, verb := range []string{"GET", "DELETE"} {
		if r := get(t, s, verb, "ptu", at); r.status != 404 || r.body != unknown {
			t.Errorf("%s elsewhere: got %d %s", verb, r.status, r.body)
		}
	}
	if r := get(t, s, "GET", "payg", at+"/input_items"); r.status != 200 || !strings.Contains(r.body, "Where does the water go?") {
		t.Errorf("input items: got %d %s", r.status, r.body)
	}
	if r := get(t, s, "DELETE", "payg", at); r.status != 200 || !strings.Contains(r.body, `"deleted":true`) {
		t.Errorf("delete: got %d %s", r.status, r.body)
	}
	if r := get(t, s, "GET", "payg", at); r.status != 404 {
		t.Errorf("after delete: got %d", r.status)
	}
}

func TestResponsesOnTheClassicPath(t *testing.T) {
	s := simulator.Start(t, pool())
	if r := post(t, s, "payg", "/openai/responses?api-version=2025-04-01-preview", requestBody("")); r.status != 200 {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r := post(t, s, "payg", "/openai/responses", requestBody("")); r.status != 404 {
		t.Errorf("without api-version: got %d", r.status)
	}
	if r := post(t, s, "payg", responsesPath, strings.Replace(requestBody(""), "gpt-4o", "text-embedding-3-large", 1)); r.status != 400 || !strings.Contains(r.body, "Model not supported") {
		t.Errorf("model without Responses: got %d %s", r.status, r.body)
	}
}

func TestUnstoredResponseIsNotFound(t *testing.T) {
	s := simulator.Start(t, pool())
	first := responded(t, post(t, s, "payg", responsesPath, requestBody(`,"store":false`)))
	if r := post(t, s, "payg", responsesPath, requestBody(`,"previous_response_id":"`+first.ID+`"`)); r.status != 400 {
		t.Errorf("got %d", r.status)
	}
	item := first.Output[0].ID
	r := post(t, s, "payg", responsesPath, `{"model":"gpt-4o","input":[{"type":"item_reference","id":"`+item+`"}]}`)
	if r.status != 400 || !strings.Contains(r.body, "Item with id '"+item+"' not found. Items are not persisted when 'store' is set to false.") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r := post(t, s, "payg", responsesPath, requestBody(`,"store":false,"background":true`)); r.status != 400 {
		t.Errorf("background without store: got %d", r.status)
	}
	stored := responded(t, post(t, s, "payg", responsesPath, requestBody("")))
	if r := post(t, s, "payg", responsesPath, `{"model":"gpt-4o","input":[{"type":"item_reference","id":"`+stored.Output[0].ID+`"}]}`); r.status != 200 {
		t.Errorf("stored item: got %d %s", r.status, r.body)
	}
}

func TestStoreDelay(t *testing.T) {
	c := newClock()
	s := simulator.New(simulator.Config{Now: c.Now, Resources: []simulator.Resource{{
		Name: "one", Auth: simulator.AuthAnonymous, StoreDelay: time.Second,
		Deployments: []simulator.Deployment{{Name: "gpt-4o", Model: "gpt-4o"}},
	}}})
	first := responded(t, call(t, s, responsesPath, requestBody("")))
	follow := requestBody(`,"previous_response_id":"` + first.ID + `"`)
	if r := call(t, s, responsesPath, follow); r.status != 400 || !strings.Contains(r.body, "previous_response_not_found") {
		t.Errorf("at once: got %d", r.status)
	}
	c.pass(time.Second)
	if r := call(t, s, responsesPath, follow); r.status != 200 {
		t.Errorf("later: got %d", r.status)
	}
}

func TestEncryptedReasoningBelongsToOneResource(t *testing.T) {
	cfg := pool()
	for i := range cfg.Resources {
		cfg.Resources[i].Deployments[0].ReasoningTokens = 8
	}
	s := simulator.Start(t, cfg)
	first := responded(t, post(t, s, "payg", responsesPath, requestBody(`,"store":false,"include":["reasoning.encrypted_content"]`)))
	text := first.Output[0].Encrypted
	if first.Output[0].Type != "reasoning" || !strings.HasPrefix(text, "gAAA") {
		t.Fatalf("got %+v", first.Output)
	}
	carry := func(text string) string {
		return fmt.Sprintf(`{"model":"gpt-4o","store":false,"input":[{"type":"reasoning","id":%q,"summary":[],"encrypted_content":%q}]}`, first.Output[0].ID, text)
	}
	if r := post(t, s, "payg", responsesPath, carry(text)); r.status != 200 {
		t.Errorf("at home: got %d %s", r.status, r.body)
	}
	for name, r := range map[string]reply{
		"elsewhere": post(t, s, "ptu", responsesPath, carry(text)),
		"forged":    post(t, s, "payg", responsesPath, carry(text[:len(text)-2]+"AA")),
		"nonsense":  post(t, s, "payg", responsesPath, carry("gAAAnonsense")),
	} {
		if r.status != 400 || !regexp.MustCompile(`^\{"error":\{"message":"The encrypted content gAAA\S* could not be verified\.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"\}\}$`).MatchString(r.body) {
			t.Errorf("%s: got %d %s", name, r.status, r.body)
		}
	}
	without := responded(t, post(t, s, "payg", responsesPath, requestBody("")))
	if without.Output[0].Encrypted != "" {
		t.Error("encrypted content came unasked for")
	}
}

func TestBackgroundResponseStatus(t *testing.T) {
	s, clock := one(simulator.Deployment{TimeToFirstToken: time.Second, PerToken: time.Second, AnswerTokens: 11})
	status := func(id string) string {
		return responded(t, callMethod(t, s, http.MethodGet, responsesPath+"/"+id)).Status
	}
	first := responded(t, call(t, s, responsesPath, requestBody(`,"background":true`)))
	if first.Status != "queued" || !first.Background || first.Usage != nil {
		t.Fatalf("got %+v", first)
	}
	clock.pass(500 * time.Millisecond)
	if got := status(first.ID); got != "queued" {
		t.Errorf("after 0.5 s: %s", got)
	}
	clock.pass(5 * time.Second)
	if got := status(first.ID); got != "in_progress" {
		t.Errorf("after 5.5 s: %s", got)
	}
	clock.pass(6 * time.Second)
	if got := status(first.ID); got != "completed" {
		t.Errorf("after 11.5 s: %s", got)
	}
	second := responded(t, call(t, s, responsesPath, requestBody(`,"background":true`)))
	for range 2 {
		if got := responded(t, callMethod(t, s, http.MethodPost, responsesPath+"/"+second.ID+"/cancel")); got.Status != "cancelled" {
			t.Errorf("cancel: %s", got.Status)
		}
	}
	clock.pass(time.Hour)
	if got := status(second.ID); got != "cancelled" {
		t.Errorf("an hour after cancel: %s", got)
	}
	if r := callMethod(t, s, http.MethodPost, responsesPath+"/"+first.ID+"/cancel"); responded(t, r).Status != "completed" {
		t.Errorf("cancel after the end: %s", r.body)
	}
	// A synchronous response takes real time.
	if err := s.SetDeployment("one", "gpt-4o", func(d *simulator.Deployment) { d.TimeToFirstToken, d.PerToken = 0, 0 }); err != nil {
		t.Fatal(err)
	}
	third := responded(t, call(t, s, responsesPath, requestBody("")))
	if r := callMethod(t, s, http.MethodPost, responsesPath+"/"+third.ID+"/cancel"); r.status != 400 {
		t.Errorf("cancel a synchronous one: got %d", r.status)
	}
}

// kinds are the events of a Responses stream, in order, runs of one counted once.
func kinds(t *testing.T, body string) []string {
	t.Helper()
	var out []string
	for i, data := range events(t, body) {
		var ev struct {
			Type   string `json:"type"`
			Number int    `json:"sequence_number"`
		}
		if err := json.Unmarshal([]byte(data), &ev); err != nil {
			t.Fatalf("event %d: %v in %s", i, err, data)
		}
		if !strings.Contains(body, "event: "+ev.Type+"\ndata: "+data+"\n\n") {
			t.Errorf("event %d has another name than its type %s", i, ev.Type)
		}
		if ev.Number != i {
			t.Errorf("event %d has sequence number %d", i, ev.Number)
		}
		if len(out) == 0 || out[len(out)-1] != ev.Type {
			out = append(out, ev.Type)
		}
	}
	return out
}

var wholeStream = []string{
	"response.created", "response.in_progress", "response.output_item.added", "response.content_part.added", "response.output_text.delta",
	"response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
}

func TestResponsesStreamEvents(t *testing.T) {
	s := simulator.Start(t, pool())
	r := post(t, s, "payg", responsesPath, requestBody(`,"stream":true`))
	if got := kinds(t, r.body); !slices.Equal(got, wholeStream) {
		t.Errorf("got %v", got)
	}
	if strings.Contains(r.body, "[DONE]") {
		t.Error("the Responses stream has no [DONE]")
	}
	plain := responded(t, post(t, s, "payg", responsesPath, requestBody("")))
	if !strings.Contains(r.body, `"text":"`+plain.Output[0].Content[0].Text+`"`) {
		t.Error("streamed and plain tell different things")
	}
}

func TestStreamResumesAfterSequenceNumber(t *testing.T) {
	s := simulator.Start(t, pool())
	r := post(t, s, "payg", responsesPath, requestBody(`,"stream":true,"background":true`))
	id := regexp.MustCompile(`resp_[0-9a-f]+`).FindString(r.body)
	rest := get(t, s, "GET", "payg", responsesPath+"/"+id+"?stream=true&starting_after=7")
	_, want, _ := strings.Cut(r.body, `"sequence_number":7,`)
	_, want, _ = strings.Cut(want, "\n\n")
	if rest.status != 200 || rest.body != want || want == "" {
		t.Errorf("got %d %s\nwant %s", rest.status, rest.body, want)
	}
	plain := responded(t, post(t, s, "payg", responsesPath, requestBody("")))
	if r := get(t, s, "GET", "payg", responsesPath+"/"+plain.ID+"?stream=true"); r.status != 400 {
		t.Errorf("a response that was not streamed: got %d", r.status)
	}
}

func TestDisconnectCancelsSynchronousStream(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Deployments[0].PerToken = time.Hour
	s := simulator.Start(t, cfg)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	go func() { _, _ = do(ctx, s, "payg", responsesPath, requestBody(`,"stream":true`)) }()
	waitCtx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.WaitJournal(waitCtx, func(e simulator.Entry) bool { return e.CompletionTokens == 1 }); err != nil {
		t.Fatal(err)
	}
	leave()
	e, err := s.WaitDisconnect(waitCtx, "payg")
	if err != nil || e.CompletionTokens != 1 {
		t.Errorf("got %v, %d tokens", err, e.CompletionTokens)
	}
}

func TestResponsesOutputLimit(t *testing.T) {
	s := simulator.Start(t, pool())
	plain := responded(t, post(t, s, "payg", responsesPath, requestBody(`,"max_output_tokens":5`)))
	if plain.Status != "incomplete" || plain.Incomplete.Reason != "max_output_tokens" || plain.Usage.Output != 5 {
		t.Errorf("got %+v", plain)
	}
	got := kinds(t, post(t, s, "payg", responsesPath, requestBody(`,"stream":true,"max_output_tokens":5`)).body)
	if got[len(got)-1] != "response.incomplete" {
		t.Errorf("the stream ends with %s", got[len(got)-1])
	}
}

func TestResponsesFunctionCalls(t *testing.T) {
	s := simulator.Start(t, pool())
	const tool = `,"tool_choice":"required","tools":[{"type":"function","name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}]`
	plain := responded(t, post(t, s, "payg", responsesPath, requestBody(tool)))
	if plain.Output[0].Type != "function_call" || plain.Output[0].Arguments != `{"city":"water"}` {
		t.Errorf("got %+v", plain.Output)
	}
	got := kinds(t, post(t, s, "payg", responsesPath, requestBody(`,"stream":true`+tool)).body)
	want := []string{
		"response.created", "response.in_progress", "response.output_item.added", "response.function_call_arguments.delta",
		"response.function_call_arguments.done", "response.output_item.done", "response.completed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestImageToolDeployment(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Deployments = append(cfg.Resources[1].Deployments, simulator.Deployment{Name: "pictures", Model: "gpt-image-1"})
	s := simulator.Start(t, cfg)
	const tool = `,"tools":[{"type":"image_generation"}]`
	if r := post(t, s, "payg", responsesPath, requestBody(tool), "x-ms-oai-image-generation-deployment", "pictures"); r.status != 200 || !strings.Contains(r.body, "image_generation_call") {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if r := post(t, s, "ptu", responsesPath, requestBody(tool), "x-ms-oai-image-generation-deployment", "pictures"); r.status != 404 {
		t.Errorf("elsewhere: got %d", r.status)
	}
}

func TestCompactionBelongsToOneResource(t *testing.T) {
	s := simulator.Start(t, pool())
	r := post(t, s, "payg", responsesPath+"/compact", requestBody(""))
	text := regexp.MustCompile(`"encrypted_content":"([^"]+)"`).FindStringSubmatch(r.body)
	if r.status != 200 || text == nil {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	item := fmt.Sprintf(`{"model":"gpt-4o","input":[{"type":"compaction","encrypted_content":%q}]}`, text[1])
	if r := post(t, s, "payg", responsesPath, item); r.status != 200 {
		t.Errorf("at home: got %d %s", r.status, r.body)
	}
	if r := post(t, s, "ptu", responsesPath, item); r.status != 400 {
		t.Errorf("elsewhere: got %d", r.status)
	}
}
