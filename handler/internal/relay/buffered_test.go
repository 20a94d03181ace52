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

const answered = `{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],` +
	`"usage":{"prompt_tokens":12,"completion_tokens":20,"total_tokens":32,"prompt_tokens_details":{"cached_tokens":4}}}`

func TestWholeAnswerPassesUnchanged(t *testing.T) {
	embeddings := `{"data":[{"embedding":[` + strings.Repeat("0.0123456789,", 30_000) + `1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}` + "\n"
	for name, c := range map[string]struct {
		body    string
		dialect operations.Dialect
		prompt  int64
	}{
		"small": {answered, operations.Chat, 12}, "spaced": {" \n" + answered + "\r\n", operations.Chat, 12},
		"an odd character": {strings.Replace(answered, "Hi", "H\xffi", 1), operations.Chat, 12},
		"almost a buffer":  {padded(64<<10 - 1), operations.Chat, 12},
		"a buffer":         {padded(64 << 10), operations.Chat, 12},
		"400 KB":           {embeddings, operations.Plain, 8},
	} {
		for _, known := range []bool{true, false} {
			for kind, reader := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "in halves": iotest.HalfReader, "with its end": iotest.DataErrReader,
			} {
				x := newExchange(c.dialect, "application/json; charset=utf-8", reader(strings.NewReader(c.body)))
				if known {
					x.answer.Response.ContentLength = int64(len(c.body))
				}
				d := x.carry()
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

// padded is an answer of exactly this length.
func padded(n int) string {
	const pad = `{"pad":"",`
	return `{"pad":"` + strings.Repeat("x", n-len(answered)-len(pad)+1) + `",` + answered[1:]
}

func TestAnswerThatIsNoneCostsTheCallerNothing(t *testing.T) {
	for name, c := range map[string]struct {
		media, body string
		want        string
	}{
		"error object":         {"application/json", `{"error":{"code":"429","message":"Please retry after 7 seconds."}}`, "throttled in-body 429"},
		"server error":         {"application/json", `{"error":{"code":"server_error","message":"x"}}`, "failed in-body error"},
		"half a body":          {"application/json", answered[:80], "failed truncated body"},
		"cut behind a brace":   {"application/json", answered[:strings.Index(answered, "},")+1], "failed truncated body"},
		"nothing":              {"application/json", "", "failed empty body"},
		"a captive page":       {"text/html; charset=utf-8", "<html>", "failed content type"},
		"prose":                {"text/plain", "no healthy upstream", "failed content type"},
		"prose called JSON":    {"application/json", "no healthy upstream", "failed not JSON"},
		"prose without a name": {"", "no healthy upstream", "failed not JSON"},
	} {
		x := newExchange(operations.Chat, c.media, strings.NewReader(c.body))
		d := x.carry()
		if got := d.Outcome.Class.String() + " " + d.Outcome.Reason; d.Committed || d.Broken || got != c.want {
			t.Errorf("%s: %s, %+v, want %s", name, got, d, c.want)
		}
		if x.caller.answered() || len(x.caller.header) != 0 {
			t.Errorf("%s: the caller saw %v", name, x.caller.header)
		}
	}
}

func TestNoCutOfAWholeAnswerLooksLikeItsEnd(t *testing.T) {
	for ending, err := range map[string]error{"reset": errReset, "cut": io.ErrUnexpectedEOF, "end": io.EOF} {
		for k := range len(answered) {
			x := newExchange(operations.Chat, "application/json", breaking([]byte(answered[:k]), err))
			if d := x.carry(); d.Committed || d.Outcome.Class != health.Failed {
				t.Fatalf("%s at byte %d: %+v", ending, k, d)
			}
		}
	}
	long := `{"data":"` + strings.Repeat("x", 200<<10) + `","usage":{"prompt_tokens":1}}`
	for _, k := range []int{64<<10 + 1, 100 << 10, len(long) - 30, len(long) - 1} {
		for ending, err := range map[string]error{"reset": errReset, "end": io.EOF} {
			x := newExchange(operations.Plain, "application/json", breaking([]byte(long[:k]), err))
			if d := x.carry(); !d.Committed || !d.Broken || d.Outcome.Class != health.Failed {
				if ending == "end" && long[k-1] == '}' {
					continue // two bytes of a body too long to be held are all that is looked at
				}
				t.Errorf("%s at byte %d: %+v", ending, k, d)
			}
		}
	}
}

func TestAnswerThatFallsSilentFailsOverWhileItCan(t *testing.T) {
	for _, sent := range []int{0, 10, 100 << 10} {
		t.Run(fmt.Sprint(sent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExchange(operations.Chat, "application/json", nil)
				x.relay.Idle = time.Minute
				began := time.Now()
				d := play(x, func(say func(string), _ func(error)) { say("{" + strings.Repeat(" ", max(sent-1, 0))) })
				if d.Outcome.Reason != "silent" || d.Outcome.Class != health.Failed || time.Since(began) != time.Minute || d.Broken != (sent > 64<<10) {
					t.Errorf("after %s: %+v", time.Since(began), d)
				}
			})
		})
	}
}

func TestSoundIsHeardFromItsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(operations.Plain, "audio/mpeg", nil)
		d := play(x, func(say func(string), end func(error)) {
			say("ID3")
			if got := x.caller.got(); got != "ID3" {
				t.Errorf("the caller has %q", got)
			}
			say("\xff\xfb")
			if got := x.caller.got(); got != "ID3\xff\xfb" {
				t.Errorf("the caller has %q", got)
			}
			end(io.EOF)
		})
		if d.Broken || d.Outcome.Class != health.Served {
			t.Errorf("delivery %+v", d)
		}
	})
}

func TestCompressedAnswerIsNeverInflated(t *testing.T) {
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestSpeed)
	_, _ = io.CopyN(z, zeros{}, 8<<20)
	_ = z.Close()
	for _, media := range []string{"application/json", "text/event-stream"} {
		x := newExchange(operations.Chat, media, bytes.NewReader(bomb.Bytes()))
		x.answer.Response.Header.Set("Content-Encoding", "gzip")
		d := x.carry()
		if x.caller.all() != bomb.String() || d.Broken || x.caller.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %d bytes became %d, %+v", media, bomb.Len(), len(x.caller.all()), d)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestErrorThatIsTheCallersBusinessPassesAsItIs(t *testing.T) {
	body := `{"error":{"message":"filtered","code":"content_filter"}}`
	for _, media := range []string{"application/json", "text/html", "text/event-stream"} {
		x := newExchange(operations.Chat, media, strings.NewReader(body))
		x.answer.Response.StatusCode = http.StatusBadRequest
		if d := x.carry(); !d.Committed || d.Broken || x.caller.status != 400 || x.caller.all() != body {
			t.Errorf("%s: %d %q %+v", media, x.caller.status, x.caller.all(), d)
		}
	}
}

// A refusal by the one backend that can serve goes to the caller, but no SDK
// could bear every wait that it may name.
func TestWaitOfARefusalIsOneThatEverySDKTakes(t *testing.T) {
	for said, want := range map[string][2]string{"7": {"7", "7000"}, "86400": {"59", "59000"}, "0": {"1", "1000"}, "-5": {"10", "10000"}, "Wed, 21 Oct 2099 07:28:00 GMT": {"59", "59000"}, "1.5": {"2", "1500"}} {
		x := newExchange(operations.Responses, "application/json", strings.NewReader(`{"error":{"code":"429"}}`))
		x.answer.Response.StatusCode = http.StatusTooManyRequests
		x.answer.Response.Header.Set("Retry-After", said)
		x.carry()
		if got := [2]string{x.caller.header.Get("Retry-After"), x.caller.header.Get("Retry-After-Ms")}; got != want {
			t.Errorf("%q became %v, want %v", said, got, want)
		}
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	x := newExchange(operations.Plain, "application/json", strings.NewReader(""))
	x.request.Method, x.answer.Response.StatusCode = http.MethodDelete, http.StatusNoContent
	if d := x.carry(); !d.Committed || x.caller.status != http.StatusNoContent || x.caller.header.Get("Content-Length") != "" {
		t.Errorf("%+v %v", d, x.caller.header)
	}
	x = newExchange(operations.Plain, "application/json", strings.NewReader(""))
	x.request.Method, x.answer.Response.ContentLength = http.MethodHead, 400
	if d := x.carry(); !d.Committed || x.caller.header.Get("Content-Length") != "400" {
		t.Errorf("%+v %v", d, x.caller.header)
	}
}

// What GET returns of a stored response that failed is old news.
func TestStoredErrorIsNoErrorOfTheBackend(t *testing.T) {
	body := `{"id":"resp_1","object":"response","status":"failed","error":{"code":"rate_limit_exceeded","message":"x"}}`
	x := newExchange(operations.Responses, "application/json", strings.NewReader(body))
	x.request.Method = http.MethodGet
	if d := x.carry(); !d.Committed || d.Outcome.Class != health.Served || x.caller.all() != body {
		t.Errorf("%+v", d)
	}
	x = newExchange(operations.Responses, "application/json", strings.NewReader(body))
	if d := x.carry(); d.Committed || d.Outcome.Class != health.Throttled {
		t.Errorf("%+v", d)
	}
}

func TestCallerWhoLeavesAWholeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(operations.Chat, "application/json", nil)
		d := play(x, func(say func(string), _ func(error)) {
			say("{")
			x.cancel(context.Canceled)
		})
		if d.Committed || d.Outcome.Class != health.Abandoned {
			t.Errorf("%+v", d)
		}
	})
	x := newExchange(operations.Plain, "application/json", io.LimitReader(zeros{}, 10<<20))
	x.caller.refuses = errGone
	if d := x.carry(); !d.Broken || d.Outcome.Class != health.Abandoned || x.ctx.Err() == nil {
		t.Errorf("%+v", d)
	}
}

func TestOnlyHarmlessHeadersReachTheCaller(t *testing.T) {
	for _, media := range []string{"text/event-stream", "application/json"} {
		body := role + stop + done
		if media == "application/json" {
			body = answered
		}
		x := newExchange(operations.Chat, media, strings.NewReader(body))
		h := x.answer.Response.Header
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
		x.carry()
		got := x.caller.header
		if strings.Contains(fmt.Sprint(got), "canary") || got.Get("X-Request-Id") != "ours" || got.Get("Openai-Processing-Ms") != "12" ||
			got.Get("Cache-Control") != "no-store" || got.Get("Content-Type") != media {
			t.Errorf("the caller saw %v", got)
		}
		if (got.Get("X-Accel-Buffering") == "no") != (media == "text/event-stream") {
			t.Errorf("X-Accel-Buffering %q for %s", got.Get("X-Accel-Buffering"), media)
		}
	}
}
