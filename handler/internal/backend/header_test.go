package backend_test

import (
	"maps"
	"net/http"
	"slices"
	"testing"
)

// forwardedHeaders are the headers of a caller that reach a backend.
func forwardedHeaders() http.Header {
	return http.Header{
		"Content-Type": {"application/json"}, "Accept": {"*/*"}, "User-Agent": {"OpenAI/Python 3"}, "Traceparent": {"00-1-2-01"}, "Tracestate": {"a=b"},
		"X-Stainless-Lang": {"python"}, "X-Ms-Session-Id": {"s"}, "Aoai-Evals": {"preview"}, "X-Ms-Client-Request-Id": {"caller's"}, "Openai-Beta": {"a", "b"},
	}
}

func TestForwardedHeaders(t *testing.T) {
	client, received := recordingServer(t)
	r := newRequest()
	r.Header = forwardedHeaders()
	for _, name := range []string{
		"Authorization", "Api-Key", "X-Api-Key", "Ocp-Apim-Subscription-Key", "X-Functions-Key", "Cookie", "Referer", "Proxy-Authorization",
		"Keep-Alive", "Te", "Upgrade", "Http2-Settings", "Expect", "Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Anything", "X-Real-Ip", "Client-Ip",
		"X-Ms-Client-Principal", "X-Ms-Client-Principal-Id", "X-Ms-Token-Aad-Id-Token", "X-Azure-Functions-Invocationid", "X-Ms-Invocation-Id", "X-Arr-Log-Id",
		"X-Ms-Coldstart", "X-Original-Url", "Disguised-Host", "X-Site-Deployment-Id", "X-Ms-Spillover-Deployment", "X-Spillway-Explain", "X-Http-Method-Override",
		"Openai-Organization", "Openai-Project", "Azureml-Model-Deployment", "X-Ms-Deployment", "X-Deployment", "X-Model-Id", "X-Ms-Oai-Image-Generation-Model", "X-Ms-Foundry-Project",
		"Api_key", "X_forwarded_for", "Content_type", "Host",
	} {
		r.Header[name] = []string{"canary"}
	}
	r.Header["Content-Type"] = append(r.Header["Content-Type"], "multipart/form-data; boundary=b")
	if res, outcome := send(t, client, newBackend(), r); res == nil {
		t.Fatal(outcome)
	}
	want := forwardedHeaders()
	want["Accept-Encoding"], want["Api-Key"] = []string{"identity"}, []string{"secret"}
	want["Content-Length"] = []string{"62"}
	got := received().header
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the backend received\n%v, want\n%v", got, want)
	}
}

// Of a consumer that may not do all that the credential may, a backend gets what the
// published services read, and what its operator lets pass.
func TestHeadersOfFencedRequests(t *testing.T) {
	client, received := recordingServer(t)
	client.Targets[0].PassHeaders = []string{"X-Priority"}
	r := newRequest()
	r.Fenced = true
	want := http.Header{
		"Content-Type": {"application/json"}, "Accept": {"*/*"}, "User-Agent": {"OpenAI/Python 3"}, "Traceparent": {"00-1-2-01"}, "X-Stainless-Lang": {"python"},
		"X-Ms-Session-Id": {"s"}, "Idempotency-Key": {"k"}, "Aoai-Evals": {"preview"}, "X-Ms-Client-Request-Id": {"caller's"}, "X-Ms-Useragent": {"azsdk"}, "Openai-Beta": {"a", "b"},
		"Anthropic-Version": {"2023-06-01"}, "Anthropic-Beta": {"x"}, "Foundry-Features": {"f"}, "Extra-Parameters": {"pass-through"}, "X-Priority": {"1"}, "Range": {"bytes=0-1"},
	}
	r.Header = want.Clone()
	for _, name := range []string{
		"X-Ms-Agent-Id", "X-Ms-Connection-Id", "X-Ms-File-Id", "X-Ms-Previous-Response-Id", "X-Idempotency", "X-Amzn-Idempotency", "X-Dedupe-Id", "Openai-Conversation",
		"Last-Event-Id", "Aoai-Copy-Ft-Checkpoints", "X-Portkey-Config", "Helicone-Auth", "X-Anything", "If-Match", "Prefer", "Api-Key", "X-Model-Id", "X-Request-Id",
	} {
		r.Header[name] = []string{"canary"}
	}
	if res, outcome := send(t, client, newBackend(), r); res == nil {
		t.Fatal(outcome)
	}
	want["Accept-Encoding"], want["Api-Key"], want["Content-Length"] = []string{"identity"}, []string{"secret"}, []string{"62"}
	if got := received().header; !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the backend received\n%v, want\n%v", got, want)
	}
	r.Fenced = false
	if res, outcome := send(t, client, newBackend(), r); res == nil {
		t.Fatal(outcome)
	}
	if got := received().header; got.Get("X-Anything") != "canary" || got.Get("X-Model-Id") != "" {
		t.Errorf("from one consumer alone the backend received %v", got)
	}
}

func TestConnectionHeaderDoesNotRemoveOurHeaders(t *testing.T) {
	client, received := recordingServer(t)
	r := newRequest()
	r.Header["Connection"] = []string{"api-key, Authorization", " X-Consumer ,accept-encoding", "close"}
	r.Header["X-Consumer"] = []string{"smuggled"}
	if res, outcome := send(t, client, newBackend(), r); res == nil {
		t.Fatal(outcome)
	}
	got := received().header
	if got.Get("Api-Key") != "secret" || got.Get("Accept-Encoding") != "identity" || got.Get("X-Consumer") != "" || got.Get("Connection") != "" {
		t.Errorf("the backend received %v", got)
	}
}

func TestConnectionHeaderDoesNotRemoveTheRequestID(t *testing.T) {
	client, received := recordingServer(t)
	r := newRequest()
	r.Header.Set("X-Ms-Client-Request-Id", "the-callers")
	r.Header.Set("Connection", "x-ms-client-request-id")
	if res, outcome := send(t, client, newBackend(), r); res == nil {
		t.Fatal(outcome)
	}
	if got := received().header.Get("X-Ms-Client-Request-Id"); got != "req-1" {
		t.Errorf("the backend got %q, want ours", got)
	}
}

func TestAtMostThreeHeadersAreAdded(t *testing.T) {
	client, received := recordingServer(t)
	r := newRequest()
	r.Header = http.Header{}
	if res, outcome := send(t, client, newBackend(), r); res == nil {
		t.Fatal(outcome)
	}
	got := received().header
	delete(got, "Content-Length")
	if len(got) > 3 || got.Get("X-Ms-Client-Request-Id") != "req-1" {
		t.Errorf("added %v", got)
	}
}

func TestCallerHeader(t *testing.T) {
	for name, c := range map[string]struct {
		header, caller, want string
	}{
		"caller of a token":                {"X-Caller-Id", "oid-1", "oid-1"},
		"key, with a header of the caller": {"X-Caller-Id", "", ""},
		"target without the header":        {"", "oid-1", "written by the caller"},
		"target with another header":       {"X-Who", "oid-1", "written by the caller"},
	} {
		t.Run(name, func(t *testing.T) {
			client, received := recordingServer(t)
			client.Targets[0].CallerHeader = c.header
			r := newRequest()
			r.Caller = c.caller
			r.Header.Set("X-Caller-Id", "written by the caller")
			if res, outcome := send(t, client, newBackend(), r); res == nil {
				t.Fatal(outcome)
			}
			if got := received().header.Get("X-Caller-Id"); got != c.want {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}

func TestImageDeploymentHeader(t *testing.T) {
	const header = "X-Ms-Oai-Image-Generation-Deployment"
	for name, c := range map[string]struct {
		known map[string]string
		want  string
	}{
		"mapped": {map[string]string{"gpt-image": "img-prod"}, "img-prod"}, "unknown": {map[string]string{}, ""}, "any": {nil, "gpt-image"},
	} {
		client, received := recordingServer(t)
		client.Targets[0].Deployments = c.known
		r := newRequest()
		r.Header[header] = []string{"gpt-image"}
		if res, outcome := send(t, client, newBackend(), r); res == nil {
			t.Fatal(outcome)
		}
		if got := received().header.Get(header); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if r.Header.Get(header) != "gpt-image" {
			t.Error("the caller's own headers were written")
		}
	}
}
