package relay_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

const (
	filters         = `data: {"id":"","object":"","model":"","prompt_filter_results":[],"choices":[],"usage":null}` + "\n\n"
	role            = `data: {"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"
	truncatedHeader = `data: {"id":"c1","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}` + "\n\n"
	stop            = `data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	usage1          = `data: {"id":"c1","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":20,"total_tokens":32}}` + "\n\n"
	done            = "data: [DONE]\n\n"
	refused         = `data: {"error":{"code":"429","message":"Your requests to gpt-4o have exceeded token rate limit. Please retry after 7 seconds."}}` + "\n\n"

	created    = "event: response.created\ndata: " + `{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","error":null}}` + "\n\n"
	annotation = `data: {"id":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{},"content_filter_offsets":{"check_offset":44}}],"usage":null}` + "\n\n"
	limited    = "event: error\ndata: " + `{"type":"error","error":{"type":"too_many_requests","code":"rate_limit_exceeded","message":"Your requests have exceeded token rate limit.","param":null},"sequence_number":1}` + "\n\n"
	inProgress = "event: response.in_progress\ndata: " + `{"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1"}}` + "\n\n"
)

// failedAs is a failed response with this error.
func failedAs(problem string) string {
	return "event: response.failed\ndata: " + `{"type":"response.failed","response":{"id":"resp_1","status":"failed","error":` + problem + `},"sequence_number":2}` + "\n\n"
}

// play carries an exchange whose backend speaks when the script says so. It
// returns what became of it once the script and the carrying are over.
func play(x *exchange, script func(say func(string), end func(error))) proxy.Delivery {
	w := piped(x)
	x.answer.Began = time.Now()
	result := make(chan proxy.Delivery, 1)
	go func() { result <- x.carry() }()
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

func TestPreambleIsHeldUntilSomethingMeaningful(t *testing.T) {
	for name, events := range map[string][2]string{"chat": {filters, role}, "responses": {created + inProgress, truncatedHeader}} {
		dialect := operations.Chat
		if name == "responses" {
			dialect = operations.Responses
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExchange(dialect, "text/event-stream", nil)
				x.relay.CommitAfter = 10 * time.Second
				d := play(x, func(say func(string), end func(error)) {
					say(events[0])
					time.Sleep(9 * time.Second)
					synctest.Wait()
					if got := x.caller.all(); got != "" || x.caller.answered() {
						t.Errorf("sent %q of a preamble", got)
					}
					say(events[1])
					if got := x.caller.got(); got != events[0]+events[1] {
						t.Errorf("sent %q, want preamble and first event", got)
					}
					end(io.EOF)
				})
				if !d.Committed || d.FirstToken.Sub(x.answer.Began) != 9*time.Second || x.commits != 1 {
					t.Errorf("delivery %+v, %d commits", d, x.commits)
				}
			})
		})
	}
}

func TestErrorAheadOfTheFirstTokenIsSilent(t *testing.T) {
	for name, events := range map[string]string{"at once": refused, "behind the filters": filters + refused} {
		t.Run(name, func(t *testing.T) {
			x := newExchange(operations.Chat, "text/event-stream", strings.NewReader(events))
			d := x.carry()
			if d.Committed || d.Broken || d.Outcome.Class != health.Throttled {
				t.Errorf("delivery %+v, want an uncommitted throttle", d)
			}
			if x.caller.status != 0 || x.caller.all() != "" || len(x.caller.header) != 0 {
				t.Errorf("the caller saw %d %v %q", x.caller.status, x.caller.header, x.caller.all())
			}
		})
	}
}

func TestHoldIsBoundedFromTheFirstHeldEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(operations.Responses, "text/event-stream", nil)
		x.relay.CommitAfter, x.relay.FirstToken = 10*time.Second, time.Minute
		d := play(x, func(say func(string), end func(error)) {
			time.Sleep(30 * time.Second)
			say(created)
			time.Sleep(10*time.Second - time.Nanosecond)
			synctest.Wait()
			if x.caller.answered() {
				t.Error("committed too early")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if got := x.caller.got(); got != created {
				t.Errorf("after 10 s the caller has %q", got)
			}
			say(refused)
			end(io.EOF)
		})
		if !d.Committed || !d.Broken || !d.FirstToken.IsZero() || d.Outcome.Class != health.Throttled {
			t.Errorf("delivery %+v, want a broken, throttled one", d)
		}
		if got := x.caller.all(); got != created+refused {
			t.Errorf("the caller has %q", got)
		}
	})
}

func TestNoFirstTokenInTimeIsAFailureThatNobodySaw(t *testing.T) {
	for name, preamble := range map[string]string{"silence": "", "half an event": "data: {", "comments": ": ping\n\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newExchange(operations.Chat, "text/event-stream", nil)
				x.relay.FirstToken = time.Minute
				began := time.Now()
				d := play(x, func(say func(string), _ func(error)) {
					say(preamble)
				})
				if d.Committed || d.Outcome.Class != health.Failed || d.Outcome.Reason != "first token timeout" || time.Since(began) != time.Minute {
					t.Errorf("after %s: %+v", time.Since(began), d)
				}
				if x.caller.answered() {
					t.Error("something was sent")
				}
			})
		})
	}
}

func TestPoolsOwnFirstTokenLimitGoesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(operations.Chat, "text/event-stream", nil)
		x.relay.FirstToken = time.Minute
		x.answer.Result = &proxy.Result{Pool: &balancer.Pool{FirstToken: 3 * time.Second}}
		began := time.Now()
		d := play(x, func(func(string), func(error)) {})
		if d.Outcome.Reason != "first token timeout" || time.Since(began) != 3*time.Second {
			t.Errorf("after %s: %+v", time.Since(began), d)
		}
	})
}

func TestAttemptThatLostTheRaceSaysNothing(t *testing.T) {
	for name, carry := range map[string]*exchange{
		"stream": newExchange(operations.Chat, "text/event-stream", strings.NewReader(role)),
		"whole":  newExchange(operations.Chat, "application/json", strings.NewReader(`{"id":"1"}`)),
	} {
		t.Run(name, func(t *testing.T) {
			carry.answer.Hooks.MayCommit = func() bool { return false }
			d := carry.carry()
			if d.Committed || d.Outcome.Class != health.Abandoned || carry.commits != 0 || carry.caller.status != 0 || len(carry.caller.header) != 0 {
				t.Errorf("delivery %+v, caller saw %d %v", d, carry.caller.status, carry.caller.header)
			}
			if carry.ctx.Err() == nil {
				t.Error("the losing attempt was not cancelled")
			}
		})
	}
}

func TestStreamThatEndsBeforeItSaysAnythingIsAFailure(t *testing.T) {
	for name, events := range map[string]string{"nothing": "", "filters": filters, "only done": done, "half": role[:20]} {
		x := newExchange(operations.Chat, "text/event-stream", strings.NewReader(events))
		if d := x.carry(); d.Committed || d.Outcome.Class != health.Failed {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

var errGone = errors.New("write: broken pipe")
