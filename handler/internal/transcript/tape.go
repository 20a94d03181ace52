package transcript

import (
	"context"
	"sync"

	"spillway/handler/internal/transcript/blob"
)

// tape is one blob under way: what was said and is not yet written.
type tape struct {
	of      *Recorder
	name    string
	mime    string
	partial bool // it is known not to be all
	joined  bool // the texts of a stream are kept, not its events

	mu      sync.Mutex
	waiting []byte
	ended   bool
	lost    bool // given up
	queued  bool // a worker will look, or is looking
	about   blob.About

	// Only the worker that looks at the tape touches these.
	blocks int
	seam   []byte // redaction needs to see what comes next
}

// write copies what was said. It never waits: where there is no room the whole
// tape is given up.
func (t *tape) write(p []byte) {
	if len(p) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost || t.ended {
		return
	}
	if t.of.held.Add(int64(len(p))) > t.of.cfg.Budget {
		t.of.held.Add(-int64(len(p)))
		t.giveUp()
		return
	}
	t.waiting = append(t.waiting, p...)
	if len(t.waiting) >= t.of.cfg.Block && !t.joined {
		t.look()
	}
}

// giveUp lets go of everything. The caller holds mu.
func (t *tape) giveUp() {
	t.of.held.Add(-int64(len(t.waiting)))
	t.waiting, t.lost = nil, true
	t.of.dropped.Add(1)
}

// look has a worker look at the tape, once. The caller holds mu.
func (t *tape) look() {
	if !t.queued {
		t.queued = true
		t.of.schedule(t)
	}
}

// end has the rest written, with what is known now.
func (t *tape) end(meta map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost || t.ended {
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
	t.about = blob.About{Type: t.mime, Meta: own}
	t.look()
}

// flush writes what is there, until there is nothing to do for now.
func (t *tape) flush(ctx context.Context) {
	for {
		part, last, ok := t.take()
		if !ok {
			return
		}
		if err := t.store(ctx, part, last); err != nil {
			t.abandon()
			return
		}
		if last {
			return
		}
	}
}

// take is the next part to write; false when none is worth a call yet.
func (t *tape) take() (part []byte, last, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost || !t.ended && (t.joined || len(t.waiting) < t.of.cfg.Block) {
		t.queued = false
		return nil, false, false
	}
	part, t.waiting = t.waiting, nil
	return part, t.ended, true
}

// store writes a part. What was held for it is free when that is done.
func (t *tape) store(ctx context.Context, part []byte, last bool) error {
	defer t.of.held.Add(-int64(len(part)))
	text := t.redacted(part, last)
	if last && t.blocks == 0 {
		if len(text) == 0 {
			return nil // there was no answer
		}
		return t.written(t.call(ctx, func(ctx context.Context) error { return t.of.cfg.Blobs.Put(ctx, t.name, t.about, text) }))
	}
	if len(text) > 0 {
		if err := t.call(ctx, func(ctx context.Context) error { return t.of.cfg.Blobs.Stage(ctx, t.name, t.blocks, text) }); err != nil {
			return err
		}
		t.blocks++
	}
	if !last {
		return nil
	}
	return t.written(t.call(ctx, func(ctx context.Context) error { return t.of.cfg.Blobs.Commit(ctx, t.name, t.about, t.blocks) }))
}

// written counts a blob that is there now.
func (t *tape) written(err error) error {
	if err == nil {
		t.of.written.Add(1)
	}
	return err
}

func (t *tape) call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.of.cfg.Timeout)
	defer cancel()
	err := do(ctx)
	t.of.note(err)
	return err
}

// abandon gives up a tape that cannot be written. Blocks without a list are
// swept by the service.
func (t *tape) abandon() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.lost {
		t.giveUp()
	}
}
