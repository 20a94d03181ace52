package transcript

import (
	"context"
	"sync"
)

// blobWriter buffers the bytes of one blob that are not written yet.
type blobWriter struct {
	recorder    *Recorder
	name        string
	contentType string
	partial     bool // the bytes are not the whole body
	joinEvents  bool // store the texts of a stream, not its events

	mu         sync.Mutex
	buffered   []byte
	ended      bool
	dropped    bool
	queued     bool // waits for a worker, or is with one
	properties Properties

	// Only the worker that has the writer uses these.
	blocks int
	carry  []byte // unredacted bytes: a match may end in the next part
}

// write copies p. It never blocks: above the budget the whole blob is dropped.
func (t *blobWriter) write(p []byte) {
	if len(p) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped || t.ended {
		return
	}
	if t.recorder.buffered.Add(int64(len(p))) > t.recorder.cfg.Budget {
		t.recorder.buffered.Add(-int64(len(p)))
		t.drop()
		return
	}
	t.buffered = append(t.buffered, p...)
	if len(t.buffered) >= t.recorder.cfg.Block && !t.joinEvents {
		t.enqueue()
	}
}

// drop frees the buffer. The caller holds mu.
func (t *blobWriter) drop() {
	t.recorder.buffered.Add(-int64(len(t.buffered)))
	t.buffered, t.dropped = nil, true
	t.recorder.dropped.Add(1)
}

// enqueue passes the writer to a worker, unless it is with one. The caller holds
// mu.
func (t *blobWriter) enqueue() {
	if !t.queued {
		t.queued = true
		t.recorder.schedule(t)
	}
}

// finish has the rest written, with its metadata.
func (t *blobWriter) finish(meta map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped || t.ended {
		return
	}
	t.ended = true
	own := map[string]string{}
	for name, value := range meta {
		own[name] = value
	}
	if t.partial {
		own["Partial"] = "true"
	}
	t.properties = Properties{ContentType: t.contentType, Metadata: own}
	t.enqueue()
}

// flush writes what is buffered, until there is less than a block.
func (t *blobWriter) flush(ctx context.Context) {
	for {
		part, last, ok := t.takePart()
		if !ok {
			return
		}
		if err := t.writePart(ctx, part, last); err != nil {
			t.dropFailed()
			return
		}
		if last {
			return
		}
	}
}

// takePart is the next part to write; false = less than a block is buffered.
func (t *blobWriter) takePart() (part []byte, last, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped || !t.ended && (t.joinEvents || len(t.buffered) < t.recorder.cfg.Block) {
		t.queued = false
		return nil, false, false
	}
	part, t.buffered = t.buffered, nil
	return part, t.ended, true
}

// writePart writes a part. Then its bytes no longer count against the budget.
func (t *blobWriter) writePart(ctx context.Context, part []byte, last bool) error {
	defer t.recorder.buffered.Add(-int64(len(part)))
	text := t.redact(part, last)
	if last && t.blocks == 0 {
		if len(text) == 0 {
			return nil // there was no response
		}
		return t.countWritten(t.call(ctx, func(ctx context.Context) error { return t.recorder.cfg.Blobs.Put(ctx, t.name, t.properties, text) }))
	}
	if len(text) > 0 {
		if err := t.call(ctx, func(ctx context.Context) error { return t.recorder.cfg.Blobs.Stage(ctx, t.name, t.blocks, text) }); err != nil {
			return err
		}
		t.blocks++
	}
	if !last {
		return nil
	}
	return t.countWritten(t.call(ctx, func(ctx context.Context) error {
		return t.recorder.cfg.Blobs.Commit(ctx, t.name, t.properties, t.blocks)
	}))
}

// countWritten counts a complete blob.
func (t *blobWriter) countWritten(err error) error {
	if err == nil {
		t.recorder.written.Add(1)
	}
	return err
}

func (t *blobWriter) call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.recorder.cfg.Timeout)
	defer cancel()
	err := do(ctx)
	if err == nil {
		t.recorder.lastErr.Store(nil)
	} else {
		t.recorder.lastErr.Store(&err)
	}
	return err
}

// dropFailed drops a blob that cannot be written. The service deletes blocks that
// are not committed.
func (t *blobWriter) dropFailed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dropped {
		t.drop()
	}
}
