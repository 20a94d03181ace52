package api_test

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// exampleIDs has an id for each parameter of a path that is not one of everything.
var exampleIDs = map[string]string{"{fine_tuned_model_checkpoint}": "ft:gpt-4o-mini:contoso::7p4lURel:ckpt-step-100", "{version}": "2"}

var pathParameter = regexp.MustCompile(`\{[a-z_]+\}`)

// Every operation of the published API is served, pinned or refused with a true
// sentence: by the table, in each family of URLs without a deployment.
func TestEveryPublishedOperation(t *testing.T) {
	text, err := os.ReadFile("testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	d := newFenced(t, nil, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1, Stateful: true}))
	d.Locator = holder{}
	count := 0
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if strings.HasPrefix(line, "#") || len(fields) != 3 {
			continue
		}
		count++
		for _, base := range []string{"/v1", "/openai/v1"} {
			path := pathParameter.ReplaceAllStringFunc(fields[2], func(p string) string {
				if id, ok := exampleIDs[p]; ok {
					return id
				}
				return "id_1"
			})
			d.sent = 0
			if got, answer := d.outcome(t, fields[1], base+path); got != fields[0] {
				t.Errorf("%s %s: %s, want %s: %s", fields[1], base+path, got, fields[0], answer)
			}
		}
	}
	if count < 350 {
		t.Errorf("only %d operations", count)
	}
}

// holder is a Locator that finds everything at the first backend.
type holder struct{}

func (holder) Locate(_ context.Context, among []*balancer.Backend, _ *proxy.Request) (*balancer.Backend, error) {
	return among[0], nil
}

// outcome is what becomes of a request, in the words of the table.
func (d *fenced) outcome(t *testing.T, method, path string) (string, string) {
	t.Helper()
	body := ""
	header := []string{"Content-Type", "application/json"}
	if method == http.MethodPost {
		body = `{"model":"gpt-4o"}`
		for _, form := range []string{"/images/edits", "/images/variations", "/audio/transcriptions", "/audio/translations"} {
			if strings.HasSuffix(path, form) {
				body, header = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-4o\r\n--b--\r\n", []string{"Content-Type", "multipart/form-data; boundary=b"}
			}
		}
	}
	res, answer := d.send(t, method, path, body, append(header, "Api-Key", "k")...)
	<-d.records
	switch {
	case d.sent > 0 && d.received.Operation.State == operations.ByID:
		return "maker", answer
	case d.sent > 0 && d.received.Operation.State == operations.Pinned:
		return "pinned", answer
	case d.sent > 0:
		return "any", answer
	case res.StatusCode == http.StatusGone:
		return "retired", answer
	case res.StatusCode == http.StatusMethodNotAllowed:
		return "method", answer
	case strings.Contains(answer, "of OpenAI-compatible backends only"):
		return "compatible", answer
	case strings.Contains(answer, "is not served here: "):
		return "refused", answer
	case strings.Contains(answer, "is not an operation that this gateway serves"):
		return "unknown", answer
	case strings.HasSuffix(path, "/models"), strings.Contains(path, "/models/") && res.StatusCode == http.StatusNotFound:
		return "here", answer
	}
	return res.Status, answer
}

// What is not served says what is, in the caller's own API.
func TestUnknownPathsSayWhatIsServed(t *testing.T) {
	d := newFenced(t, nil, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1, Stateful: true}))
	for path, want := range map[string]string{
		"/v1/messages": "/anthropic/v1/messages", "/openai/v1/messages/count_tokens": "/anthropic/v1/messages",
		"/anthropic/v1/messages/batches": "no batches", "/anthropic/v1/files": "no batches, files", "/anthropic/v1/complete": "POST /anthropic/v1/messages", "/Anthropic/messages": "POST /anthropic/v1/messages",
		"/models/images/embeddings": "/models/embeddings", "/models/info": "/models/chat/completions",
		"/openai/realtimeapi/sessions": "WebSockets", "/openai/video/generations/jobs": "Use /videos", "/openai": "/openai/v1/{operation}", "/openai/": "/openai/v1/{operation}",
		"/openai/deployments/gpt-4o/edits": "/openai/deployments/{model}/{operation}", "/v1/nothing": "Check the path",
		"/v1/audio/voices": "service of OpenAI alone", "/v1/audio": "Check the path", "/v1/live/sessions/x/accept": "WebSockets",
	} {
		if res, text := d.send(t, "POST", path, `{"model":"gpt-4o"}`, "Api-Key", "k"); res.StatusCode != http.StatusNotFound || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s, want %q", path, res.StatusCode, text, want)
		}
		<-d.records
	}
}

// A refusal never names a model that nobody named.
func TestRefusalOfWhatIsKeptAtOneBackend(t *testing.T) {
	d := newFenced(t, nil, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1, Stateful: true}))
	for err, want := range map[error]int{proxy.ErrTimeout: 504, proxy.ErrUnavailable: 503, proxy.ErrThrottled: 429} {
		d.do = func(_ context.Context, pools []*balancer.Pool, _ *proxy.Request, _ proxy.Deliver) *proxy.Result {
			return &proxy.Result{Pool: pools[0], Err: err}
		}
		if res, text := d.send(t, "POST", "/v1/vector_stores", `{"name":"x"}`, "Api-Key", "k"); res.StatusCode != want || !strings.Contains(text, "backend that keeps what this request is about") {
			t.Errorf("%v: %d %s", err, res.StatusCode, text)
		}
		<-d.records
	}
}

func TestWebSocketsAreRefusedWithTheReason(t *testing.T) {
	d := newFenced(t, nil, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1}))
	for _, path := range []string{"/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-4o", "/openai/v1/realtime?model=gpt-4o", "/v1/responses", "/openai/v1/responses"} {
		res, text := d.send(t, "GET", path, "", "Api-Key", "k", "Connection", "Upgrade", "Upgrade", "websocket")
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(text, "websocket_not_supported") {
			t.Errorf("%s: %d %s", path, res.StatusCode, text)
		}
	}
}
