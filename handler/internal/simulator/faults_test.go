package simulator_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

func TestFaultResponseBodies(t *testing.T) {
	const html = "text/html"
	tests := []struct {
		fault       simulator.Fault
		status      int
		contentType string
		holds       string
	}{
		{simulator.Fault{Action: "429-token"}, 429, "", "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 60 seconds."},
		{simulator.Fault{Action: "429-call", RetryAfter: 7 * time.Second}, 429, "", "have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 7 seconds."},
		{simulator.Fault{Action: "429-2025"}, 429, "", `{"error":{"code":"429","message":"Your requests to gpt-4o-2024-11-20 for gpt-4o-2024-11-20 in Sweden Central have exceeded the token rate limit for your current AIServices S0 pricing tier. This request was for ChatCompletions_Create under Azure OpenAI API version 2024-10-21. Please retry after 60 seconds. To increase your default rate limit, visit: https://aka.ms/oai/quotaincrease."}}`},
		{simulator.Fault{Action: "429-short", RetryAfter: 2 * time.Second}, 429, "", `{"error":{"code":"429","message": "Rate limit is exceeded. Try again in 2 seconds."}}`},
		{simulator.Fault{Action: "429-capacity", RetryAfter: 20 * time.Second}, 429, "", "experiencing high demand and cannot process your request. Your request exceeds the maximum usage size allowed during peak load. Please retry after 20 seconds."},
		{simulator.Fault{Action: "429-nocapacity"}, 429, "", `"code":"NoCapacity"`},
		{simulator.Fault{Action: "429-v1"}, 429, "", `{"error":{"message":"Your requests to gpt-4o-2024-11-20 for gpt-4o-2024-11-20 in swedencentral have exceeded token rate limit.","type":"too_many_requests","param":null,"code":"rate_limit_exceeded"}}`},
		{simulator.Fault{Action: "429-ptu"}, 429, "", `"code":"429"`},
		{simulator.Fault{Action: "429-flex"}, 429, "", "service_tier"},
		{simulator.Fault{Action: "429-empty"}, 429, "", ""},
		{simulator.Fault{Action: "401-key"}, 401, "", body401Key},
		{simulator.Fault{Action: "401-token"}, 401, "", body401Token},
		{simulator.Fault{Action: "401-permission"}, 401, "", `"code":"PermissionDenied"`},
		{simulator.Fault{Action: "403-permission"}, 403, "", `"code":"PermissionDenied"`},
		{simulator.Fault{Action: "403-network"}, 403, "", "Virtual Network/Firewall rules."},
		{simulator.Fault{Action: "403-private"}, 403, "", "Public access is disabled."},
		{simulator.Fault{Action: "403-keys-disabled"}, 403, "", "AuthenticationTypeDisabled"},
		{simulator.Fault{Action: "403-blocked"}, 403, "", "aoaicodeofconduct"},
		{simulator.Fault{Action: "404-deployment"}, 404, "", `"code":"DeploymentNotFound"`},
		{simulator.Fault{Action: "404-resource"}, 404, "", "Resource not found"},
		{simulator.Fault{Action: "400-context"}, 400, "", `"code":"context_length_exceeded"`},
		{simulator.Fault{Action: "400-filter"}, 400, "", "ResponsibleAIPolicyViolation"},
		{simulator.Fault{Action: "400-invalid"}, 400, "", "invalid_request_error"},
		{simulator.Fault{Action: "400-version"}, 400, "", "API version not supported"},
		{simulator.Fault{Action: "400-model"}, 400, "", "Model not supported"},
		{simulator.Fault{Action: "408"}, 408, "", `{ "error": { "code": "Timeout", "message": "The operation was timeout." } }`},
		{simulator.Fault{Action: "409"}, 409, "", "conflict"},
		{simulator.Fault{Action: "413"}, 413, "", "413"},
		{simulator.Fault{Action: "422"}, 422, "", "Unprocessable"},
		{simulator.Fault{Action: "424"}, 424, "", "FailedDependency"},
		{simulator.Fault{Action: "431"}, 431, "", "custom headers"},
		{simulator.Fault{Action: "500"}, 500, "", "The server had an error while processing your request. Sorry about that!"},
		{simulator.Fault{Action: "502-html"}, 502, html, "502 Bad Gateway"},
		{simulator.Fault{Action: "502-empty"}, 502, "none", ""},
		{simulator.Fault{Action: "503"}, 503, "", `{"error":{"code":"InternalServerError","message":"The service is temporarily unable to process your request. Please try again later."}}`},
		{simulator.Fault{Action: "503-envoy"}, 503, "text/plain", "no healthy upstream"},
		{simulator.Fault{Action: "504-html"}, 504, html, "504 Gateway Time-out"},
		{simulator.Fault{Action: "empty-200"}, 200, "", ""},
		{simulator.Fault{Action: "error-200"}, 200, "", `{"error":{`},
		{simulator.Fault{Action: "html-200"}, 200, "text/html; charset=utf-8", "<!DOCTYPE html>"},
		{simulator.Fault{Action: "wrong-type-200"}, 200, "text/plain", `"object":"chat.completion"`},
		{simulator.Fault{Action: "half-json-200"}, 200, "", `{"id":"chatcmpl-sample"`},
		{simulator.Fault{Action: "gzip-200"}, 200, "", "\x1f\x8b"},
		{simulator.Fault{Action: "gzip-bomb-200"}, 200, "", "\x1f\x8b"},
		{simulator.Fault{Action: "status", Status: 418, Body: "tea", ContentType: "text/tea"}, 418, "text/tea", "tea"},
		{simulator.Fault{Action: "early-hints-200"}, 200, "", `"chatcmpl-sample"`},
		{simulator.Fault{Action: "trailers-200"}, 200, "", `"chatcmpl-sample"`},
		{simulator.Fault{Action: "http10-200"}, 200, "", `"chatcmpl-sample"`},
		{simulator.Fault{Action: "slow-drip", Pause: time.Microsecond}, 200, "", `"chatcmpl-sample"`},
	}
	s := simulator.Start(t, pool())
	for _, tt := range tests {
		t.Run(tt.fault.Action, func(t *testing.T) {
			s.Reset()
			s.Next("payg", tt.fault)
			r := post(t, s, "payg", chatPath, hello)
			want := tt.contentType
			switch want {
			case "":
				want = "application/json"
			case "none":
				want = ""
			}
			if r.status != tt.status || !strings.Contains(r.body, tt.holds) || r.header.Get("content-type") != want {
				t.Errorf("got %d %q %.300s", r.status, r.header.Get("content-type"), r.body)
			}
			if tt.holds == "" && r.body != "" {
				t.Errorf("got body %q, want none", r.body)
			}
			entry := s.Journal()[0]
			if entry.Fault != tt.fault.Action || entry.Status != tt.status || !entry.Done {
				t.Errorf("the journal has fault %q, status %d, done %v", entry.Fault, entry.Status, entry.Done)
			}
		})
	}
}

func TestRetryForms(t *testing.T) {
	wait := 1500 * time.Millisecond
	tests := []struct {
		fault simulator.Fault
		want  map[string]string
	}{
		{simulator.Fault{Retry: simulator.RetryBoth}, map[string]string{"Retry-After": "2", "Retry-After-Ms": "1500"}},
		{simulator.Fault{Retry: simulator.RetryMS}, map[string]string{"Retry-After-Ms": "1500"}},
		{simulator.Fault{Retry: simulator.RetryXMS}, map[string]string{"X-Ms-Retry-After-Ms": "1500"}},
		{simulator.Fault{Retry: simulator.RetrySeconds}, map[string]string{"Retry-After": "2"}},
		{simulator.Fault{Retry: simulator.RetryDate}, map[string]string{"Retry-After": "Mon, 05 Jan 2026 09:00:01 GMT"}},
		{simulator.Fault{Retry: simulator.RetryNone}, map[string]string{}},
		{simulator.Fault{Retry: simulator.RetryMS, RetryRaw: []string{"abc"}}, map[string]string{"Retry-After": "abc", "Retry-After-Ms": "1500"}},
		{simulator.Fault{Retry: simulator.RetryNone, Header: map[string]string{"x-ratelimit-reset-tokens": "9"}}, map[string]string{}},
	}
	for _, tt := range tests {
		s, _ := one(simulator.Deployment{})
		tt.fault.Action, tt.fault.RetryAfter = "429-token", wait
		s.Next("one", tt.fault)
		r := call(t, s, chatPath, hello)
		got := map[string]string{}
		for _, name := range []string{"Retry-After", "Retry-After-Ms", "X-Ms-Retry-After-Ms"} {
			if v := r.header.Get(name); v != "" {
				got[name] = v
			}
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: got %v, want %v", tt.fault, got, tt.want)
		}
		if name, want := "X-Ratelimit-Reset-Tokens", tt.fault.Header["x-ratelimit-reset-tokens"]; r.header.Get(name) != want {
			t.Errorf("%s: got %q, want %q", name, r.header.Get(name), want)
		}
	}
}

func TestRepeatedRetryAfterAndSkewedDate(t *testing.T) {
	s, clock := one(simulator.Deployment{})
	s.Next("one", simulator.Fault{Action: "429", RetryRaw: []string{"2", "30"}, DateSkew: -time.Hour})
	r := call(t, s, chatPath, hello)
	if got := r.header.Values("Retry-After"); !slices.Equal(got, []string{"2", "30"}) {
		t.Errorf("got %v", got)
	}
	if got, want := r.header.Get("Date"), clock.Now().Add(-time.Hour).Format(http.TimeFormat); got != want {
		t.Errorf("date: got %s, want %s", got, want)
	}
}

// appliedTo lists which of n requests a fault applies to.
func appliedTo(t *testing.T, f simulator.Fault, n int, between time.Duration) []int {
	t.Helper()
	s, clock := one(simulator.Deployment{})
	f.Action = "500"
	s.Fault("one", f)
	var hit []int
	for i := 1; i <= n; i++ {
		if call(t, s, chatPath, hello).status == 500 {
			hit = append(hit, i)
		}
		clock.pass(between)
	}
	return hit
}

func TestFaultConditions(t *testing.T) {
	tests := []struct {
		name  string
		fault simulator.Fault
		want  []int
	}{
		{"always", simulator.Fault{}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"the third", simulator.Fault{Nth: 3}, []int{3}},
		{"each fourth", simulator.Fault{Every: 4}, []int{4, 8}},
		{"twice", simulator.Fault{Count: 2}, []int{1, 2}},
		{"after three seconds", simulator.Fault{After: 3 * time.Second}, []int{4, 5, 6, 7, 8, 9, 10}},
		{"for three seconds", simulator.Fault{For: 3 * time.Second}, []int{1, 2, 3}},
		{"a window", simulator.Fault{After: 2 * time.Second, For: 3 * time.Second}, []int{3, 4, 5}},
		{"flapping", simulator.Fault{Down: time.Second, Up: 2 * time.Second}, []int{1, 4, 7, 10}},
		{"another operation", simulator.Fault{Operation: "embeddings"}, nil},
		{"another deployment", simulator.Fault{Deployment: "gpt-5"}, nil},
		{"this deployment", simulator.Fault{Deployment: "gpt-4o", Nth: 1}, []int{1}},
		{"streams only", simulator.Fault{Stream: new(true)}, nil},
		{"no streams", simulator.Fault{Stream: new(false), Nth: 1}, []int{1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := appliedTo(t, tt.fault, 10, time.Second); !slices.Equal(got, tt.want) {
				t.Errorf("applied to %v, want %v", got, tt.want)
			}
		})
	}
}

func TestFaultProbabilityIsSeeded(t *testing.T) {
	first := appliedTo(t, simulator.Fault{Probability: 0.3}, 1000, 0)
	if n := len(first); n < 250 || n > 350 {
		t.Errorf("0.3 applied to %d of 1000", n)
	}
	if !slices.Equal(first, appliedTo(t, simulator.Fault{Probability: 0.3}, 1000, 0)) {
		t.Error("the same seed applied to other requests")
	}
}

func TestScriptedFaultsApplyInOrder(t *testing.T) {
	s, _ := one(simulator.Deployment{})
	s.Next("one", simulator.Fault{Action: "500"}, simulator.Fault{Action: "ok"}, simulator.Fault{Action: "503"})
	var got []int
	for range 5 {
		got = append(got, call(t, s, chatPath, hello).status)
	}
	if !slices.Equal(got, []int{500, 200, 503, 200, 200}) {
		t.Errorf("got %v", got)
	}
}

func TestClearFaults(t *testing.T) {
	s, _ := one(simulator.Deployment{})
	first := s.Fault("one", simulator.Fault{Action: "500"})
	s.Fault("one", simulator.Fault{Action: "503"})
	if got := len(s.Faults("one")); got != 2 {
		t.Fatalf("got %d faults, want 2", got)
	}
	if !s.ClearFault(first) || s.ClearFault(first) {
		t.Error("a fault is cleared once")
	}
	if got := call(t, s, chatPath, hello).status; got != 503 {
		t.Errorf("got %d, want the second fault's 503", got)
	}
	s.Clear("one")
	if got := call(t, s, chatPath, hello).status; got != 200 {
		t.Errorf("got %d, want 200", got)
	}
}

func TestThrottleSendsRemainingTime(t *testing.T) {
	s, clock := one(ptu())
	s.Throttle("one", 10*time.Second)
	clock.pass(2500 * time.Millisecond)
	r := call(t, s, chatPath, hello)
	if r.status != 429 || r.header.Get("retry-after-ms") != "7500" || r.header.Get("retry-after") != "8" {
		t.Errorf("got %d, retry-after-ms %s, retry-after %s", r.status, r.header.Get("retry-after-ms"), r.header.Get("retry-after"))
	}
	clock.pass(7500 * time.Millisecond)
	if r := call(t, s, chatPath, hello); r.status != 200 {
		t.Errorf("when it is over: got %d", r.status)
	}
}

func TestFaultJSONRoundTrip(t *testing.T) {
	want := simulator.Fault{
		Action: "429-token", Deployment: "gpt-4o", Stream: new(true), Probability: 0.5, For: 10 * time.Second,
		RetryAfter: 250 * time.Millisecond, Retry: simulator.RetryMS, Hold: time.Minute, Header: map[string]string{"a": "b"},
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"retryAfter":"250ms"`) {
		t.Errorf("durations are text: %s", text)
	}
	var got simulator.Fault
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{`{"action":"500","chance":1}`, `{"action":"500","for":10}`, `{"action":"500","for":"ten"}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func Test429InsideStreamOrders(t *testing.T) {
	const (
		nested  = `event: error` + "\n" + `data: {"type":"error","error":{"type":"too_many_requests","code":"rate_limit_exceeded","headers":{"x-ms-fe-error":"true"},"message":"Your requests to gpt-4o-2024-11-20 for gpt-4o-2024-11-20 in swedencentral have exceeded token rate limit.","param":null},"sequence_number":`
		flat    = `data: {"type":"error","code":"rate_limit_exceeded","message":"Your requests to gpt-4o-2024-11-20 for gpt-4o-2024-11-20 in swedencentral have exceeded token rate limit.","param":null,"sequence_number":1}`
		coded   = `"error":{"code":"rate_limit_exceeded","message":"Your requests`
		uncoded = `"error":{"code":null,"message":"Your requests`
	)
	tests := []struct {
		name  string
		fault simulator.Fault
		want  []string
		holds []string
	}{
		{"error first", simulator.Fault{}, []string{"error", "response.failed"}, []string{nested + "1}", coded}},
		{"failed first", simulator.Fault{Order: "failed-error"}, []string{"response.failed", "error"}, []string{nested + "2}", `"error":null`}},
		{"after created", simulator.Fault{Order: "created-error-failed"}, []string{"response.created", "error", "response.failed"}, []string{nested + "1}", coded}},
		{"flat", simulator.Fault{Flat: true}, []string{"error", "response.failed"}, []string{flat}},
		{"uncoded", simulator.Fault{Uncoded: true}, []string{"error", "response.failed"}, []string{uncoded, `"code":null,"headers"`}},
		{"big created", simulator.Fault{Order: "created-error-failed", BigCreated: true}, []string{"response.created", "error", "response.failed"}, []string{coded}},
	}
	s := simulator.Start(t, pool())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.fault.Action, tt.fault.RetryAfter = "stream-429", 12*time.Second
			s.Next("payg", tt.fault)
			r := post(t, s, "payg", responsesPath, requestBody(`,"stream":true`))
			var got []string
			for _, m := range regexp.MustCompile(`(?m)^event: (\S+)$`).FindAllStringSubmatch(r.body, -1) {
				got = append(got, m[1])
			}
			if r.status != 200 || !slices.Equal(got, tt.want) || r.header.Get("retry-after") != "12" {
				t.Fatalf("got %d %v, retry-after %q", r.status, got, r.header.Get("retry-after"))
			}
			for _, part := range tt.holds {
				if !strings.Contains(r.body, part) {
					t.Errorf("no %s in\n%s", part, r.body)
				}
			}
			if first, _, _ := strings.Cut(r.body, "\n\n"); tt.fault.BigCreated && len(first) <= 16<<10 {
				t.Errorf("response.created has %d bytes", len(first))
			}
		})
	}
}

func TestResponsesStreamFailures(t *testing.T) {
	s := simulator.Start(t, pool())
	tests := []struct {
		fault simulator.Fault
		last  string
		holds string
	}{
		{simulator.Fault{Action: "stream-error", Chunks: 2}, "response.failed", `"code":"server_error"`},
		{simulator.Fault{Action: "failed-uncoded", Chunks: 2}, "response.failed", `"error":{"code":null`},
		{simulator.Fault{Action: "incomplete", Chunks: 2}, "response.incomplete", `"reason":"max_output_tokens"`},
		{simulator.Fault{Action: "stream-404"}, "response.failed", "Could not find an existing deployment"},
		{simulator.Fault{Action: "cut-clean", Chunks: 2}, "response.output_text.delta", ""},
		{simulator.Fault{Action: "no-finish"}, "response.output_item.done", ""},
	}
	for _, tt := range tests {
		t.Run(tt.fault.Action, func(t *testing.T) {
			s.Next("payg", tt.fault)
			r := post(t, s, "payg", responsesPath, requestBody(`,"stream":true`))
			all := regexp.MustCompile(`(?m)^event: (\S+)$`).FindAllStringSubmatch(r.body, -1)
			if r.status != 200 || all[len(all)-1][1] != tt.last || !strings.Contains(r.body, tt.holds) {
				t.Errorf("got %d, %v", r.status, all)
			}
			if deltas := strings.Count(r.body, "event: response.output_text.delta"); tt.fault.Chunks > 0 && deltas != tt.fault.Chunks {
				t.Errorf("got %d deltas, want %d", deltas, tt.fault.Chunks)
			}
		})
	}
}
