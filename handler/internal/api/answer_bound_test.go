package api_test

import (
	"context"
	"strings"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// On every surface, what a backend may make of a request is within the largest that its
// consumer may send, or the request counts as larger.
func TestEveryAnswerIsBounded(t *testing.T) {
	const most = 1000
	d := newFenced(t, &consumer.Consumer{Name: "x", MaxRequestTokens: most}, model("m", balancer.Backend{Name: "a", Weight: 1}))
	var sent *proxy.Request
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		sent = r
		return serve(ctx, pools, deliver)
	}
	const chat, responses, completions, messages = "/openai/v1/chat/completions", "/openai/v1/responses", "/openai/v1/completions", "/anthropic/v1/messages"
	const own, added, larger = 0, 1, 2
	for _, c := range []struct {
		path, members string
		want          int
		member        request.OutputMember
	}{
		{messages, ``, added, request.MaxTokens},
		{messages, `,"max_tokens":0`, added, request.MaxTokens},
		{messages, `,"max_tokens":-1`, added, request.MaxTokens},
		{messages, `,"max_tokens":null`, added, request.MaxTokens},
		{messages, `,"max_tokens":100`, own, 0},
		{messages, `,"max_tokens":100,"thinking":{"type":"enabled","budget_tokens":50000}`, larger, 0},
		{messages, `,"thinking":{"type":"enabled","budget_tokens":500}`, added, request.MaxTokens},
		{messages, `,"thinking":{"type":"enabled","budget_tokens":50000}`, larger, 0},
		{chat, ``, added, request.MaxCompletionTokens},
		{chat, `,"max_tokens":5,"max_completion_tokens":-1`, added, request.MaxCompletionTokens},
		{chat, `,"max_tokens":-1,"max_completion_tokens":5`, added, request.MaxCompletionTokens},
		{chat, `,"max_tokens":5,"max_completion_tokens":null`, own, 0},
		{chat, `,"max_tokens":5,"max_completion_tokens":5000`, larger, 0},
		{chat, `,"max_tokens":5,"n":900`, larger, 0},
		{chat, `,"max_tokens":5,"best_of":900`, larger, 0},
		{chat, `,"max_tokens":5,"n_cmpl":900`, larger, 0},
		{chat, `,"max_tokens":5,"n_predict":-1`, larger, 0},
		{chat, `,"max_tokens":5,"n_predict":5000`, larger, 0},
		{chat, `,"max_tokens":5,"n_predict":50`, own, 0},
		{chat, `,"n_predict":50`, added, request.MaxCompletionTokens},
		{chat, `,"max_tokens":5,"maxNewTokens":"many"`, larger, 0},
		{chat, `,"max_tokens":5,"options":{"num_predict":-1}`, larger, 0},
		{chat, `,"max_tokens":0.5`, own, 0},
		{chat, `,"max_tokens":1e5`, larger, 0},
		{responses, ``, added, request.MaxOutputTokens},
		{responses, `,"max_output_tokens":0`, added, request.MaxOutputTokens},
		{responses, `,"max_tokens":5`, added, request.MaxOutputTokens},
		{responses, `,"max_output_tokens":16`, own, 0},
		{completions, `,"max_tokens":-1`, added, request.MaxTokens},
		{completions, `,"max_completion_tokens":5`, added, request.MaxTokens},
		{completions, `,"max_tokens":5,"best_of":300`, larger, 0},
	} {
		sent = nil
		body := `{"model":"m"` + c.members + `}`
		res, text := d.send(t, "POST", c.path, body, "Api-Key", "k")
		if res.StatusCode != 200 || sent == nil {
			t.Errorf("%s %s: %d %s", c.path, body, res.StatusCode, text)
			continue
		}
		got := own
		switch {
		case sent.Tokens > most: // the reservation refuses it
			got = larger
		case sent.AnswerBound.Tokens > 0:
			got = added
		}
		if got != c.want || got == added && (sent.AnswerBound.Member != c.member || sent.AnswerBound.Tokens > most) {
			t.Errorf("%s %s: %d tokens, bound %+v", c.path, body, sent.Tokens, sent.AnswerBound)
		}
	}
	for _, members := range []string{`"max_tokens":"5"`, `"max_tokens":1e30`, `"max_tokens":[5]`, `"max_completion_tokens":{}`, `"n":"2"`, `"Max_Tokens":5`, `"maxCompletionTokens":5`} {
		if res, text := d.send(t, "POST", chat, `{"model":"m",`+members+`}`, "Api-Key", "k"); res.StatusCode != 400 {
			t.Errorf("%s: %d %s", members, res.StatusCode, text)
		}
	}
}

// The model reads more of a form than its prompt.
func TestFieldsOfAFormAreMeasured(t *testing.T) {
	d := newFenced(t, &consumer.Consumer{Name: "x", MaxRequestTokens: 1000}, model("m", balancer.Backend{Name: "a", Weight: 1}))
	var tokens int64
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		tokens = r.Tokens
		return serve(ctx, pools, deliver)
	}
	long := strings.Repeat("word ", 8000)
	for _, c := range []struct {
		field, value string
		larger       bool
	}{
		{"prompt", long, true},
		{"instructions", long, true},
		{"x", long, true},
		{"glossary[]", long, true},
		{"config", `{"x":"` + long + `"}`, true},
		{"metadata[a]", long, false},
		{"instructions", "Be brief.", false},
	} {
		body, contentType := uploadForm("sound", []string{"model", "m", c.field, c.value}, nil)
		if res, text := d.send(t, "POST", "/v1/audio/transcriptions", body, "Api-Key", "k", "Content-Type", contentType); res.StatusCode != 200 || (tokens > 1000) != c.larger {
			t.Errorf("%s: %d tokens, %d %s", c.field, tokens, res.StatusCode, text)
		}
	}
}
