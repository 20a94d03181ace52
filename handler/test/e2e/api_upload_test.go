package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

const uploadPath = "/openai/v1/audio/transcriptions"

// peakMemory is the most memory that the handler's process ever had, in bytes.
func (r *rig) peakMemory() int64 {
	r.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.host.HandlerPID()))
	if err != nil {
		r.t.Skip("this system does not tell how much memory a process had: ", err)
	}
	_, line, _ := strings.Cut(string(text), "VmHWM:")
	kb, err := strconv.ParseInt(strings.Fields(line)[0], 10, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	return kb << 10
}

// An upload is held once, however many backends it goes to.
func TestUploadIsBufferedOnce(t *testing.T) {
	t.Parallel()
	resources := []simulator.Resource{deployed("a", "whisper-1"), deployed("b", "whisper-1"), deployed("c", "whisper-1"), deployed("d", "whisper-1")}
	r := api{resources: resources, entry: withPriorities("a", "b", "c", "d")}.start(t)
	sound := randomBytes(20 << 20)
	body, contentType := multipartForm(t, sound, "model", "whisper-1")
	r.get("GET", "/openai/v1/models")
	before := r.peakMemory()
	for range 3 {
		for _, name := range []string{"a", "b", "c"} {
			r.sim.Next(name, simulator.Fault{Action: "503"})
		}
		if a := r.post(uploadPath, body, "Content-Type", contentType); a.status != 200 || a.backend() != "d" {
			t.Fatalf("%d by %q: %s", a.status, a.backend(), a.body)
		}
	}
	for _, e := range r.sim.Journal() {
		if file, model := fileOf(t, e); !slices.Equal(file, sound) || model != "whisper-1-at-"+e.Resource {
			t.Errorf("%s received %d bytes for %q", e.Resource, len(file), model)
		}
	}
	if n := len(r.sim.Journal()); n != 12 {
		t.Errorf("%d attempts, want 12", n)
	}
	grown := r.peakMemory() - before
	t.Logf("three uploads of %d bytes to four backends each cost %d MiB at their peak", len(body), grown>>20)
	if most := int64(75) << 20; grown > most { // one held, others not collected yet
		t.Errorf("the process grew by %d MiB, want at most %d", grown>>20, most>>20)
	}
}

// What is longer than what is held goes through while it comes, and no memory
// is taken for it.
func TestUploadBeyondTheBufferIsStreamed(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("a", "whisper-1"), deployed("b", "whisper-1")}, entry: withPriorities("a", "b")}.start(t)
	sound := randomBytes(60 << 20)
	body, contentType := multipartForm(t, sound)
	path := "/openai/deployments/whisper-1/audio/transcriptions?api-version=2024-10-21"
	before := r.peakMemory()
	if a := r.post(path, body, "Content-Type", contentType); a.status != 200 || a.backend() != "a" {
		t.Fatalf("%d by %q: %s", a.status, a.backend(), a.body)
	}
	if file, _ := fileOf(t, r.sim.Journal()[0]); !slices.Equal(file, sound) {
		t.Errorf("%d bytes came", len(file))
	}
	grown := r.peakMemory() - before
	t.Logf("an upload of %d MiB cost %d MiB at its peak", len(body)>>20, grown>>20)
	if grown > 40<<20 {
		t.Errorf("the process grew by %d MiB for a body that it does not hold", grown>>20)
	}

	r.sim.Next("a", simulator.Fault{Action: "503"})
	wantRefusal(t, r.post(path, body, "Content-Type", contentType), 503, "no_backend_available")
	if n := len(r.sim.JournalOf("b")); n != 0 {
		t.Errorf("b was sent the rest of an upload that had begun elsewhere, %d times", n)
	}
	if a := r.post(path, body, "Content-Type", contentType); a.status != 200 {
		t.Errorf("after a failure: %d %s", a.status, a.body)
	}
	wantRefusal(t, r.post(uploadPath, body, "Content-Type", contentType), 400, "model_missing")
	r.sim.Down("a") // before a byte was taken: b can have it
	if a := r.post(path, body, "Content-Type", contentType); a.status != 200 || a.backend() != "b" {
		t.Errorf("with a gone: %d by %q: %s", a.status, a.backend(), a.body)
	}
}

// The model may be anywhere in a form that is held.
func TestMultipartForms(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("a", "whisper-1")}}.start(t)
	good, contentType := multipartForm(t, []byte("sound"), "language", "en", "model", "whisper-1")
	unnamed, unnamedType := multipartForm(t, []byte("sound"))
	twice, twiceType := multipartForm(t, []byte("sound"), "model", "whisper-1", "model", "other")
	for name, c := range map[string]struct {
		body, contentType string
		status            int
		code              string
	}{
		"good":             {good, contentType, 200, ""},
		"no model":         {unnamed, unnamedType, 400, "model_missing"},
		"two models":       {twice, twiceType, 400, "invalid_form"},
		"cut":              {good[:len(good)-20], contentType, 400, "invalid_form"},
		"no boundary":      {good, "multipart/form-data", 400, "invalid_form"},
		"another boundary": {good, "multipart/form-data; boundary=x", 400, "invalid_form"},
		"no form":          {"sound", "audio/mpeg", 400, "invalid_form"},
		"empty":            {"", contentType, 400, "invalid_form"},
	} {
		a := r.post(uploadPath, c.body, "Content-Type", c.contentType)
		if c.code != "" {
			wantRefusal(t, a, c.status, c.code)
		} else if a.status != c.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if n := len(r.sim.Journal()); n != 1 {
		t.Errorf("%d requests reached the backend, want 1", n)
	}
}

// A caller that breaks off its upload, or sends more than is allowed, is no
// failure of a backend.
func TestTruncatedUploadAffectsNoOtherRequest(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("a", "whisper-1")}, env: []string{"SPILLWAY_MAX_BODY=30MiB"}}.start(t)
	body, contentType := multipartForm(t, randomBytes(35<<20))
	path := "/openai/deployments/whisper-1/audio/transcriptions?api-version=2024-10-21"
	wantRefusal(t, r.post(path, body, "Content-Type", contentType), 413, "request_too_large")
	var leaving sync.WaitGroup
	for range 8 {
		leaving.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			begun := &disconnectingReader{text: body[:27<<20], left: cancel}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.host.URL+path, begun)
			if err != nil {
				t.Error(err)
				return
			}
			req.ContentLength = 29 << 20
			req.Header.Set("Content-Type", contentType)
			if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
				res.Body.Close()
			}
		})
	}
	leaving.Wait()
	short, shortType := multipartForm(t, []byte("sound"), "model", "whisper-1")
	if a := r.post(uploadPath, short, "Content-Type", shortType); a.status != 200 {
		t.Errorf("after callers that left: %d %s", a.status, a.body)
	}
}

// disconnectingReader is a body whose caller leaves where its text ends.
type disconnectingReader struct {
	text string
	left func()
}

// Read gives the text, and then goes.
func (l *disconnectingReader) Read(p []byte) (int, error) {
	if l.text == "" {
		time.Sleep(20 * time.Millisecond) // until what was sent has left
		l.left()
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, l.text)
	l.text = l.text[n:]
	return n, nil
}
