package relay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
)

func TestEventsAreFlushedAsTheyArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", nil)
		d := runScript(x, func(send func(string), end func(error)) {
			sent := ""
			for _, event := range []string{filters + role, content, content, stop, done} {
				send(event)
				sent += event
				if got := x.caller.got(); got != sent {
					t.Fatalf("after %q the caller got %q", event, got)
				}
			}
			end(io.EOF)
		})
		if !d.Committed || d.Broken || d.Outcome.Class != health.Served || d.Bytes != int64(len(x.caller.all())) {
			t.Errorf("delivery %+v", d)
		}
	})
}

func TestPartialEventIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", nil)
		x.relay.Heartbeat = 15 * time.Second
		runScript(x, func(send func(string), end func(error)) {
			send(role)
			send(content[:30])
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if got := x.caller.got(); got != role+": keep-alive\n" {
				t.Errorf("the caller got %q", got)
			}
			send(content[30:])
			if got := x.caller.got(); got != role+": keep-alive\n"+content {
				t.Errorf("the caller got %q", got)
			}
			send(stop + done)
			end(io.EOF)
		})
	})
}

func TestHeartbeatsWhileStreamIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", nil)
		x.relay.Heartbeat, x.relay.Idle = 15*time.Second, 2*time.Minute
		d := runScript(x, func(send func(string), end func(error)) {
			send(role)
			time.Sleep(14 * time.Second)
			send(content)
			time.Sleep(14 * time.Second)
			synctest.Wait()
			if got := x.caller.got(); got != role+content {
				t.Errorf("the caller got %q after 14 s of silence, want no heartbeat", got)
			}
			time.Sleep(32 * time.Second)
			synctest.Wait()
			if got := strings.Count(x.caller.got(), ": keep-alive\n"); got != 3 {
				t.Errorf("%d heartbeats in 46 s of silence, want 3", got)
			}
			send(stop + done)
			end(io.EOF)
		})
		if d.Broken || d.Outcome.Class != health.Served {
			t.Errorf("delivery %+v", d)
		}
	})
}

func TestSilentStreamBreaksAfterIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", nil)
		x.relay.Heartbeat, x.relay.Idle = 15*time.Second, 2*time.Minute
		began := time.Now()
		d := runScript(x, func(send func(string), _ func(error)) { send(role) })
		if !d.Broken || d.Outcome.Class != health.Failed || d.Outcome.Reason != "silent" || time.Since(began) != 2*time.Minute {
			t.Errorf("after %s: %+v", time.Since(began), d)
		}
		if got := x.caller.got(); !strings.HasSuffix(got, "\n\n") || !strings.Contains(got, `"error":{`) {
			t.Errorf("the caller got %q", got)
		}
	})
}

func TestCompleteStreamEndsAfterLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", nil)
		x.relay.CloseTimeout, x.relay.Idle = 5*time.Second, 2*time.Minute
		began := time.Now()
		d := runScript(x, func(send func(string), _ func(error)) { send(role + stop) })
		if d.Broken || d.Outcome.Class != health.Served || time.Since(began) != 5*time.Second {
			t.Errorf("after %s: %+v", time.Since(began), d)
		}
		if got := x.caller.got(); got != role+stop+done {
			t.Errorf("the caller got %q", got)
		}
	})
}

// Annotations of the content filter may follow the finish reason.
func TestEventsAfterFinishReasonAreRelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", nil)
		x.relay.CloseTimeout = 5 * time.Second
		d := runScript(x, func(send func(string), end func(error)) {
			send(role + stop)
			for range 3 {
				time.Sleep(4 * time.Second)
				send(annotation)
			}
			send(done)
			end(io.EOF)
		})
		if got := x.caller.got(); got != role+stop+annotation+annotation+annotation+done || d.Broken {
			t.Errorf("the caller got %q, %+v", got, d)
		}
	})
}

func TestStreamIsCompleteWhenEveryChoiceFinished(t *testing.T) {
	second := strings.Replace(stop, `"index":0`, `"index":1`, 1)
	for events, whole := range map[string]bool{role + stop: false, role + stop + second: true, role + stop + done: true} {
		x := newFixture(operations.Chat, "text/event-stream", strings.NewReader(events))
		x.request.Parsed.Returned, x.request.Parsed.Choices = 2, 3
		if d := x.deliver(); d.Broken == whole {
			t.Errorf("%q: %+v", events, d)
		}
	}
}

func TestResponseCompletedWithoutDeltaIsServed(t *testing.T) {
	completed := "event: response.completed\ndata: " + `{"type":"response.completed","response":{"id":"resp_1","status":"completed","usage":{"input_tokens":3,"output_tokens":0}}}` + "\n\n"
	x := newFixture(operations.Responses, "text/event-stream", strings.NewReader(created+completed))
	if d := x.deliver(); !d.Committed || d.Broken || d.FinishReason != "completed" || d.Usage.Prompt != 3 || x.caller.got() != created+completed {
		t.Errorf("%+v, the caller got %q", d, x.caller.got())
	}
}

func TestUsageChunkIsStrippedUnlessRequested(t *testing.T) {
	for _, asked := range []bool{false, true} {
		for _, reader := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
			x := newFixture(operations.Chat, "text/event-stream", reader(strings.NewReader(filters+role+content+stop+usage1+done)))
			x.request.Parsed.IncludeUsage = asked
			want := filters + role + content + stop + done
			if asked {
				want = filters + role + content + stop + usage1 + done
			}
			d := x.deliver()
			if got := x.caller.got(); got != want {
				t.Errorf("asked %v: the caller got %q", asked, got)
			}
			if d.Usage.Prompt != 12 || d.Usage.Completion != 20 || d.FinishReason != "stop" {
				t.Errorf("asked %v: delivery %+v", asked, d)
			}
		}
	}
}

func TestStreamBytesAreUnchanged(t *testing.T) {
	odd := "\ufeff" + role + ": ping\n\n" + "id: 7\r\ndata: {\"choices\":[{\"delta\":{}}]}\r\n\r\n" + "data: not json\n\n" + "\n\n" +
		"data: \xff\xfe\x00\n\n" + "data:{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n" + done
	huge := role + "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + strings.Repeat("é", 1<<19) + "\"}}]}\n\n" + content + stop + done
	for name, stream := range map[string]string{
		"azure": string(recorded(t, "chat.sse")), "crlf": string(forms(recorded(t, "chat.sse"))["CRLF"]), "odd": odd, "1 MB event": huge,
	} {
		for kind, reader := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader, "in halves": iotest.HalfReader,
		} {
			if len(stream) > 1<<20 && kind == "bytewise" {
				continue // the smaller streams cover single bytes
			}
			x := newFixture(operations.Chat, "text/event-stream", reader(strings.NewReader(stream)))
			x.request.Parsed.IncludeUsage = true
			d := x.deliver()
			if got := x.caller.got(); got != stream || d.Broken {
				t.Errorf("%s, %s: %d bytes of %d came, %+v", name, kind, len(got), len(stream), d)
			}
		}
	}
}

func TestResponsesStreamReportsIDsAndUsage(t *testing.T) {
	x := newFixture(operations.Responses, "text/event-stream", bytes.NewReader(recorded(t, "responses.sse")))
	x.request.Operation, x.request.Parsed.Stream = *operations.ByName("responses"), true
	var created []string
	x.response.Hooks.Created = func(objects []operations.Object) {
		for _, o := range objects {
			if got := x.caller.got(); strings.Contains(got, o.ID) {
				t.Errorf("%s was sent before it was reported", o.ID)
			}
			created = append(created, o.ID)
		}
	}
	d := x.deliver()
	if !slices.Contains(created, "resp_abc") || !slices.Contains(created, "msg_1") || d.Usage.Prompt != 36 || d.Usage.Cached != 5 || d.Usage.Completion != 87 || d.Usage.Reasoning != 9 {
		t.Errorf("delivery %+v", d)
	}
	if got := x.caller.got(); got != string(recorded(t, "responses.sse")) {
		t.Errorf("the caller got %q", got)
	}
}

func TestMessagesStreamReportsWhatCodeMade(t *testing.T) {
	stream := `event: message_start
data: {"type":"message_start","message":{"id":"msg_1","role":"assistant","model":"claude","content":[],"container":null,"usage":{"input_tokens":1,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"bash_code_execution_tool_result","tool_use_id":"t","content":{"type":"bash_code_execution_result","content":[{"type":"bash_code_execution_output","file_id":"file_1"}]}}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"pause_turn","container":{"id":"container_1","expires_at":"2026-12-01T00:00:00Z"}},"usage":{"output_tokens":1}}

event: message_stop
data: {"type":"message_stop"}

`
	want := []operations.Object{{Kind: operations.KindMessage, ID: "msg_1"}, {Kind: operations.KindFile, ID: "file_1"}, {Kind: operations.KindContainer, ID: "container_1"}}
	for _, kept := range []bool{true, false} {
		x := newFixture(operations.Messages, "text/event-stream", strings.NewReader(strings.Replace(stream, `"container":null`, `"container_is":null`, 1)))
		x.request.Operation, x.request.Parsed.Stream, x.request.Parsed.KeepsMessage = *operations.ByName("messages"), true, kept
		var created []operations.Object
		x.response.Hooks.Created = func(objects []operations.Object) { created = append(created, objects...) }
		x.deliver()
		if !kept {
			want = want[1:]
		}
		if !slices.Equal(created, want) {
			t.Errorf("%v, want %v", created, want)
		}
	}
}

func TestCallerDisconnectIsAbandoned(t *testing.T) {
	t.Run("while waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			x := newFixture(operations.Chat, "text/event-stream", nil)
			d := runScript(x, func(send func(string), _ func(error)) {
				send(role)
				x.cancel(context.Canceled)
			})
			if d.Outcome.Class != health.Abandoned {
				t.Errorf("delivery %+v", d)
			}
		})
	})
	t.Run("while writing", func(t *testing.T) {
		x := newFixture(operations.Chat, "text/event-stream", strings.NewReader(role+content))
		x.caller.refuses = errBrokenPipe
		d := x.deliver()
		if d.Outcome.Class != health.Abandoned || x.ctx.Err() == nil || !d.Broken || !d.CallerLeft {
			t.Errorf("delivery %+v, attempt %v", d, x.ctx.Err())
		}
	})
	// When the process stops, the caller has not left: an operator should know.
	for cause, want := range map[error]bool{context.Canceled: true, errors.New("stopped"): false} {
		t.Run("in the middle: "+cause.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newFixture(operations.Chat, "text/event-stream", nil)
				d := runScript(x, func(send func(string), _ func(error)) {
					send(role + content)
					x.cancel(cause)
				})
				if !d.Broken || d.CallerLeft != want || d.Outcome.Class != health.Abandoned {
					t.Errorf("delivery %+v", d)
				}
			})
		})
	}
}

func TestPlainStreamEndsWithItsTransport(t *testing.T) {
	events := "data: {\"type\":\"of a compatible server\",\"text\":\"Hi\"}\n\n" + "data: {\"type\":\"another\"}\n\n"
	x := newFixture(operations.Plain, "text/event-stream", strings.NewReader(events))
	if d := x.deliver(); d.Broken || d.Outcome.Class != health.Served || x.caller.got() != events {
		t.Errorf("delivery %+v, %q", d, x.caller.got())
	}
	x = newFixture(operations.Plain, "text/event-stream", strings.NewReader(events+"data: {"))
	if d := x.deliver(); !d.Broken || d.Outcome.Reason != "cut" {
		t.Errorf("a stream that ended inside an event: %+v", d)
	}
	x = newFixture(operations.Plain, "text/event-stream", breaking([]byte(events), io.ErrUnexpectedEOF))
	if d := x.deliver(); !d.Broken || d.Outcome.Class != health.Failed {
		t.Errorf("delivery %+v", d)
	}
}

// Whatever the stream, and however it is split into reads, the caller gets it up
// to some event, and then at most one error event.
func FuzzStreamIsRelayedUnchanged(f *testing.F) {
	f.Add([]byte(filters+role+content+stop+done), uint8(7), uint8(0))
	f.Add([]byte("\r\r\n\n: x\r\ndata: [DONE]\r\r"), uint8(1), uint8(1))
	f.Add([]byte(created+refused), uint8(64), uint8(2))
	f.Add([]byte(role), uint8(255), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, step, dialect uint8) {
		x := newFixture(operations.Dialect(dialect%3), "text/event-stream", &stepwise{stream, int(step) + 1})
		x.request.Parsed.IncludeUsage = true
		d := x.deliver()
		got := x.caller.all()
		if !d.Committed {
			if got != "" || x.caller.answered() {
				t.Fatalf("%q was sent of an uncommitted response", got)
			}
			return
		}
		if int64(len(got)) != d.Bytes {
			t.Errorf("%d bytes were sent, %d were counted", len(got), d.Bytes)
		}
		if bytes.HasPrefix(stream, []byte(got)) {
			return
		}
		if relayed, ok := strings.CutSuffix(got, done); ok && !d.Broken && bytes.HasPrefix(stream, []byte(relayed)) {
			return
		}
		relayed := got[:max(strings.LastIndex(got, "data: {"), 0)]
		relayed = strings.TrimSuffix(relayed, "event: error\n")
		if !d.Broken || !strings.Contains(got[len(relayed):], "upstream_stream_interrupted") || !bytes.HasPrefix(stream, []byte(relayed)) {
			t.Fatalf("%q became %q", stream, got)
		}
	})
}

// stepwise is a reader that returns a few bytes at a time.
type stepwise struct {
	left []byte
	step int
}

func (s *stepwise) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.left[:min(s.step, len(s.left))])
	s.left = s.left[n:]
	return n, nil
}
