package transcript

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/proxy"
)

var _ api.Observer = (*Recorder)(nil)

// Blobs stores blobs.
type Blobs interface {
	Put(ctx context.Context, name string, p Properties, body []byte) error
	Stage(ctx context.Context, name string, block int, body []byte) error
	Commit(ctx context.Context, name string, p Properties, blocks int) error
}

// Config configures a Recorder. Blobs and Now are required.
type Config struct {
	Blobs   Blobs
	Now     func() time.Time
	Redact  []*regexp.Regexp
	Budget  int64         // bytes that may be buffered, in total; 0 = 64 MiB
	Block   int           // bytes of one block; 0 = 4 MiB
	Timeout time.Duration // of one call; 0 = 30 s
}

// workers is how many blobs are written concurrently.
const workers = 4

// Recorder stores transcripts. It is safe for concurrent use.
type Recorder struct {
	cfg      Config
	buffered atomic.Int64 // bytes
	dropped  atomic.Uint64
	written  atomic.Uint64
	lastErr  atomic.Pointer[error]

	mu     sync.Mutex
	open   map[string]*transcriptPair // by request id
	ready  []*blobWriter              // queued for the workers
	closed bool
	wake   *sync.Cond
}

// New makes a Recorder. It writes nothing before Run.
func New(cfg Config) *Recorder {
	cfg.Budget, cfg.Block, cfg.Timeout = cmp.Or(cfg.Budget, 64<<20), cmp.Or(cfg.Block, 4<<20), cmp.Or(cfg.Timeout, 30*time.Second)
	r := &Recorder{cfg: cfg, open: map[string]*transcriptPair{}}
	r.wake = sync.NewCond(&r.mu)
	return r
}

// Dropped is how many blobs were dropped.
func (r *Recorder) Dropped() uint64 { return r.dropped.Load() }

// Written is how many blobs were written.
func (r *Recorder) Written() uint64 { return r.written.Load() }

// transcriptPair is the two blobs of a request.
type transcriptPair struct{ request, response *blobWriter }

// Record begins a transcript: it copies the request, and what is written to the
// returned writer. The caller checks that the consumer has transcripts.
func (r *Recorder) Record(w http.ResponseWriter, req *proxy.Request) http.ResponseWriter {
	name := r.cfg.Now().UTC().Format("2006/01/02/15/") + pathSegment(req.Consumer.Name) + "/" + req.ID
	rec := &transcriptPair{
		request:  &blobWriter{recorder: r, name: name + ".request", contentType: req.Header.Get("Content-Type"), partial: req.StreamedBody != nil},
		response: &blobWriter{recorder: r, name: name + ".answer"},
	}
	rec.request.write(req.Body)
	r.mu.Lock()
	r.open[req.ID] = rec
	r.mu.Unlock()
	return &copyingWriter{ResponseWriter: w, out: rec.response, stream: req.Parsed.Stream && len(r.cfg.Redact) > 0}
}

// pathSegment is a consumer's name as one segment of a path.
func pathSegment(name string) string { return strings.ReplaceAll(url.PathEscape(name), "%2F", "_") }

// RequestDone ends the transcript of a finished request.
func (r *Recorder) RequestDone(x *api.RequestRecord) {
	if x.Consumer == nil || !x.Consumer.Transcripts {
		return
	}
	r.mu.Lock()
	rec := r.open[x.ID]
	delete(r.open, x.ID)
	r.mu.Unlock()
	if rec == nil {
		return
	}
	meta := metadataOf(x)
	rec.request.finish(meta)
	rec.response.finish(meta)
}

// schedule queues a writer for the workers.
func (r *Recorder) schedule(t *blobWriter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.ready = append(r.ready, t)
	r.wake.Signal()
}

// next waits for a queued writer; nil = the recorder is closed and nothing is queued.
func (r *Recorder) next() *blobWriter {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.ready) == 0 && !r.closed {
		r.wake.Wait()
	}
	if len(r.ready) == 0 {
		return nil
	}
	t := r.ready[0]
	r.ready = r.ready[1:]
	return t
}

// drainTimeout bounds the writes after the end of Run's context.
const drainTimeout = 5 * time.Second

// Run writes until ctx is done, then what is left within drainTimeout.
func (r *Recorder) Run(ctx context.Context) {
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for t := r.next(); t != nil; t = r.next() {
				t.flush(life)
			}
		})
	}
	<-ctx.Done()
	timer := time.AfterFunc(drainTimeout, cut)
	defer timer.Stop()
	r.mu.Lock()
	r.closed = true
	r.wake.Broadcast()
	r.mu.Unlock()
	running.Wait()
}

// Err is why the last transcript was not written; nil = it was.
func (r *Recorder) Err() error {
	if err := r.lastErr.Load(); err != nil {
		return *err
	}
	return nil
}
