package backend_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// streamOf is a chat stream with this body.
func streamOf(t *testing.T, body string) *proxy.Request {
	t.Helper()
	r := newRequest()
	r.Body = []byte(body)
	parsed, err := request.Parse(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	r.Parsed = parsed
	return r
}

// What Spillway adds is never the reason of a refusal.
func TestStreamOptionsAreLeftOutWhereTheyAreRefused(t *testing.T) {
	const body = `{"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	for name, c := range map[string]struct {
		status int
		answer string
		served bool // without stream_options
		want   int  // requests that reach the backend, of two
	}{
		"extra inputs":    {400, `{"error":{"code":"BadRequest","message":"Validation error at #/stream_options: Extra inputs are not permitted"}}`, true, 3},
		"extra_forbidden": {422, `{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}`, true, 3},
		// modelscope/ms-agent#489, openai/openai-agents-python#442, FlowiseAI/Flowise#2866,
		// microsoft/semantic-kernel#10510 and anomalyco/opencode#4698, in this order.
		"a list as a text (vLLM)":      {400, `{"object":"error","message":"[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted', 'input': {}}]","type":"BadRequestError","param":null,"code":400}`, true, 3},
		"a member of it (Mistral)":     {422, `{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options","include_usage"],"msg":"Extra inputs are not permitted","input":true}]},"type":"invalid_request_error","param":null,"code":null}`, true, 3},
		"a field (Fireworks)":          {400, `{"error":{"object":"error","type":"invalid_request_error","message":"Extra inputs are not permitted, field: 'stream_options'"}}`, true, 3},
		"a code in digits (Azure)":     {400, `{"error":{"requestid":"eea1c96d","code":400,"message":"Validation error at #/stream_options: Extra inputs are not permitted"}}`, true, 3},
		"another's error (Databricks)": {400, `{"error_code":"BAD_REQUEST","message":"{\"message\":\"extraneous key [stream_options] is not permitted\"}"}`, true, 3},
		"its name as the parameter":    {400, `{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":"stream_options","code":null}}`, true, 3},
		// QuantumNous/new-api#418, router-for-me/CLIProxyAPI#2466, NVIDIA/NemoClaw#10549,
		// continuedev/continue#12936, yym68686/ChatGPT-Telegram-Bot#101, vercel/ai#1578 and
		// ding113/claude-code-hub#662 (the last with the member that was refused there).
		"a code for it":          {400, `{"error":{"message":"Unknown parameter: 'stream_options'. (request id: 2024)","type":"invalid_request_error","param":"stream_options","code":"unknown_parameter"}}`, true, 3},
		"a detail":               {400, `{"detail":"Unsupported parameter: stream_options"}`, true, 3},
		"a validation":           {400, `{"error":{"message":"Validation: Unsupported parameter(s): ` + "`stream_options`" + `","type":"Bad Request","code":400}}`, true, 3},
		"an unknown field":       {400, `{"error_code":"BAD_REQUEST","message":"Bad request: json: unknown field \"stream_options\"\n"}`, true, 3},
		"a list (Gemini)":        {400, `[{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \"stream_options\": Cannot find field.","status":"INVALID_ARGUMENT"}}]`, true, 3},
		"a property (Groq)":      {400, `{"error":{"message":"property 'stream_options' is unsupported, did you mean 'stream'?","type":"invalid_request_error"}}`, true, 3},
		"a mistake inside a 500": {500, `{"error":{"type":"request_fail","upstream_error":{"error":{"message":"stream_options: Extra inputs are not permitted","type":"invalid_request_error"}}}}`, true, 3},
		"a method":               {405, `{"detail":"stream_options"}`, true, 3},
		"no reason":              {400, `Bad Request`, true, 3},
		"another reason":         {400, `{"error":{"message":"m","param":"temperature","code":"invalid_value"}}`, false, 2},
		"refused in any case":    {400, `{"error":{"message":"m","param":null}}`, false, 4},
		"the content filter":     {400, `{"error":{"message":"m","param":null,"code":"content_filter"}}`, false, 2},
	} {
		n := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent, _ := io.ReadAll(r.Body)
			n++
			if !c.served || strings.Contains(string(sent), "stream_options") {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.answer)
				return
			}
			if string(sent) != body {
				t.Errorf("%s: the backend received %s", name, sent)
			}
		}))
		client := newClient(t, s.URL)
		client.RequestUsage = true
		for range 2 {
			res, _ := send(t, client, newBackend(), streamOf(t, body))
			want := c.status
			if c.served {
				want = 200
			}
			if res == nil || res.StatusCode != want {
				t.Fatalf("%s: %+v, want %d", name, res, want)
			}
			if got, _ := io.ReadAll(res.Body); !c.served && string(got) != c.answer {
				t.Errorf("%s: %s", name, got)
			}
		}
		if n != c.want {
			t.Errorf("%s: %d requests, want %d", name, n, c.want)
		}
		s.Close()
	}
}

func TestStreamOptionsAreNotAddedWhereTheyAreUnknown(t *testing.T) {
	client, received := recordingServer(t)
	client.RequestUsage = true
	plain := `{"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	for name, c := range map[string]struct{ query, body string }{
		"data sources":    {"api-version=2024-10-21", `{"stream":true,"data_sources":[{"type":"azure_search"}],"messages":[]}`},
		"an image":        {"api-version=2024-10-21", `{"stream":true,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]}`},
		"an old version":  {"api-version=2024-06-01", plain},
		"odd case":        {"API-Version=2024-06-01", plain},
		"an escaped name": {"api%2Dversion=2024-06-01", plain},
	} {
		r := streamOf(t, c.body)
		r.Query = c.query
		send(t, client, newBackend(), r)
		if got := received(); got.body != c.body {
			t.Errorf("%s: the backend received %s", name, got.body)
		}
	}
	client.Targets[0].NoUsage = true
	send(t, client, newBackend(), streamOf(t, plain))
	if got := received(); got.body != plain {
		t.Errorf("where usage is not to be counted the backend received %s", got.body)
	}
}
