package transcript

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// fakeBlobs keeps blobs in memory. Its calls block or fail as set.
type fakeBlobs struct {
	mu         sync.Mutex
	blobs      map[string][]byte
	properties map[string]Properties
	staged     map[string][][]byte
	stuck      chan struct{} // calls wait for it; nil = they do not
	fail       error
}

func newFakeBlobs() *fakeBlobs {
	return &fakeBlobs{blobs: map[string][]byte{}, properties: map[string]Properties{}, staged: map[string][][]byte{}}
}

func (s *fakeBlobs) wait(ctx context.Context) error {
	if s.stuck == nil {
		return s.fail
	}
	select {
	case <-s.stuck:
		return s.fail
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeBlobs) Put(ctx context.Context, name string, p Properties, body []byte) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[name], s.properties[name] = bytes.Clone(body), p
	return nil
}

func (s *fakeBlobs) Stage(ctx context.Context, name string, block int, body []byte) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if block != len(s.staged[name]) {
		return fmt.Errorf("block %d is number %d", block, len(s.staged[name]))
	}
	s.staged[name] = append(s.staged[name], bytes.Clone(body))
	return nil
}

func (s *fakeBlobs) Commit(ctx context.Context, name string, p Properties, blocks int) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if blocks != len(s.staged[name]) {
		return fmt.Errorf("%d blocks of %d", blocks, len(s.staged[name]))
	}
	s.blobs[name], s.properties[name] = bytes.Join(s.staged[name], nil), p
	return nil
}

var team = &consumer.Consumer{Name: "team/a", Transcripts: true}

func fixedTime() time.Time { return time.Date(2026, 11, 21, 12, 30, 0, 0, time.UTC) }

func newRequest(id, body string, stream bool) *proxy.Request {
	return &proxy.Request{
		ID: id, Consumer: team, Body: []byte(body), Parsed: request.ParsedRequest{Stream: stream}, Header: http.Header{"Content-Type": {"application/json"}},
	}
}

// record records a request and its response, written in pieces.
func record(r *Recorder, req *proxy.Request, mime string, pieces ...string) *httptest.ResponseRecorder {
	out := httptest.NewRecorder()
	w := r.Record(out, req)
	w.Header().Set("Content-Type", mime)
	for _, p := range pieces {
		_, _ = w.Write([]byte(p))
		_ = http.NewResponseController(w).Flush()
	}
	r.RequestDone(&api.RequestRecord{ID: req.ID, Consumer: team, Model: "gpt-4o", Operation: "chat", Status: 200})
	return out
}

// withRecorder runs a recorder during use.
func withRecorder(t *testing.T, cfg Config, use func(r *Recorder)) *Recorder {
	t.Helper()
	cfg.Now = fixedTime
	r := New(cfg)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	use(r)
	stop()
	running.Wait()
	return r
}

const teamPrefix = "2026/11/21/12/team_a/"

func TestRequestAndResponseAreWritten(t *testing.T) {
	s := newFakeBlobs()
	long := strings.Repeat("0123456789", 1_000_000) // several blocks
	r := withRecorder(t, Config{Blobs: s, Block: 1 << 20}, func(r *Recorder) {
		out := record(r, newRequest("req_1", `{"q":1}`, false), "application/json", "{", `"a":1}`)
		if out.Body.String() != `{"a":1}` || !out.Flushed {
			t.Errorf("the caller got %q", out.Body.String())
		}
		var pieces []string
		for rest := long; rest != ""; {
			n := min(1+rand.IntN(100_000), len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		record(r, newRequest("req_2", long, false), "text/plain", pieces...)
		record(r, newRequest("req_3", `{}`, false), "") // no response
	})
	for name, want := range map[string]string{"req_1.request": `{"q":1}`, "req_1.answer": `{"a":1}`, "req_2.request": long, "req_2.answer": long, "req_3.request": `{}`} {
		if got := string(s.blobs[teamPrefix+name]); got != want {
			t.Errorf("%s holds %d bytes, want %d", name, len(got), len(want))
		}
	}
	if len(s.blobs) != 5 || r.Written() != 5 || r.Dropped() != 0 || r.buffered.Load() != 0 || len(r.open) != 0 {
		t.Errorf("%d blobs, %d dropped, %d bytes buffered, %d open", len(s.blobs), r.Dropped(), r.buffered.Load(), len(r.open))
	}
	if a := s.properties[teamPrefix+"req_1.answer"]; a.ContentType != "application/json" || a.Metadata["Consumer"] != "team/a" || a.Metadata["Status"] != "200" {
		t.Errorf("%+v", a)
	}
}

// While the container hangs, callers do not wait, the buffer is bounded, and whole
// blobs are dropped and counted.
func TestHangingContainerDropsTranscripts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeBlobs()
		s.stuck = make(chan struct{})
		began := time.Now()
		r := withRecorder(t, Config{Blobs: s, Budget: 1 << 20, Block: 1 << 16}, func(r *Recorder) {
			body := strings.Repeat("x", 10_000)
			for i := range 500 {
				record(r, newRequest(fmt.Sprint("req_", i), body, false), "text/plain", body)
				if held := r.buffered.Load(); held > 1<<20 {
					t.Fatalf("%d bytes are buffered", held)
				}
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("callers waited %v", took)
			}
			close(s.stuck)
		})
		if r.Dropped() < 800 || r.buffered.Load() != 0 {
			t.Errorf("%d dropped, %d bytes buffered", r.Dropped(), r.buffered.Load())
		}
		for name, got := range s.blobs {
			if len(got) != 10_000 {
				t.Errorf("%s holds a part: %d bytes", name, len(got))
			}
		}
		if uint64(len(s.blobs)) != r.Written() || len(s.blobs) == 0 {
			t.Errorf("%d blobs, %d written", len(s.blobs), r.Written())
		}
	})
}

func TestRunEndsDespiteHangingContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeBlobs()
		s.stuck = make(chan struct{})
		began := time.Now()
		withRecorder(t, Config{Blobs: s}, func(r *Recorder) { record(r, newRequest("req_1", "{}", false), "text/plain", "x") })
		if took := time.Since(began); took > drainTimeout+time.Second {
			t.Errorf("Run ended after %v", took)
		}
	})
}

func TestFailuresAreReportedAndCounted(t *testing.T) {
	s := newFakeBlobs()
	s.fail = errors.New("403")
	r := withRecorder(t, Config{Blobs: s}, func(r *Recorder) {
		for i := range 5 {
			record(r, newRequest(fmt.Sprint("req_", i), "{}", false), "text/plain", "x")
			record(r, newRequest(fmt.Sprint("req_left_", i), "{}", false), "text/plain") // without a response there is nothing to write
		}
	})
	if !errors.Is(r.Err(), s.fail) || r.Dropped() != 15 || r.buffered.Load() != 0 {
		t.Errorf("reported %v, %d dropped, %d bytes buffered", r.Err(), r.Dropped(), r.buffered.Load())
	}
}

func TestOnlyConfiguredConsumersAreRecorded(t *testing.T) {
	s := newFakeBlobs()
	withRecorder(t, Config{Blobs: s}, func(r *Recorder) {
		r.RequestDone(&api.RequestRecord{ID: "req_1", Consumer: &consumer.Consumer{Name: "team-b"}})
		r.RequestDone(&api.RequestRecord{ID: "req_2"})
		r.RequestDone(&api.RequestRecord{ID: "req_3", Consumer: team}) // rejected before Record
	})
	if len(s.blobs) != 0 {
		t.Errorf("%v", s.blobs)
	}
}

func TestRedaction(t *testing.T) {
	const secret = "sk-abcdefghijklmnopqrstuvwxyz"
	s := newFakeBlobs()
	withRecorder(t, Config{Blobs: s, Block: 100, Redact: []*regexp.Regexp{regexp.MustCompile("sk-[a-z]{20,}"), regexp.MustCompile("[0-9]{16}")}}, func(r *Recorder) {
		body := `{"content":"my key is ` + secret + ` and my card 4111111111111111"}`
		record(r, newRequest("req_1", body, false), "application/json", body[:30], body[30:40], body[40:])
		// Many blocks, with the secret across each of their boundaries.
		var pieces []string
		for range 3000 {
			pieces = append(pieces, secret[:7], secret[7:], strings.Repeat(" ", 60))
		}
		record(r, newRequest("req_2", "{}", false), "text/plain", pieces...)
		// A stream, with each character in an event of its own.
		var events []string
		for i := range secret {
			events = append(events, fmt.Sprintf("data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", secret[i:i+1]))
		}
		record(r, newRequest("req_3", "{}", true), "text/event-stream", append(events, "data: [DONE]\n\n")...)
	})
	for name, text := range s.blobs {
		if bytes.Contains(text, []byte("sk-abc")) || bytes.Contains(text, []byte("41111")) || bytes.Contains(text, []byte("xyz")) {
			t.Errorf("%s holds the secret: %.200s", name, text)
		}
	}
	if got := string(s.blobs[teamPrefix+"req_1.answer"]); got != `{"content":"my key is [redacted] and my card [redacted]"}` {
		t.Errorf("%s", got)
	}
	if n := bytes.Count(s.blobs[teamPrefix+"req_2.answer"], []byte(redactedText)); n != 3000 {
		t.Errorf("%d of 3000 redacted", n)
	}
	if got := string(s.blobs[teamPrefix+"req_3.answer"]); !strings.Contains(got, `"text": "[redacted]"`) {
		t.Errorf("%s", got)
	}
}

// FuzzRedact checks that a text in parts is redacted as the whole text is.
func FuzzRedact(f *testing.F) {
	f.Add("my key is sk-aaaaaaaaaa.", uint64(1))
	f.Add("sk-aaaasksk-bbbbbbb4444444", uint64(7))
	f.Fuzz(func(t *testing.T, seed string, cuts uint64) {
		text := strings.Repeat(seed+" sk-aaaaa 1234 ", 20_000)[:200_000]
		redact := []*regexp.Regexp{regexp.MustCompile("sk-[a-z]{4,30}"), regexp.MustCompile("[0-9]{4}")}
		whole := (&blobWriter{recorder: &Recorder{cfg: Config{Redact: redact}}}).redact([]byte(text), true)
		parts := &blobWriter{recorder: &Recorder{cfg: Config{Redact: redact}}}
		random := rand.New(rand.NewPCG(cuts, 1))
		var kept []byte
		for rest := text; ; {
			n := min(1+random.IntN(90_000), len(rest))
			kept = append(kept, parts.redact([]byte(rest[:n]), n == len(rest))...)
			if rest = rest[n:]; rest == "" {
				break
			}
		}
		if !bytes.Equal(whole, kept) {
			t.Fatalf("%d bytes in one piece, %d in several", len(whole), len(kept))
		}
	})
}

func BenchmarkCopyingWriter(b *testing.B) {
	r := New(Config{Blobs: newFakeBlobs(), Now: fixedTime, Budget: 1 << 40})
	chunk := []byte(strings.Repeat("x", 285))
	w := r.Record(discardWriter{}, newRequest("req_1", "{}", true))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.Write(chunk)
	}
}

type discardWriter struct{}

func (discardWriter) Header() http.Header         { return http.Header{} }
func (discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (discardWriter) WriteHeader(int)             {}
