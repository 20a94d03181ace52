package e2e_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// Over quota, and still a 200 (docs/azure-openai.md#429-inside-a-stream).
func TestInStream429FailsOverSilently(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]simulator.Fault{
		"chat":           {Action: "stream-429"},
		"with the hint":  {Action: "stream-429", RetryAfter: time.Minute},
		"flat":           {Action: "stream-429", Flat: true},
		"error, failed":  {Action: "stream-429", Order: "error-failed"},
		"failed, error":  {Action: "stream-429", Order: "failed-error"},
		"created, error": {Action: "stream-429", Order: "created-error-failed", BigCreated: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, setup{})
			r.sim.Next("ptu", f)
			a := r.post(chatPath, helloSSE)
			if a.status != 200 || a.err != nil || !strings.HasPrefix(a.backend(), "payg") || strings.Contains(a.body, "error") {
				t.Errorf("%d by %q, %v:\n%s", a.status, a.backend(), a.err, a.body)
			}
			if b := r.post(chatPath, hello); !strings.HasPrefix(b.backend(), "payg") {
				t.Errorf("the throttle was not remembered: %q served", b.backend())
			}
		})
	}
}

func TestServerErrorBeforeTheFirstTokenFailsOver(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"stream-error", "stream-404", "hang-after-headers"} {
		r := start(t, setup{env: []string{"SPILLWAY_FIRST_TOKEN_TIMEOUT=3s"}})
		r.sim.Next("ptu", simulator.Fault{Action: action})
		if a := r.post(chatPath, helloSSE); a.status != 200 || a.err != nil || !strings.HasPrefix(a.backend(), "payg") {
			t.Errorf("%s: %d by %q, %v", action, a.status, a.backend(), a.err)
		}
	}
}

// A stream that breaks after its first token ends in an error event and an
// aborted connection, never in a clean end.
func TestBrokenStreamIsNeverASilentTruncation(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"cut-clean", "cut-abort", "cut-reset", "stream-error"} {
		t.Run(action, func(t *testing.T) {
			r := start(t, setup{})
			r.sim.Next("ptu", simulator.Fault{Action: action, Chunks: 3})
			a := r.post(chatPath, helloSSE)
			if a.err == nil {
				t.Error("the connection ended cleanly")
			}
			if !strings.Contains(a.body, `data: {"error":`) || strings.Contains(a.body, "[DONE]") {
				t.Errorf("the stream does not end in an error event:\n%s", a.body)
			}
		})
	}
}

func TestStreamThatOnlyLacksDoneIsComplete(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	r.sim.Next("ptu", simulator.Fault{Action: "no-done"})
	if a := r.post(chatPath, helloSSE); a.err != nil || !strings.Contains(a.body, `"finish_reason":"stop"`) {
		t.Errorf("%v: %s", a.err, a.body)
	}
}

func TestCallerDisconnectCancelsTheBackend(t *testing.T) {
	t.Parallel()
	backends := threeBackends()
	backends[0].deployment.PerToken, backends[0].deployment.AnswerTokens = 20*time.Millisecond, 1000
	r := start(t, setup{backends: backends})
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.host.URL+chatPath, strings.NewReader(helloSSE))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	left := time.Now()
	leave()
	wait, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := r.sim.WaitDisconnect(wait, "ptu")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the backend saw it after %v", e.DisconnectedAt.Sub(left))
	if took := e.DisconnectedAt.Sub(left); tooLate(t, took, 100*time.Millisecond) {
		t.Errorf("the backend saw the caller leave after %v, want within 100ms", took)
	}
	// A disconnect is no failure of the backend. A short answer is enough to see that.
	if a := r.post(chatPath, strings.Replace(hello, `{`, `{"max_tokens":1,`, 1)); a.status != http.StatusOK || a.backend() != "ptu" {
		t.Errorf("%d by %q, want 200 by ptu: %s", a.status, a.backend(), a.body)
	}
}

func TestEachEventIsFlushedAsItArrives(t *testing.T) {
	t.Parallel()
	const sent = 5
	r := start(t, setup{})
	r.sim.Next("ptu", simulator.Fault{Action: "hang-mid-stream", Chunks: sent, Hold: 5 * time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.host.URL+chatPath, strings.NewReader(helloSSE))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	arrived := 0
	for lines := bufio.NewScanner(res.Body); arrived < sent && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data: ") {
			arrived++
		}
	}
	if arrived < sent {
		t.Errorf("%d of %d events arrived while the backend was silent", arrived, sent)
	}
}

func TestInjectedUsageIsStripped(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	a := r.post(chatPath, helloSSE)
	if strings.Contains(a.body, `"prompt_tokens"`) {
		t.Errorf("the caller sees a usage chunk it did not ask for:\n%s", a.body)
	}
	sent := string(r.sim.Journal()[0].Body)
	if !strings.Contains(sent, `"include_usage":true`) {
		t.Errorf("the backend was not asked for usage: %s", sent)
	}
	asked := strings.Replace(helloSSE, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	if a := r.post(chatPath, asked); !strings.Contains(a.body, `"prompt_tokens"`) {
		t.Errorf("the caller lacks the usage chunk it asked for:\n%s", a.body)
	}
	if sent := string(r.sim.Journal()[1].Body); sent != asked {
		t.Errorf("the body was changed: %s", sent)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	line, err := r.host.WaitLine(ctx, `"completion_tokens"`)
	if err != nil || !strings.Contains(line.Text, `"backend":"ptu"`) {
		t.Errorf("log line %v, %v: want the usage of the stream", line, err)
	}
}

func TestHeartbeatsDuringSilence(t *testing.T) {
	t.Parallel()
	r := start(t, setup{env: []string{"SPILLWAY_HEARTBEAT=1s"}})
	r.sim.Next("ptu", simulator.Fault{Action: "hang-mid-stream", Chunks: 2, Hold: 2500 * time.Millisecond})
	a := r.post(chatPath, helloSSE)
	if n := strings.Count(a.body, "\n:") + strings.Count(a.body, ": keep"); n == 0 {
		t.Errorf("no heartbeat in:\n%s", a.body)
	}
}

func TestSlowFirstTokenGoesToTheNextBackend(t *testing.T) {
	t.Parallel()
	r := start(t, setup{env: []string{"SPILLWAY_FIRST_TOKEN_TIMEOUT=3s"}})
	r.sim.Next("ptu", simulator.Fault{Action: "hang-before-headers"})
	if a := r.post(chatPath, helloSSE); a.status != 200 || !strings.HasPrefix(a.backend(), "payg") {
		t.Errorf("%d by %s, want the next backend", a.status, a.backend())
	}
}

// A stream's first token timeout is shorter than the response timeout here, so
// the first backend leaves the second one a part of it.
func TestResponseTimeoutIsAnsweredByTheGateway(t *testing.T) {
	t.Parallel()
	r := start(t, setup{env: []string{"SPILLWAY_FIRST_TOKEN_TIMEOUT=500ms", "SPILLWAY_RESPONSE_TIMEOUT=800ms"}})
	for _, body := range []string{hello, helloSSE} {
		for _, backend := range []string{"ptu", "payg1", "payg2"} {
			r.sim.Next(backend, simulator.Fault{Action: "hang-before-headers"})
		}
		if a := r.post(chatPath, body); a.status != http.StatusGatewayTimeout || !strings.Contains(a.body, `"code":"upstream_timeout"`) {
			t.Errorf("%d: %s, want 504 upstream_timeout", a.status, a.body)
		}
	}
}

// A forwarding host buffers, which is slow but must be right.
func TestForwardingHostAnswersCorrectly(t *testing.T) {
	t.Parallel()
	s := setup{}
	s.host.Forward = true
	r := start(t, s)
	r.wantServedBy("ptu")
	if a := r.post(chatPath, helloSSE); a.status != 200 || !strings.HasSuffix(a.body, "data: [DONE]\n\n") {
		t.Errorf("%d: %s", a.status, a.body)
	}
}
