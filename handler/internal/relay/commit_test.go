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
	role    = `data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"
	content = `data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}` + "\n\n"
	stop    = `data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	usage1  = `data: {"id":"c1","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":20,"total_tokens":32}}` + "\n\n"
	done    = "data: [DONE]\n\n"
	refused = `data: {"error":{"code":"429","message":"Your requests to gpt-4o have exceeded token rate limit. Please retry after 7 seconds."}}` + "\n\n"

	created    = "event: response.created\ndata: " + `{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","error":null}}` + "\n\n"
	annotation = `data: {"id":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{},"content_filter_offsets":{"check_offset":44}}],"usage":null}` + "\n\n"
	limited    = "event: error\ndata: " + `{"type":"error","error":{"type":"too_many_requests","code":"rate_limit_exceeded","message":"Your requests have exceeded token rate limit.","param":null},"sequence_number":1}` + "\n\n"
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
	for name, events := range map[string][2]string{"chat": {filters, role}, "responses": {created + inProgress, content}} {
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

func TestCommitAfterRunsFromFirstHeldEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Responses, "text/event-stream", nil)
		x.relay.CommitAfter = 10 * time.Second
		d := runScript(x, func(send func(string), end func(error)) {
			time.Sleep(30 * time.Second)
			send(created)
			time.Sleep(10*time.Second - time.Nanosecond)
			synctest.Wait()
			if x.caller.answered() {
				t.Error("committed too early")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if got := x.caller.got(); got != created {
				t.Errorf("after 10 s the caller got %q", got)
			}
			send(refused)
			end(io.EOF)
		})
		if !d.Committed || !d.Broken || !d.FirstToken.IsZero() || d.Outcome.Class != health.Throttled {
			t.Errorf("delivery %+v, want a broken, throttled one", d)
		}
		if got := x.caller.all(); got != created+refused {
			t.Errorf("the caller got %q", got)
		}
	})
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
