package transcript

import (
	"context"
	"sync"
)

// blobWriter is one blob under way: what was said and is not yet written.
type blobWriter struct {
	recorder    *Recorder
	name        string
	contentType string
	partial     bool // it is known not to be all
	joinEvents  bool // the texts of a stream are kept, not its events

	mu         sync.Mutex
	waiting    []byte
	ended      bool
	dropped    bool // given up
	queued     bool // a worker will look, or is looking
	properties Properties

	// Only the worker that looks at the tape touches these.
	blocks int
	carry  []byte // redaction needs to see what comes next
}

// write copies what was said. It never waits: where there is no room the whole
// tape is given up.
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
	t.waiting = append(t.waiting, p...)
	if len(t.waiting) >= t.recorder.cfg.Block && !t.joinEvents {
		t.enqueue()
	}
}

// drop lets go of everything. The caller holds mu.
func (t *blobWriter) drop() {
	t.recorder.buffered.Add(-int64(len(t.waiting)))
	t.waiting, t.dropped = nil, true
	t.recorder.dropped.Add(1)
}

// enqueue has a worker enqueue at the tape, once. The caller holds mu.
func (t *blobWriter) enqueue() {
	if !t.queued {
		t.queued = true
		t.recorder.schedule(t)
	}
}

// finish has the rest written, with what is known now.
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

// flush writes what is there, until there is nothing to do for now.
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

// takePart is the next part to write; false when none is worth a call yet.
func (t *blobWriter) takePart() (part []byte, last, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dropped || !t.ended && (t.joinEvents || len(t.waiting) < t.recorder.cfg.Block) {
		t.queued = false
		return nil, false, false
	}
	part, t.waiting = t.waiting, nil
	return part, t.ended, true
}

// writePart writes a part. What was held for it is free when that is done.
func (t *blobWriter) writePart(ctx context.Context, part []byte, last bool) error {
	defer t.recorder.buffered.Add(-int64(len(part)))
	text := t.redact(part, last)
	if last && t.blocks == 0 {
		if len(text) == 0 {
			return nil // there was no answer
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

// countWritten counts a blob that is there now.
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
	t.recorder.reportError(err)
	return err
}

// dropFailed gives up a tape that cannot be written. Blocks without a list are
// swept by the service.
func (t *blobWriter) dropFailed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.dropped {
		t.drop()
	}
}
