// Package coroutine runs the synchronization of a replica in virtual time: as a
// coroutine, which continues when a scheduler of events says so.
package coroutine

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Pacer is the [fleet.Pacer] of a replica whose Run is started by it. After is required:
// it has something done when d has passed. One goroutine uses a Pacer, that of the
// scheduler.
type Pacer struct {
	After func(d time.Duration, do func())

	next       func() (time.Duration, bool)
	stop       func()
	yield      func(time.Duration) bool
	generation int
	waiting    bool
	woken      bool
}

var errStopped = errors.New("stopped")

// Start runs f after delay. Until f returns, it may wait by the Pacer alone.
func (p *Pacer) Start(delay time.Duration, f func()) {
	p.next, p.stop = iter.Pull(func(yield func(time.Duration) bool) {
		defer func() {
			if e := recover(); e != nil && e != errStopped { //nolint:errorlint // it is that very value
				panic(e)
			}
		}()
		p.yield = yield
		f()
	})
	p.schedule(delay)
}

// Stop ends f where it waits. It must be called after Start.
func (p *Pacer) Stop() { p.stop() }

// schedule continues f after d, unless it continued before.
func (p *Pacer) schedule(d time.Duration) {
	generation := p.generation
	p.After(d, func() {
		if p.generation != generation {
			return
		}
		p.generation++
		if d, ok := p.next(); ok {
			p.schedule(d)
		}
	})
}

// Sleep returns when d has passed.
func (p *Pacer) Sleep(_ context.Context, d time.Duration) {
	if !p.yield(max(d, 1)) {
		panic(errStopped)
	}
}

// Wait returns when d has passed, or, then with true, when Wake was called.
func (p *Pacer) Wait(ctx context.Context, d time.Duration) bool {
	if p.woken {
		d = 1
	}
	p.waiting = true
	p.Sleep(ctx, d)
	p.waiting = false
	woken := p.woken
	p.woken = false
	return woken
}

// Wake never blocks.
func (p *Pacer) Wake() {
	p.woken = true
	if p.waiting {
		p.waiting = false
		p.schedule(0)
	}
}
