package relay_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

const (
	filters = `data: {"id":"","object":"","model":"","prompt_filter_results":[],"choices":[],"usage":null}` + "\n\n"
	role    = `data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":"A"},"finish_reason":null}]}` + "\n\n"
	empty   = `data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}]}` + "\n\n"
	content = `data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}` + "\n\n"
	stop    = `data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	usage1  = `data: {"id":"c1","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":20,"total_tokens":32}}` + "\n\n"
	done    = "data: [DONE]\n\n"
	refused = `data: {"error":{"code":"429","message":"Your requests to gpt-4o have exceeded token rate limit. Please retry after 7 seconds."}}` + "\n\n"

	created    = "event: response.created\ndata: " + `{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","error":null}}` + "\n\n"
	annotation = `data: {"id":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{},"content_filter_offsets":{"check_offset":44}}],"usage":null}` + "\n\n"
	limited    = "event: error\ndata: " + `{"type":"error","error":{"type":"too_many_requests","code":"rate_limit_exceeded","message":"Your requests have exceeded token rate limit.","param":null},"sequence_number":1}` + "\n\n"
	keepalive  = "event: keepalive\ndata: " + `{"type":"keepalive","sequence_number":1}` + "\n\n"
	delta      = "event: response.output_text.delta\ndata: " + `{"type":"response.output_text.delta","delta":"Hi"}` + "\n\n"
	inProgress = "event: response.in_progress\ndata: " + `{"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1"}}` + "\n\n"
)

// failedAs is a response.failed event with this error.
func failedAs(problem string) string {
	return "event: response.failed\ndata: " + `{"type":"response.failed","response":{"id":"resp_1","status":"failed","error":` + problem + `},"sequence_number":2}` + "\n\n"
}

// runScript delivers a stream that script writes, and returns the report when both
// have ended.
func runScript(x *fixture, script func(send func(string), end func(error))) proxy.Delivery {
	w := piped(x)
	x.response.Start = time.Now()
	result := make(chan proxy.Delivery, 1)
	go func() { result <- x.deliver() }()
	script(func(s string) {
		_, _ = io.WriteString(w, s)
		synctest.Wait()
	}, func(err error) {
		_ = w.CloseWithError(err)
		synctest.Wait()
	})
	d := <-result
	_ = w.Close()
	x.cancel(nil)
	return d
}

func TestStatusIsHeldUntilFirstMeaningfulEvent(t *testing.T) {
	for name, events := range map[string][2]string{"chat": {filters + empty, role}, "responses": {created + keepalive + inProgress, delta}} {
		dialect := operations.Chat
		if name == "responses" {
			dialect = operations.Responses
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newFixture(dialect, "text/event-stream", nil)
				x.relay.CommitAfter = 10 * time.Second
				d := runScript(x, func(send func(string), end func(error)) {
					send(events[0])
					time.Sleep(9 * time.Second)
					synctest.Wait()
					if got := x.caller.all(); got != "" || x.caller.answered() {
						t.Errorf("sent %q before a meaningful event", got)
					}
					send(events[1])
					if got := x.caller.got(); got != events[0]+events[1] {
						t.Errorf("sent %q, want the held events and the first meaningful one", got)
					}
					end(io.EOF)
				})
				if !d.Committed || d.FirstToken.Sub(x.response.Start) != 9*time.Second || x.commits != 1 {
					t.Errorf("delivery %+v, %d commits", d, x.commits)
				}
			})
		})
	}
}

const thinking = "event: response.output_item.added\ndata: " + `{"type":"response.output_item.added","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}` + "\n\n"

// A limit that shows just behind the beginning of reasoning reaches no caller; a model
// that goes on thinking is answering, however long that takes.
func TestBeginningOfReasoningIsHeldForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Responses, "text/event-stream", nil)
		d := runScript(x, func(send func(string), end func(error)) {
			send(created + thinking)
			time.Sleep(time.Second - time.Nanosecond)
			send(limited)
			end(io.EOF)
		})
		if d.Committed || x.caller.answered() || d.Outcome.Class != health.Throttled {
			t.Errorf("a limit behind it: %+v, %q", d, x.caller.all())
		}
		x = newFixture(operations.Responses, "text/event-stream", nil)
		d = runScript(x, func(send func(string), end func(error)) {
			send(created + thinking)
			time.Sleep(time.Second)
			synctest.Wait()
			if got := x.caller.got(); got != created+thinking {
				t.Errorf("after a second the caller got %q", got)
			}
			send(delta)
			end(io.EOF)
		})
		if !d.Committed || x.commits != 1 || d.FirstToken.Sub(x.response.Start) != time.Second {
			t.Errorf("going on: %+v, %d commits", d, x.commits)
		}
		x = newFixture(operations.Responses, "text/event-stream", nil)
		x.response.Hooks.MayCommit = func() bool { return false } // another attempt has won
		d = runScript(x, func(send func(string), end func(error)) {
			send(created + thinking)
			time.Sleep(2 * time.Second)
			end(errReset)
		})
		if d.Committed || x.caller.answered() {
			t.Errorf("overtaken: %+v, %q", d, x.caller.all())
		}
	})
}

func TestErrorBeforeFirstTokenSendsNothing(t *testing.T) {
	for name, events := range map[string]string{"at once": refused, "after the filters": filters + refused} {
		t.Run(name, func(t *testing.T) {
			x := newFixture(operations.Chat, "text/event-stream", strings.NewReader(events))
			d := x.deliver()
			if d.Committed || d.Broken || d.Outcome.Class != health.Throttled {
				t.Errorf("delivery %+v, want an uncommitted throttle", d)
			}
			if x.caller.status != 0 || x.caller.all() != "" || len(x.caller.header) != 0 {
				t.Errorf("the caller got %d %v %q", x.caller.status, x.caller.header, x.caller.all())
			}
		})
	}
}

// The status line goes out alone: what is held may be followed by an error yet.
func TestStatusLineIsSentAfterCommitAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Responses, "text/event-stream", nil)
		x.relay.CommitAfter, x.relay.Heartbeat = 10*time.Second, 15*time.Second
		d := runScript(x, func(send func(string), end func(error)) {
			time.Sleep(30 * time.Second)
			send(created)
			time.Sleep(10*time.Second - time.Nanosecond)
			synctest.Wait()
			if x.caller.answered() {
				t.Error("the status line was sent too early")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if !x.caller.answered() || x.caller.all() != "" {
				t.Errorf("after 10 s the caller got %d %q", x.caller.status, x.caller.all())
			}
			time.Sleep(15 * time.Second)
			synctest.Wait()
			if got := x.caller.got(); got != ": keep-alive\n" {
				t.Errorf("after 15 s of silence the caller got %q", got)
			}
			send(limited)
			end(io.EOF)
		})
		if d.Committed || d.Broken || !d.FirstToken.IsZero() || d.Outcome.Class != health.Throttled || x.commits != 0 {
			t.Errorf("delivery %+v, want an uncommitted throttle", d)
		}
		if x.answer.Fail(nil); x.answer.Fail(nil) {
			t.Error("it failed twice")
		}
	})
}

// Another attempt's content follows the status line; a refusal, or the end of all
// attempts, is an event.
func TestWhatFollowsTheStatusLine(t *testing.T) {
	refusal := `{"error": {"message": "m",` + "\n" + ` "code": "content_filter"}}`
	for name, c := range map[string]struct {
		second func(a proxy.Answer, x *fixture) proxy.Delivery
		want   string
		broken bool
	}{
		"content": {func(a proxy.Answer, x *fixture) proxy.Delivery { return a.Deliver(x.ctx, x.response) }, filters + role + stop + done, false},
		"a refusal": {func(a proxy.Answer, x *fixture) proxy.Delivery {
			x.response.Response.StatusCode, x.response.Response.Body = 400, io.NopCloser(strings.NewReader(refusal))
			x.response.Response.Header.Set("Content-Type", "application/json")
			return a.Deliver(x.ctx, x.response)
		}, `data: {"error":{"type":"invalid_request_error","param":null,"message":"m","code":"content_filter"}}` + "\n\n", true},
		"nothing": {func(a proxy.Answer, _ *fixture) proxy.Delivery {
			return proxy.Delivery{Committed: true, Broken: a.Fail([]byte(`{"error":{"message":"m","type":"server_error","param":null,"code":"upstream_timeout"}}`))}
		}, `data: {"error":{"message":"m","type":"server_error","param":null,"code":"upstream_timeout"}}` + "\n\n", true},
		"the end of the process": {func(a proxy.Answer, _ *fixture) proxy.Delivery {
			return proxy.Delivery{Committed: true, Broken: a.Fail(nil)}
		}, `data: {"error":{"message":"` + interrupted + `","type":"server_error","param":null,"code":"upstream_stream_interrupted"}}` + "\n\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := newFixture(operations.Chat, "text/event-stream", nil), newFixture(operations.Chat, "text/event-stream", strings.NewReader(filters+role+stop+done))
				first.relay.CommitAfter, first.relay.Heartbeat = time.Second, time.Minute
				answer := first.relay.Open(first.caller, first.request)
				w := piped(first)
				go func() {
					_, _ = io.WriteString(w, filters+empty)
					time.Sleep(2 * time.Second)
					_ = w.CloseWithError(errReset)
				}()
				if d := answer.Deliver(first.ctx, first.response); d.Committed || d.Outcome.Class != health.Failed {
					t.Errorf("the first attempt: %+v", d)
				}
				d := c.second(answer, second)
				time.Sleep(5 * time.Minute) // no heartbeat follows
				if got := first.caller.got(); got != c.want || d.Broken != c.broken || !d.Committed {
					t.Errorf("the caller got %q, want %q; %+v", got, c.want, d)
				}
				if answer.Fail(nil) {
					t.Error("what was ended can fail again")
				}
			})
		})
	}
}

const interrupted = "The backend's answer broke off before it was complete, and a part of it has been sent already. Please send the request again."

func TestFailDoesNothingBeforeTheStatusLine(t *testing.T) {
	x := newFixture(operations.Chat, "text/event-stream", nil)
	if x.relay.Open(x.caller, x.request).Fail(nil) || x.caller.answered() {
		t.Error("an answer failed that had not begun")
	}
}

func TestAttemptThatMayNotCommitSendsNothing(t *testing.T) {
	for name, x := range map[string]*fixture{
		"stream": newFixture(operations.Chat, "text/event-stream", strings.NewReader(role)),
		"body":   newFixture(operations.Chat, "application/json", strings.NewReader(`{"id":"1"}`)),
	} {
		t.Run(name, func(t *testing.T) {
			x.response.Hooks.MayCommit = func() bool { return false }
			d := x.deliver()
			if d.Committed || d.Outcome.Class != health.Abandoned || x.commits != 0 || x.caller.status != 0 || len(x.caller.header) != 0 {
				t.Errorf("delivery %+v, the caller got %d %v", d, x.caller.status, x.caller.header)
			}
			if x.ctx.Err() == nil {
				t.Error("the attempt was not cancelled")
			}
		})
	}
}

func TestStreamWithoutMeaningfulEventFails(t *testing.T) {
	for name, events := range map[string]string{"nothing": "", "filters": filters, "only done": done, "half": role[:20]} {
		x := newFixture(operations.Chat, "text/event-stream", strings.NewReader(events))
		if d := x.deliver(); d.Committed || d.Outcome.Class != health.Failed {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

var errBrokenPipe = errors.New("write: broken pipe")
