package backend_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

func TestBodyRewrites(t *testing.T) {
	const streamed = `{ "model" : "gpt-4o", "temperature":1.0,"messages":[], "stream":true}`
	long := strings.Repeat("a", 5<<20)
	for name, c := range map[string]struct {
		body   string
		change func(r *proxy.Request)
		openAI bool
		want   string
	}{
		"deployment in the path":     {`{"model":"gpt-4o"}`, func(*proxy.Request) {}, false, `{"model":"gpt-4o"}`},
		"model in the body":          {`{ "model" : "gpt-4o","a":1.0}`, func(r *proxy.Request) { r.Family = operations.V1 }, false, `{ "model" : "gpt-4o-ptu","a":1.0}`},
		"a long body":                {`{"a":"` + long + `", "model" : "gpt-4o"}`, func(r *proxy.Request) { r.Family = operations.V1 }, false, `{"a":"` + long + `", "model" : "gpt-4o-ptu"}`},
		"another model in the body":  {`{"model":"o3"}`, func(*proxy.Request) {}, false, `{"model":"o3"}`},
		"another model, fenced":      {`{"model":"o3","a":1}`, func(r *proxy.Request) { r.Fenced = true }, false, `{"model":"gpt-4o-ptu","a":1}`},
		"the model, fenced":          {`{"model":"GPT-4o"}`, func(r *proxy.Request) { r.Fenced = true }, false, `{"model":"GPT-4o"}`},
		"no model, fenced":           {`{"a":1}`, func(r *proxy.Request) { r.Fenced = true }, false, `{"a":1}`},
		"same name":                  {`{ "model" : "gpt-4o-ptu"}`, func(r *proxy.Request) { r.Family = operations.Bare }, false, `{ "model" : "gpt-4o-ptu"}`},
		"compatible, no model":       {`{"a":1}`, func(*proxy.Request) {}, true, `{"model":"gpt-4o-ptu","a":1}`},
		"usage asked for":            {streamed, func(*proxy.Request) {}, false, `{"stream_options":{"include_usage":true}, "model" : "gpt-4o", "temperature":1.0,"messages":[], "stream":true}`},
		"usage and model":            {streamed, func(r *proxy.Request) { r.Family = operations.V1 }, false, `{"stream_options":{"include_usage":true}, "model" : "gpt-4o-ptu", "temperature":1.0,"messages":[], "stream":true}`},
		"too old for usage":          {streamed, func(r *proxy.Request) { r.Query = "api-version=2024-06-01" }, false, streamed},
		"usage of another dialect":   {`{"stream":true}`, func(r *proxy.Request) { r.Operation = responses }, false, `{"stream":true}`},
		"usage of a plain answer":    {`{"stream":false}`, func(*proxy.Request) {}, false, `{"stream":false}`},
		"usage wanted by the caller": {`{"stream":true,"stream_options":{"include_usage":true}}`, func(*proxy.Request) {}, false, `{"stream":true,"stream_options":{"include_usage":true}}`},
	} {
		t.Run(name, func(t *testing.T) {
			client, received := recordingServer(t)
			client.RequestUsage = true
			client.Targets[0].OpenAI = c.openAI
			r := newRequest()
			r.Body = []byte(c.body)
			facts, err := request.Parse(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			r.Parsed = facts
			c.change(r)
			if res, outcome := send(t, client, newBackend(), r); res == nil {
				t.Fatal(outcome)
			}
			if got := received(); got.body != c.want || got.length != int64(len(c.want)) {
				t.Errorf("sent\n%s, want\n%s", got.body, c.want)
			}
			if string(r.Body) != c.body {
				t.Error("the caller's own bytes were written")
			}
		})
	}
}

func TestFormHasTheDeploymentName(t *testing.T) {
	form := "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\x00\xff\r\n--B\r\n" +
		"Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--B--\r\n"
	for family, want := range map[operations.Family]string{
		operations.V1: strings.Replace(form, "whisper", "gpt-4o-ptu", 1), operations.Deployments: form,
	} {
		client, received := recordingServer(t)
		r := newRequest()
		r.Family, r.Body = family, []byte(form)
		r.Header.Set("Content-Type", "multipart/form-data; boundary=B")
		scanned, err := request.ParseForm(r.Body, "B", true, false)
		if err != nil {
			t.Fatal(err)
		}
		r.Form, r.Parsed.Model = &scanned, scanned.Model
		if res, outcome := send(t, client, newBackend(), r); res == nil {
			t.Fatal(outcome)
		}
		if got := received(); got.body != want || got.length != int64(len(want)) {
			t.Errorf("%v: sent\n%q, want\n%q", family, got.body, want)
		}
	}
}

func TestStreamedBodyIsSentOnce(t *testing.T) {
	rest := strings.Repeat("x", 1<<20)
	for _, length := range []int64{int64(len(rest)), -1} {
		client, received := recordingServer(t)
		r := newRequest()
		r.StreamedBody = proxy.NewStreamedBody(strings.NewReader(rest), length)
		if res, outcome := send(t, client, newBackend(), r); res == nil {
			t.Fatal(outcome)
		}
		want := int64(len(requestBody)) + length
		if length < 0 {
			want = -1
		}
		if got := received(); got.body != requestBody+rest || got.length != want {
			t.Errorf("%d bytes arrived, length %d, want %d", len(got.body), got.length, want)
		}
		if res, outcome := send(t, client, newBackend(), r); res != nil || outcome != "abandoned body sent already" {
			t.Errorf("sent twice: %s", outcome)
		}
	}
}

func TestTruncatedUploadIsNoFailure(t *testing.T) {
	client, _ := recordingServer(t)
	r := newRequest()
	r.StreamedBody = proxy.NewStreamedBody(iotest.ErrReader(io.ErrUnexpectedEOF), -1)
	if res, outcome := send(t, client, newBackend(), r); res != nil || outcome != "abandoned caller's body broke" {
		t.Errorf("outcome %s", outcome)
	}
}

func TestRewrittenBodiesDoNotShareMemory(t *testing.T) {
	client, received := recordingServer(t)
	client.Targets[0].OpenAI = true
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 50 {
				r := newRequest()
				text := strings.Repeat(string(rune('a'+worker)), 1+i*997)
				r.Body = []byte(`{"model":"gpt-4o","x":"` + text + `"}`)
				r.Parsed, _ = request.Parse(r.Body)
				res, o := client.Send(context.Background(), newBackend(), r, nil)
				if res == nil {
					t.Error(o.Reason)
					return
				}
				_, _ = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
		})
	}
	for range 200 {
		body := received().body
		text := strings.TrimSuffix(strings.TrimPrefix(body, `{"model":"gpt-4o-ptu","x":"`), `"}`)
		if strings.Trim(text, text[:1]) != "" {
			t.Fatalf("mixed: %.80q", body)
		}
	}
	all.Wait()
}
