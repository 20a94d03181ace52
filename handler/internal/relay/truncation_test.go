package relay_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
)

// A client takes a response for complete unless its connection is aborted, so
// only a stream cut after its finish reason may end normally.
func TestTruncatedStreamNeverLooksComplete(t *testing.T) {
	for _, c := range []struct {
		file     string
		dialect  operations.Dialect
		finished string // the stream is complete after the last event with this text
		choices  int64
	}{
		{"chat.sse", operations.Chat, `"finish_reason":"stop"`, 1},
		{"completions.sse", operations.Chat, `"finish_reason":"length"`, 2},
		{"responses.sse", operations.Responses, `"type":"response.completed"`, 1},
		{"messages.sse", operations.Messages, `"type":"message_delta"`, 1},
		{"images.sse", operations.Plain, `"type":"image_generation.completed"`, 1},
		{"transcript.sse", operations.Plain, `"type":"transcript.text.done"`, 1},
		{"speech.sse", operations.Plain, `"type":"speech.audio.done"`, 1},
	} {
		for form, stream := range forms(recorded(t, c.file)) {
			choices := c.choices
			if form == "two choices" {
				choices *= 2
			}
			for ending, err := range map[string]error{"reset": errReset, "cut": io.ErrUnexpectedEOF, "end": io.EOF} {
				if form != "as it is" && ending != "end" {
					continue // a clean end is the one that may be taken for success
				}
				t.Run(c.file+"/"+form+"/"+ending, func(t *testing.T) {
					whole := endOfEvent(stream, c.finished)
					for k := range len(stream) + 1 {
						x := newFixture(c.dialect, "text/event-stream", breaking(stream[:k], err))
						x.request.Parsed.IncludeUsage, x.request.Parsed.Returned = true, choices
						checkTruncated(t, x, stream[:k], k >= whole)
						if t.Failed() {
							t.Fatalf("cut at byte %d of %d", k, len(stream))
						}
					}
				})
			}
		}
	}
}

// forms are the ways in which servers write the same events.
func forms(stream []byte) map[string][]byte {
	all := map[string][]byte{
		"as it is": stream,
		"CRLF":     bytes.ReplaceAll(stream, []byte("\n"), []byte("\r\n")),
		"CR":       bytes.ReplaceAll(stream, []byte("\n"), []byte("\r")),
		"comments": bytes.ReplaceAll(append([]byte("\n"), stream...), []byte("\ndata: "), []byte("\n: ping\nid: 7\ndata: ")),
		"pings":    bytes.ReplaceAll(stream, []byte("\n\n"), []byte("\n\n: ping\n\n")),
	}
	if bytes.Contains(stream, []byte("image_generation.completed")) {
		all["two choices"] = bytes.Repeat(stream, 2)
	}
	if without, ok := bytes.CutSuffix(stream, []byte(done)); ok {
		all["no [DONE]"] = without
		var two []byte
		for event := range bytes.SplitAfterSeq(without, []byte("\n\n")) {
			two = append(two, event...)
			if again := bytes.Replace(event, []byte(`"index":0,`), []byte(`"index":1,`), 1); !bytes.Equal(again, event) && !bytes.Contains(without, []byte(`"index":1,`)) {
				two = append(two, again...)
			}
		}
		if len(two) > len(without) {
			all["two choices"] = append(two, done...)
		}
	}
	return all
}

// lastEvents are what a complete stream has once, whether the backend sent it or not.
var lastEvents = map[operations.Dialect]string{
	operations.Chat: "\ndata: [DONE]", operations.Responses: `"type":"response.completed"`, operations.Messages: "\nevent: message_stop",
}

func checkTruncated(t *testing.T, x *fixture, sent []byte, whole bool) {
	t.Helper()
	d := x.deliver()
	got := x.caller.all()
	switch {
	case whole && (d.Broken || d.Outcome.Class != health.Served):
		t.Errorf("a complete stream was reported as %+v", d)
	case whole && strings.Count(strings.ReplaceAll(got, "\r", "\n"), lastEvents[x.request.Operation.Dialect]) != 1 && x.request.Operation.Dialect != operations.Plain:
		t.Errorf("ends with %q", tail(got))
	case whole:
	case d.Outcome.Class != health.Failed:
		t.Errorf("outcome %v (%s), want failed", d.Outcome.Class, d.Outcome.Reason)
	case !d.Committed && got != "":
		t.Errorf("%d bytes were sent of an uncommitted response", len(got))
	case d.Committed && !d.Broken:
		t.Error("the response ended as if it were complete")
	case d.Committed && !strings.Contains(got[strings.LastIndex(strings.TrimSpace(got), "data: "):], `"error":{`) && !strings.Contains(got, `"type":"error"`):
		t.Errorf("ends without an error event: %q", tail(got))
	}
	if i := strings.LastIndex(got, `"upstream_stream_interrupted"`); i >= 0 {
		before := got[:strings.LastIndex(got[:i], "\n\n")+2]
		if !bytes.HasPrefix(sent, []byte(before)) && !strings.Contains(before, "event: error") {
			t.Errorf("what was relayed is not what was sent: %q", tail(before))
		}
	}
}

func endOfEvent(stream []byte, holding string) int {
	at := bytes.LastIndex(stream, []byte(holding))
	for _, blank := range []string{"\r\n\r\n", "\n\n", "\r\r"} {
		if i := bytes.Index(stream[at:], []byte(blank)); i >= 0 {
			return at + i + len(blank)
		}
	}
	return -1
}

func tail(s string) string { return s[max(0, len(s)-200):] }
