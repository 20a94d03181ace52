package affinity

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	writers      = 8
	writeTimeout = 2 * time.Second // of one write, and of all that wait at the end
	maxTries     = 3
	retryPause   = 100 * time.Millisecond
)

// Run reads the secret, writes ids, and deletes expired ones, until ctx is done; then it
// writes the ids that still wait, as far as the table takes them within two seconds.
func (s *Store) Run(ctx context.Context) {
	if s.cfg.Table == nil {
		return
	}
	var running sync.WaitGroup
	for range writers {
		running.Go(func() { s.runWriter(ctx) })
	}
	running.Go(func() { s.shareSecret(ctx) })
	s.sweepHourly(ctx)
	running.Wait()
	s.flush(context.WithoutCancel(ctx))
}

func (s *Store) runWriter(ctx context.Context) {
	for {
		e, ok := s.queue.pop(ctx)
		if !ok {
			return
		}
		s.writeEntry(ctx, e)
	}
}

// writeEntry writes one id. It continues when ctx ends, so that the last ones
// are not lost. An id that the table does not take waits again, behind those of its
// owner: other instances learn it when the table is back, however late.
func (s *Store) writeEntry(ctx context.Context, e entry) {
	var err error
	for try := 0; try < maxTries; try++ {
		if try > 0 && !sleep(ctx, retryPause<<(2*try)) {
			try = maxTries // this is the last one
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
		err = s.insert(bounded, e)
		cancel()
		if err == nil {
			return
		}
	}
	s.cfg.OnError(fmt.Errorf("record the location of an id: %w", err))
	if ctx.Err() == nil {
		s.enqueue(e)
	}
}

// flush writes the ids that wait at the end.
func (s *Store) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for e, ok := s.queue.poll(); ok; e, ok = s.queue.poll() {
				if err := s.insert(ctx, e); err != nil {
					s.cfg.OnError(fmt.Errorf("record the location of an id at shutdown: %w", err))
					return
				}
			}
		})
	}
	all.Wait()
}

// sleep waits for d. It returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
