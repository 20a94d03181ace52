package classify

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/sse"
)

// testdata holds answers as Azure OpenAI sends them (docs/azure-openai.md).

func recorded(t testing.TB, name string) (*http.Response, []byte) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".http"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	res, err := http.ReadResponse(bufio.NewReader(f), nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return res, body
}

// plain drops the signals, which have tests of their own.
func plain(o health.Outcome) health.Outcome {
	o.Signals = health.Signals{}
	return o
}

func throttledFor(k health.LimitKind, wait, raw time.Duration, why string) health.Outcome {
	return health.Outcome{Class: health.Throttled, Limit: k, Wait: wait, RawWait: raw, Reason: why}
}

func servedWith(why string) health.Outcome { return health.Outcome{Reason: why} }

func failedWith(why string) health.Outcome {
	return health.Outcome{Class: health.Failed, Reason: why}
}

func misconfigured(why string) health.Outcome {
	return health.Outcome{Class: health.Misconfigured, Reason: why}
}

func TestStatusOfRecordedAnswers(t *testing.T) {
	const s = time.Second
	want := map[string]health.Outcome{
		"200":                      servedWith(""),
		"307":                      failedWith("redirect"),
		"400-content-filter":       servedWith("content filter"),
		"400-context-length":       servedWith("context length"),
		"400-encrypted-content":    servedWith("not held here"),
		"400-no-deployment":        misconfigured("deployment not found"),
		"400-previous-response":    servedWith("not held here"),
		"401-key":                  misconfigured("401"),
		"401-role":                 misconfigured("401"),
		"401-token":                misconfigured("401"),
		"403-abuse":                misconfigured("403"),
		"403-keys-disabled":        misconfigured("403"),
		"403-network":              misconfigured("403"),
		"404-deployment":           misconfigured("deployment not found"),
		"404-deployment-v1":        misconfigured("deployment not found"),
		"404-resource":             misconfigured("operation not supported"),
		"404-response":             servedWith("not held here"),
		"408":                      failedWith("408"),
		"413":                      misconfigured("413"),
		"424-inner-429":            throttledFor(health.LimitUnknown, 10*s, 0, "429"),
		"424-inner-500":            failedWith("500"),
		"424-plain":                servedWith("424"),
		"429-call-rate-classic":    throttledFor(health.LimitRequests, 7250*time.Millisecond, 7250*time.Millisecond, "429 requests"),
		"429-capacity":             throttledFor(health.LimitCapacity, 20*s, 20*s, "429 capacity"),
		"429-capacity-by-text":     throttledFor(health.LimitCapacity, 20*s, 20*s, "429 capacity"),
		"429-provisioned":          throttledFor(health.LimitProvisioned, 345*time.Millisecond, 345*time.Millisecond, "429 provisioned"),
		"429-quirk":                throttledFor(health.LimitUnknown, 10*s, 0, "429"),
		"429-short":                throttledFor(health.LimitUnknown, 2*s, 2*s, "429"),
		"429-text-of-2025":         throttledFor(health.LimitTokens, 60*s, 60*s, "429 tokens"),
		"429-token-rate-classic":   throttledFor(health.LimitTokens, 60*s, 60*s, "429 tokens"),
		"429-token-rate-no-header": throttledFor(health.LimitTokens, 300*s, 86400*s, "429 tokens"),
		"429-v1":                   throttledFor(health.LimitTokens, 23*s, 23*s, "429 tokens"),
		"500":                      failedWith("500"),
		"502-html":                 failedWith("502"),
		"503-envoy":                failedWith("503"),
		"503-json":                 {Class: health.Failed, RawWait: 30 * s, Reason: "503"},
		"504-empty":                failedWith("504"),
	}
	for name := range want {
		res, body := recorded(t, name)
		got := Status(res.StatusCode, res.Header, body, time.Time{}, Policy{})
		if diff := cmp.Diff(want[name], plain(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.Signals != Signals(res.Header) {
			t.Errorf("%s: signals %+v, want %+v", name, got.Signals, Signals(res.Header))
		}
	}
	checkAllRecordedAreTested(t, func(name string) bool { _, ok := want[name]; return ok }, "2", "3", "4", "5")
}

func checkAllRecordedAreTested(t *testing.T, used func(string) bool, prefixes ...string) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded answers: %v", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".http")
		for _, p := range prefixes {
			if strings.HasPrefix(name, p) && !used(name) {
				t.Errorf("%s is not tested", name)
			}
		}
	}
}

// streamSummary is the results of a whole stream. events has a letter for each:
// P preamble, C content, D done, E error; c is content with a finish reason, u
// a usage chunk.
type streamSummary struct {
	events  string
	failure health.Outcome
	end     health.Outcome
	answer  ResponseInfo
}

func readStream(t testing.TB, name string, dialect operations.Dialect) streamSummary {
	t.Helper()
	res, body := recorded(t, name)
	s := Stream{Dialect: dialect, Header: res.Header}
	var summary streamSummary
	var split sse.Splitter
	for {
		event, rest, ok := split.Next(body)
		if !ok {
			break
		}
		body = rest
		r := s.Read(event, time.Time{})
		letter := string("PCDE"[r.Kind])
		switch {
		case r.UsageOnly:
			letter = "u"
		case r.FinishedChoices > 0 && r.Kind == Content:
			letter = "c"
		case r.Kind == ErrorEvent && summary.failure == (health.Outcome{}):
			summary.failure = plain(r.Outcome)
		}
		summary.events += letter
	}
	if len(body) > 0 {
		t.Fatalf("%s: %q is left over", name, body)
	}
	summary.end, summary.answer = plain(s.EndOutcome()), s.Info
	summary.answer.TextBytes = 0 // package relay tests it
	return summary
}

func TestStreamsOfRecordedAnswers(t *testing.T) {
	const s = time.Second
	chat, responses := operations.Chat, operations.Responses
	cut := failedWith("cut")
	inStream429 := func(k health.LimitKind, wait, raw time.Duration) health.Outcome {
		return throttledFor(k, wait, raw, "in-stream 429")
	}
	chatUsage := ResponseInfo{FinishReason: "stop", ID: "chatcmpl-1", HasUsage: true}
	chatUsage.Usage.Prompt, chatUsage.Usage.Cached, chatUsage.Usage.Completion, chatUsage.Usage.Reasoning = 12, 4, 20, 8
	responseUsage := ResponseInfo{FinishReason: "completed", ID: "resp_1", ServiceTier: "default", HasUsage: true, Ended: true}
	responseUsage.Usage.Prompt, responseUsage.Usage.Completion, responseUsage.Usage.Reasoning = 36, 87, 64
	incomplete := responseUsage
	incomplete.FinishReason = "max_output_tokens"
	named := ResponseInfo{ID: "resp_1", ServiceTier: "auto"}
	ended := named
	ended.Ended = true
	tests := map[string]struct {
		dialect operations.Dialect
		want    streamSummary
	}{
		"stream-chat":                               {chat, streamSummary{events: "PPCcuD", answer: chatUsage}},
		"stream-chat-asynchronous-filter":           {chat, streamSummary{events: "PPCcPD", answer: ResponseInfo{FinishReason: "stop", ID: "chatcmpl-1"}}},
		"stream-chat-filtered":                      {chat, streamSummary{events: "PPcD", answer: ResponseInfo{FinishReason: "content_filter", ID: "chatcmpl-1"}}},
		"stream-chat-two-choices-cut":               {chat, streamSummary{events: "PPc", end: cut, answer: ResponseInfo{FinishReason: "stop", ID: "chatcmpl-1"}}},
		"stream-chat-no-done":                       {chat, streamSummary{events: "PPCc", answer: ResponseInfo{FinishReason: "stop", ID: "chatcmpl-1"}}},
		"stream-chat-429":                           {chat, streamSummary{events: "E", failure: inStream429(health.LimitTokens, 10*s, 0), end: cut}},
		"stream-chat-429-late":                      {chat, streamSummary{events: "PE", failure: inStream429(health.LimitUnknown, 7*s, 7*s), end: cut}},
		"stream-chat-error-after-content":           {chat, streamSummary{events: "PPCE", failure: failedWith("in-stream error"), end: cut, answer: ResponseInfo{ID: "chatcmpl-1"}}},
		"stream-chat-no-deployment":                 {chat, streamSummary{events: "E", failure: misconfigured("in-stream misconfigured"), end: cut}},
		"stream-chat-filter-error":                  {chat, streamSummary{events: "E", failure: servedWith("content filter"), end: cut}},
		"stream-completions":                        {chat, streamSummary{events: "CcD", answer: ResponseInfo{FinishReason: "length", ID: "cmpl-1"}}},
		"stream-responses":                          {responses, streamSummary{events: "PPPCD", answer: responseUsage}},
		"stream-responses-hinted-success":           {responses, streamSummary{events: "PPPCD", answer: responseUsage}},
		"stream-responses-incomplete":               {responses, streamSummary{events: "PPCD", answer: incomplete}},
		"stream-responses-cut":                      {responses, streamSummary{events: "PPPC", end: cut, answer: named}},
		"stream-responses-429-error-failed":         {responses, streamSummary{events: "EE", failure: inStream429(health.LimitTokens, 17*s, 17*s), end: cut, answer: ended}},
		"stream-responses-429-failed-error":         {responses, streamSummary{events: "PE", failure: inStream429(health.LimitTokens, 10*s, 0), end: failedWith("in-stream error"), answer: ended}},
		"stream-responses-429-created-error-failed": {responses, streamSummary{events: "PEE", failure: inStream429(health.LimitTokens, 17*s, 17*s), end: cut, answer: ended}},
		"stream-responses-429-failed-coded":         {responses, streamSummary{events: "PE", failure: inStream429(health.LimitTokens, 17*s, 17*s), end: cut, answer: ended}},
		"stream-responses-429-uncoded-hint":         {responses, streamSummary{events: "PE", failure: inStream429(health.LimitUnknown, 17*s, 17*s), end: cut, answer: ended}},
		"stream-responses-429-uncoded-exhausted":    {responses, streamSummary{events: "PE", failure: inStream429(health.LimitTokens, 10*s, 0), end: cut, answer: ended}},
		"stream-responses-uncoded":                  {responses, streamSummary{events: "PP", end: failedWith("in-stream error"), answer: ended}},
		"stream-responses-flat-error":               {responses, streamSummary{events: "PE", failure: failedWith("in-stream error"), end: cut, answer: named}},
		"stream-responses-server-error":             {responses, streamSummary{events: "PPPE", failure: failedWith("in-stream error"), end: cut, answer: ended}},
		"stream-responses-invalid-prompt":           {responses, streamSummary{events: "PE", failure: servedWith("in-stream client error"), end: cut, answer: ended}},
	}
	for name, tt := range tests {
		got := readStream(t, name, tt.dialect)
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(streamSummary{}), cmpopts.IgnoreUnexported(ResponseInfo{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	checkAllRecordedAreTested(t, func(name string) bool { _, ok := tests[name]; return ok }, "stream-")
}

func TestBodiesOfRecordedAnswers(t *testing.T) {
	embeddings := ResponseInfo{HasUsage: true}
	embeddings.Usage.Prompt = 8
	response := ResponseInfo{FinishReason: "completed", ID: "resp_1", ServiceTier: "default", HasUsage: true, Ended: true}
	response.Usage.Prompt, response.Usage.Completion, response.Usage.Reasoning = 36, 87, 64
	chat := ResponseInfo{FinishReason: "stop", ID: "chatcmpl-1", HasUsage: true}
	chat.Usage.Prompt, chat.Usage.Completion = 12, 20
	tests := map[string]struct {
		answer ResponseInfo
		want   health.Outcome
	}{
		"200":                  {chat, servedWith("")},
		"body-response":        {response, servedWith("")},
		"body-embeddings":      {embeddings, servedWith("")},
		"body-error":           {ResponseInfo{}, failedWith("in-body error")},
		"body-429":             {ResponseInfo{}, throttledFor(health.LimitRequests, 1500*time.Millisecond, 1500*time.Millisecond, "in-body 429")},
		"body-response-failed": {ResponseInfo{FinishReason: "failed", ID: "resp_1", Ended: true}, failedWith("in-body error")},
		"body-html":            {ResponseInfo{}, failedWith("not JSON")},
		"body-truncated":       {ResponseInfo{}, failedWith("truncated body")},
		"body-empty":           {ResponseInfo{}, failedWith("empty body")},
	}
	for name, tt := range tests {
		res, body := recorded(t, name)
		answer, got := Body(body, res.Header, time.Time{}, Policy{}, "")
		if diff := cmp.Diff(tt.want, plain(got)); diff != "" || !reflect.DeepEqual(answer, tt.answer) {
			t.Errorf("%s: answer %+v, want %+v; outcome (-want +got):\n%s", name, answer, tt.answer, diff)
		}
	}
	checkAllRecordedAreTested(t, func(name string) bool { _, ok := tests[name]; return ok }, "body-")
}
