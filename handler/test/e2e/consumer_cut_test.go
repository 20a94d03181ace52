package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// cutAt is where callers leave a stream of one of the APIs.
type cutAt struct {
	api, path, body string // with the prompt as a format
	where           string // what they see last; "" = nothing
	parts           int    // so many of them
	exact           bool   // the usage is still read
}

// cuts are streams of each API that are left before their first byte, in their middle,
// and where they say that they have ended.
func cuts() (all []cutAt) {
	const chatBody = `{"model":"gpt-4o","stream":true,"max_tokens":300,"messages":[{"role":"user","content":%q}]}`
	for _, c := range []struct{ api, path, body, part, end string }{
		{"chat", chatPath, chatBody, `"delta":{"content"`, `"finish_reason":"stop"`},
		{"responses", responsesPath, `{"model":"gpt-4o","stream":true,"max_output_tokens":300,"input":%q}`, `"response.output_text.delta"`, `"response.completed"`},
		{"messages", messagesPath, strings.Replace(chatBody, "gpt-4o", claude, 1), `"text_delta"`, `"end_turn"`},
	} {
		all = append(all, cutAt{api: c.api, path: c.path, body: c.body})
		for _, parts := range []int{20, 60, 100} {
			all = append(all, cutAt{api: c.api, path: c.path, body: c.body, where: c.part, parts: parts})
		}
		all = append(all, cutAt{api: c.api, path: c.path, body: c.body, where: c.end, parts: 1, exact: true})
	}
	return all
}

// What is booked of streams that their callers leave is what the backend generated: to
// the token where it still told its usage, else in the sum about as much.
func TestLeftStreamsArePaid(t *testing.T) {
	t.Parallel()
	leftStreams(t, 4, 20, math.Inf(1)) // the estimate goes by time, which a busy machine takes
}

func TestSoakLeftStreamsArePaid(t *testing.T) {
	soakOnly(t)
	leftStreams(t, 330, 10, 10)
}

// leftStreams leaves so many streams of each kind, and compares the sums of those that
// were estimated: by how many percent they may be less, and more.
func leftStreams(t *testing.T, each int, least, most float64) {
	t.Helper()
	var consumers []map[string]any
	all := cuts()
	for i, c := range all {
		consumers = append(consumers, map[string]any{"name": cutter(c, i), "tokensPerMonth": 100_000_000})
	}
	s := metered(consumers...)
	s.journal = 0
	s.backends = []backend{{name: "a", priority: 1, models: []string{"gpt-4o", claude}, deployment: simulator.Deployment{AnswerTokens: 150, TimeToFirstToken: 300 * time.Millisecond, PerToken: 10 * time.Millisecond}}}
	s.env = append(s.env, "SPILLWAY_OPERATOR_KEY="+accountingOperatorKey)
	c := startConsumerFleet(t, 1, s)
	for i, at := range all { // one kind at a time: a busy machine delays both ends of a stream
		var running sync.WaitGroup
		c.leave(at, cutter(at, i), "in whole", 0)
		for n := range each {
			running.Go(func() { c.leave(at, cutter(at, i), "leaves", n) })
			if n%8 == 7 {
				running.Wait()
			}
		}
		running.Wait()
	}
	for i, at := range all {
		c.compareLeft(t, at, cutter(at, i), each, least, most)
	}
}

func cutter(c cutAt, i int) string { return fmt.Sprintf("%s%d", c.api, i) }

// leave reads a stream, to its end or to where its caller leaves.
func (c *consumerFleet) leave(at cutAt, consumer, how string, n int) {
	c.t.Helper()
	ctx, leave := context.WithCancel(c.t.Context())
	defer leave()
	prompt := fmt.Sprintf("from %s: %s %d", consumer, how, n)
	if how == "leaves" && at.where == "" {
		go func() { // the first byte takes a while from here
			_, _ = c.sim.WaitJournal(ctx, func(e simulator.Entry) bool { return strings.Contains(string(e.Body), prompt+`"`) })
			leave()
		}()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.hosts[0].URL+at.path, strings.NewReader(fmt.Sprintf(at.body, prompt)))
	if err != nil {
		c.t.Error(err)
		return
	}
	for name, value := range map[string]string{"Api-Key": keyOf(consumer), "Content-Type": "application/json", "Anthropic-Version": "2023-06-01"} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return // left before the first byte
	}
	defer res.Body.Close()
	seen := 0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if how == "leaves" && at.where != "" && strings.HasPrefix(lines.Text(), "data:") && strings.Contains(lines.Text(), at.where) {
			if seen++; seen == at.parts {
				return
			}
		}
	}
}

// compareLeft compares what is booked of a consumer with what the backend generated.
func (c *consumerFleet) compareLeft(t *testing.T, at cutAt, consumer string, each int, least, most float64) {
	t.Helper()
	generated := func() (prompt, completion int64, requests int) {
		for _, e := range c.sim.Journal() {
			if e.Method == http.MethodPost && strings.Contains(string(e.Body), "from "+consumer+":") {
				prompt, completion, requests = prompt+int64(e.PromptTokens), completion+int64(e.CompletionTokens), requests+1
			}
		}
		return prompt, completion, requests
	}
	var booked bookedUsage
	prompt, completion, requests := generated()
	settled := func() bool {
		booked = c.books(t)[consumer]
		prompt, completion, requests = generated()
		if at.exact {
			return booked.Prompt == prompt && booked.Completion == completion && booked.EstimatedPrompt == 0
		}
		// An aborted stream that was never answered is booked by its prompt.
		return booked.EstimatedPrompt*10 >= (prompt-prompt/int64(requests))*7
	}
	for deadline := time.Now().Add(20 * time.Second); !settled() && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	off := percent(booked.Completion-completion, completion)
	t.Logf("%s, left at %q × %d: %d requests, generated %d and booked %d (%+.1f %%), estimated %d", at.api, at.where, at.parts, requests, completion, booked.Completion, off, booked.EstimatedCompletion)
	switch {
	case requests != each+1:
		t.Errorf("%s, left at %q: %d requests at the backend, want %d", at.api, at.where, requests, each+1)
	case at.exact && off != 0, off > most, off < -least:
		t.Errorf("%s, left at %q: %+.1f %% booked", at.api, at.where, off)
	case !at.exact && booked.EstimatedPrompt == 0 && int64(requests)*150 > completion: // else all had ended before anybody left
		t.Errorf("%s, left at %q: nothing is estimated", at.api, at.where)
	}
}
