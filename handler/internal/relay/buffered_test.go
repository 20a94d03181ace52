package relay_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
)

const completion = `{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],` +
	`"usage":{"prompt_tokens":12,"completion_tokens":20,"total_tokens":32,"prompt_tokens_details":{"cached_tokens":4}}}`

func TestBodyIsDeliveredUnchanged(t *testing.T) {
	embeddings := `{"data":[{"embedding":[` + strings.Repeat("0.0123456789,", 30_000) + `1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}` + "\n"
	for name, c := range map[string]struct {
		body    string
		dialect operations.Dialect
		prompt  int64
	}{
		"small": {completion, operations.Chat, 12}, "spaced": {" \n" + completion + "\r\n", operations.Chat, 12},
		"invalid UTF-8":                 {strings.Replace(completion, "Hi", "H\xffi", 1), operations.Chat, 12},
		"one byte less than the buffer": {padded(64<<10 - 1), operations.Chat, 12},
		"exactly the buffer":            {padded(64 << 10), operations.Chat, 12},
		"400 KB":                        {embeddings, operations.Plain, 8},
	} {
		for _, known := range []bool{true, false} {
			for kind, reader := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "in halves": iotest.HalfReader, "with its end": iotest.DataErrReader,
			} {
				x := newFixture(c.dialect, "application/json; charset=utf-8", reader(strings.NewReader(c.body)))
				if known {
					x.response.Response.ContentLength = int64(len(c.body))
				}
				d := x.deliver()
				if x.caller.all() != c.body || !d.Committed || d.Broken || d.Outcome.Class != health.Served || d.Bytes != int64(len(c.body)) {
					t.Errorf("%s, %s: %d bytes of %d, %+v", name, kind, len(x.caller.all()), len(c.body), d)
				}
				if d.Usage.Prompt != c.prompt || d.FirstToken.IsZero() || x.commits != 1 {
					t.Errorf("%s, %s: %+v", name, kind, d)
				}
				if length := x.caller.header.Get("Content-Length"); (known || len(c.body) < 64<<10) && length != strconv.Itoa(len(c.body)) {
					t.Errorf("%s, %s: Content-Length %q", name, kind, length)
				}
			}
		}
	}
}

// padded is a completion of exactly this length.
func padded(n int) string {
	const pad = `{"pad":"",`
	return `{"pad":"` + strings.Repeat("x", n-len(completion)-len(pad)+1) + `",` + completion[1:]
}

func TestErrorWithStatus200SendsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		media, body string
		want        string
	}{
		"error object":        {"application/json", `{"error":{"code":"429","message":"Please retry after 7 seconds."}}`, "throttled in-body 429"},
		"server error":        {"application/json", `{"error":{"code":"server_error","message":"x"}}`, "failed in-body error"},
		"half a body":         {"application/json", completion[:80], "failed truncated body"},
		"cut behind a brace":  {"application/json", completion[:strings.Index(completion, "},")+1], "failed truncated body"},
		"empty":               {"application/json", "", "failed empty body"},
		"captive portal":      {"text/html; charset=utf-8", "<html>", "failed content type"},
		"text":                {"text/plain", "no healthy upstream", "failed content type"},
		"text called JSON":    {"application/json", "no healthy upstream", "failed not JSON"},
		"text without a type": {"", "no healthy upstream", "failed not JSON"},
	} {
		x := newFixture(operations.Chat, c.media, strings.NewReader(c.body))
		d := x.deliver()
		if got := d.Outcome.Class.String() + " " + d.Outcome.Reason; d.Committed || d.Broken || got != c.want {
			t.Errorf("%s: %s, %+v, want %s", name, got, d, c.want)
		}
		if x.caller.answered() || len(x.caller.header) != 0 {
			t.Errorf("%s: the caller got %v", name, x.caller.header)
		}
	}
}

func TestSpeechWithoutASoundIsNoAnswer(t *testing.T) {
	for body, committed := range map[string]bool{"": false, "ID3": true} {
		x := newFixture(operations.Plain, "audio/mpeg", strings.NewReader(body))
		if d := x.deliver(); d.Committed != committed || !committed && d.Outcome.Class != health.Failed {
			t.Errorf("%q: %+v", body, d)
		}
	}
}

func TestTruncatedBodyNeverLooksComplete(t *testing.T) {
	for ending, err := range map[string]error{"reset": errReset, "cut": io.ErrUnexpectedEOF, "end": io.EOF} {
		for k := range len(completion) {
			x := newFixture(operations.Chat, "application/json", breaking([]byte(completion[:k]), err))
			if d := x.deliver(); d.Committed || d.Outcome.Class != health.Failed {
				t.Fatalf("%s at byte %d: %+v", ending, k, d)
			}
		}
	}
	long := `{"data":"` + strings.Repeat("x", 200<<10) + `","usage":{"prompt_tokens":1}}`
	for _, k := range []int{64<<10 + 1, 100 << 10, len(long) - 30, len(long) - 1} {
		for ending, err := range map[string]error{"reset": errReset, "end": io.EOF} {
			x := newFixture(operations.Plain, "application/json", breaking([]byte(long[:k]), err))
			if d := x.deliver(); !d.Committed || !d.Broken || d.Outcome.Class != health.Failed {
				if ending == "end" && long[k-1] == '}' {
					continue // of a long body, only the first and the last byte are checked
				}
				t.Errorf("%s at byte %d: %+v", ending, k, d)
			}
		}
	}
}

func TestSilentBodyFailsAfterIdle(t *testing.T) {
	for _, sent := range []int{0, 10, 100 << 10} {
		t.Run(fmt.Sprint(sent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newFixture(operations.Chat, "application/json", nil)
				x.relay.Idle = time.Minute
				began := time.Now()
				d := runScript(x, func(send func(string), _ func(error)) { send("{" + strings.Repeat(" ", max(sent-1, 0))) })
				if d.Outcome.Reason != "silent" || d.Outcome.Class != health.Failed || time.Since(began) != time.Minute || d.Broken != (sent > 64<<10) {
					t.Errorf("after %s: %+v", time.Since(began), d)
				}
			})
		})
	}
}

func TestAudioIsStreamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Plain, "audio/mpeg", nil)
		d := runScript(x, func(send func(string), end func(error)) {
			send("ID3")
			if got := x.caller.got(); got != "ID3" {
				t.Errorf("the caller got %q", got)
			}
			send("\xff\xfb")
			if got := x.caller.got(); got != "ID3\xff\xfb" {
				t.Errorf("the caller got %q", got)
			}
			end(io.EOF)
		})
		if d.Broken || d.Outcome.Class != health.Served {
			t.Errorf("delivery %+v", d)
		}
	})
}

func TestCompressedBodyIsNotInflated(t *testing.T) {
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	_, _ = io.CopyN(z, zeros{}, 8<<20)
	_ = z.Close()
	for _, media := range []string{"application/json", "text/event-stream"} {
		x := newFixture(operations.Chat, media, bytes.NewReader(bomb.Bytes()))
		x.response.Response.Header.Set("Content-Encoding", "gzip")
		d := x.deliver()
		if x.caller.all() != bomb.String() || d.Broken || x.caller.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %d bytes became %d, %+v", media, bomb.Len(), len(x.caller.all()), d)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestClientErrorIsRelayedUnchanged(t *testing.T) {
	body := `{"error":{"message":"filtered","type":null,"param":"prompt","code":"content_filter"}}`
	for _, media := range []string{"application/json", "text/html", "text/event-stream"} {
		x := newFixture(operations.Chat, media, strings.NewReader(body))
		x.response.Response.StatusCode = http.StatusBadRequest
		if d := x.deliver(); !d.Committed || d.Broken || x.caller.status != 400 || x.caller.all() != body {
			t.Errorf("%s: %d %q %+v", media, x.caller.status, x.caller.all(), d)
		}
	}
}

// A 429 of the only backend that can serve is relayed, with a wait that every
// SDK honours.
func TestRetryAfterIsClamped(t *testing.T) {
	for sent, want := range map[string][2]string{"7": {"7", "7000"}, "86400": {"59", "59000"}, "0": {"1", "1000"}, "-5": {"10", "10000"}, "Wed, 21 Oct 2099 07:28:00 GMT": {"59", "59000"}, "1.5": {"2", "1500"}} {
		x := newFixture(operations.Responses, "application/json", strings.NewReader(`{"error":{"code":"429"}}`))
		x.response.Response.StatusCode = http.StatusTooManyRequests
		x.response.Response.Header.Set("Retry-After", sent)
		x.deliver()
		if got := [2]string{x.caller.header.Get("Retry-After"), x.caller.header.Get("Retry-After-Ms")}; got != want {
			t.Errorf("Retry-After %q became %v, want %v", sent, got, want)
		}
	}
}

func TestResponsesWithoutBody(t *testing.T) {
	x := newFixture(operations.Plain, "application/json", strings.NewReader(""))
	x.request.Method, x.response.Response.StatusCode = http.MethodDelete, http.StatusNoContent
	if d := x.deliver(); !d.Committed || x.caller.status != http.StatusNoContent || x.caller.header.Get("Content-Length") != "" {
		t.Errorf("%+v %v", d, x.caller.header)
	}
	x = newFixture(operations.Plain, "application/json", strings.NewReader(""))
	x.request.Method, x.response.Response.ContentLength = http.MethodHead, 400
	if d := x.deliver(); !d.Committed || x.caller.header.Get("Content-Length") != "400" {
		t.Errorf("%+v %v", d, x.caller.header)
	}
}

func TestStoredErrorIsServed(t *testing.T) {
	body := `{"id":"resp_1","object":"response","status":"failed","error":{"code":"rate_limit_exceeded","message":"x"}}`
	x := newFixture(operations.Responses, "application/json", strings.NewReader(body))
	x.request.Method = http.MethodGet
	if d := x.deliver(); !d.Committed || d.Outcome.Class != health.Served || x.caller.all() != body {
		t.Errorf("%+v", d)
	}
	x = newFixture(operations.Responses, "application/json", strings.NewReader(body))
	if d := x.deliver(); d.Committed || d.Outcome.Class != health.Throttled {
		t.Errorf("%+v", d)
	}
}

func TestCallerDisconnectDuringBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "application/json", nil)
		d := runScript(x, func(send func(string), _ func(error)) {
			send("{")
			x.cancel(context.Canceled)
		})
		if d.Committed || d.Outcome.Class != health.Abandoned {
			t.Errorf("%+v", d)
		}
	})
	x := newFixture(operations.Plain, "application/json", io.LimitReader(zeros{}, 10<<20))
	x.caller.refuses = errBrokenPipe
	if d := x.deliver(); !d.CallerLeft || d.Outcome.Class != health.Abandoned || x.ctx.Err() == nil {
		t.Errorf("%+v", d)
	}
}

func TestOnlyAllowedHeadersReachCaller(t *testing.T) {
	for _, media := range []string{"text/event-stream", "application/json"} {
		body := role + stop + done
		if media == "application/json" {
			body = completion
		}
		x := newFixture(operations.Chat, media, strings.NewReader(body))
		h := x.response.Response.Header
		for _, name := range []string{
			"Set-Cookie", "Server", "Via", "Location", "Connection", "Keep-Alive", "Trailer", "X-Ms-Region", "Apim-Request-Id", "Azureml-Model-Session", "X-Ms-Deployment-Name",
			"X-Ms-Spillover-From-Deployment", "X-Ratelimit-Remaining-Tokens", "Retry-After", "Retry-After-Ms", "Azure-Openai-Deployment-Utilization", "Strict-Transport-Security",
			"X-Envoy-Upstream-Service-Time", "Openai-Organization", "X-Something-New", "Access-Control-Allow-Origin", "Date",
		} {
			h[name] = []string{"canary"}
		}
		h["Connection"] = []string{"close, openai-version"}
		h["Openai-Version"] = []string{"canary"}
		h["X-Request-Id"] = []string{"backend's"}
		h["Openai-Processing-Ms"] = []string{"12"}
		x.caller.header.Set("X-Request-Id", "ours")
		x.deliver()
		got := x.caller.header
		if strings.Contains(fmt.Sprint(got), "canary") || got.Get("X-Request-Id") != "ours" || got.Get("Openai-Processing-Ms") != "12" ||
			got.Get("Cache-Control") != "no-store" || got.Get("Content-Type") != media {
			t.Errorf("the caller got %v", got)
		}
		if (got.Get("X-Accel-Buffering") == "no") != (media == "text/event-stream") {
			t.Errorf("X-Accel-Buffering %q for %s", got.Get("X-Accel-Buffering"), media)
		}
	}
}

// A whole answer without a type, and a stream with any, are what they are: clients that
// call such servers do not look at the type.
func TestTypeOfAnAnswerIsCompleted(t *testing.T) {
	events := role + content + stop + done
	for name, c := range map[string]struct{ media, body, want string }{
		"JSON without a type":         {"", completion, "application/json"},
		"a stream without a type":     {"", events, "text/event-stream; charset=utf-8"},
		"a stream as text":            {"text/plain; charset=utf-8", events, "text/event-stream; charset=utf-8"},
		"a stream as JSON":            {"application/json", events, "text/event-stream; charset=utf-8"},
		"a stream as bytes":           {"application/octet-stream", "\ufeff\n" + events, "text/event-stream; charset=utf-8"},
		"a comment ahead of a stream": {"text/plain", ": ping\n\n" + events, "text/event-stream; charset=utf-8"},
		"a name ahead of a stream":    {"text/plain", "event: message\n" + events, "text/event-stream; charset=utf-8"},
	} {
		for kind, reader := range map[string]func(io.Reader) io.Reader{"at once": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader} {
			x := newFixture(operations.Chat, c.media, reader(strings.NewReader(c.body)))
			if c.media == "" {
				x.response.Response.Header.Del("Content-Type")
			}
			x.request.Operation.Name, x.request.Parsed.Stream, x.request.Parsed.IncludeUsage = "chat", c.body != completion, true
			d := x.deliver()
			if x.caller.got() != c.body && x.caller.all() != c.body || d.Broken || d.Outcome.Class != health.Served || x.caller.header.Get("Content-Type") != c.want {
				t.Errorf("%s, %s: %q, %v, %+v", name, kind, x.caller.all(), x.caller.header, d)
			}
		}
	}
	for _, body := range []string{"Hello", "<html>", "{", "dat", "", `{"data": 1}`} {
		x := newFixture(operations.Chat, "text/plain", strings.NewReader(body))
		x.request.Operation.Name, x.request.Parsed.Stream = "chat", true
		if d := x.deliver(); d.Committed || d.Outcome.Class != health.Failed || x.caller.all() != "" {
			t.Errorf("%q: %+v, %q", body, d, x.caller.all())
		}
	}
}
