package backend_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"spillway/handler/internal/openai/request"
)

// The bound of an answer that a consumer's largest request makes Spillway add is never
// the reason of a refusal, and is not left out where the backend takes it in another
// form.
func TestBoundOfTheAnswerIsNoReasonOfARefusal(t *testing.T) {
	const body = `{"messages":[{"role":"user","content":"hi"}]}`
	const newer, older = `{"max_completion_tokens":90000,"messages":[{"role":"user","content":"hi"}]}`, `{"max_tokens":90000,"messages":[{"role":"user","content":"hi"}]}`
	for name, c := range map[string]struct {
		status  int
		refusal string
		refused []string // the bodies that get it
		want    []string
	}{
		// editor-code-assistant/eca#315 (Mistral), voideditor/void#128 (vLLM), ChatGPTNextWeb/NextChat#3195
		// (twice), claude-code-best/claude-code#272 (vLLM), Gitlawb/openclaude#331 (Doubao) and
		// aws-samples/bedrock-access-gateway#41, in this order.
		"an unknown member":    {422, `{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","input":90000}]},"type":"invalid_request_error","param":null,"code":null}`, []string{newer}, []string{newer, older}},
		"an unknown parameter": {400, `{"error":{"message":"Unknown parameter: 'max_completion_tokens'.","type":"invalid_request_error","param":"max_completion_tokens","code":"unknown_parameter"}}`, []string{newer}, []string{newer, older}},
		"above the model's":    {400, `{"error":{"message":"max_tokens is too large: 90000. This model supports at most 16384 completion tokens, whereas you provided 90000.","type":"invalid_request_error","param":"max_tokens","code":"invalid_value"}}`, []string{newer}, []string{newer, body}},
		"above the context": {
			400, `{"error":{"message":"This model's maximum context length is 8192 tokens. However, you requested 90009 tokens (9 in the messages, 90000 in the completion).","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`,
			[]string{newer},
			[]string{newer, body},
		},
		"above what is left": {
			400, `{"error":{"message":"'max_tokens' or 'max_completion_tokens' is too large: 90000. This model's maximum context length is 64001 tokens and your request has 9 input tokens","type":"BadRequestError","param":null,"code":400}}`,
			[]string{newer},
			[]string{newer, body},
		},
		"above a maximum":              {400, `{"error":{"code":"InvalidParameter","message":"The parameter max_completion_tokens specified in the request are not valid: integer above maximum value, expected a value <= 12288","param":"max_completion_tokens"}}`, []string{newer}, []string{newer, body}},
		"a limit of Bedrock":           {400, `{"detail":"The maximum tokens you requested exceeds the model limit of 2048."}`, []string{newer}, []string{newer, body}},
		"one form, and too much of it": {400, `{"error":{"message":"max_tokens must be at most 4096","type":"x"}}`, []string{newer, older}, []string{newer, body}},
		"refused in any case":          {400, `{"error":{"message":"max_tokens is too large","param":"max_tokens"}}`, []string{newer, older, body}, []string{newer, body}},
		"no form is known":             {400, `{"error":{"message":"Unknown parameter: 'max_completion_tokens' or 'max_tokens'","param":null}}`, []string{newer, older, body}, []string{newer, older}},
		"another reason":               {400, `{"error":{"message":"m","param":"temperature"}}`, []string{newer, older, body}, []string{newer}},
	} {
		var got []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent, _ := io.ReadAll(r.Body)
			got = append(got, string(sent))
			for _, refused := range c.refused {
				if string(sent) == refused {
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.refusal)
				}
			}
		}))
		r := streamOf(t, body)
		r.AnswerBound = request.Bound{Member: request.MaxCompletionTokens, Tokens: 90_000}
		send(t, newClient(t, s.URL), newBackend(), r)
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s: the backend received\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		s.Close()
	}
}
