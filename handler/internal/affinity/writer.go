package affinity

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	writers      = 8
	writeTimeout = 2 * time.Second // for one write, and for those that wait at the end
	maxTries     = 3
	retryPause   = 100 * time.Millisecond
)

// Run writes what is kept, and sweeps what ran out, until ctx is done; then it
// writes what still waits, as far as the table takes it within two seconds.
func (k *Store) Run(ctx context.Context) {
	if k.cfg.Table == nil {
		return
	}
	var running sync.WaitGroup
	for range writers {
		running.Go(func() { k.runWriter(ctx) })
	}
	k.sweepHourly(ctx)
	running.Wait()
	k.flush(context.WithoutCancel(ctx))
}

func (k *Store) runWriter(ctx context.Context) {
	for {
		select {
		case e := <-k.queue:
			k.writeEntry(ctx, e)
		case <-ctx.Done():
			return
		}
	}
}

// writeEntry writes one id. It goes on when ctx ends, or what was kept last would be
// lost.
func (k *Store) writeEntry(ctx context.Context, e entry) {
	var err error
	for try := range maxTries {
		if try > 0 && !sleep(ctx, retryPause<<(2*try)) {
			break
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
		_, _, err = k.cfg.Table.Upsert(bounded, rowOf(e.id, e.location))
		cancel()
		if err == nil {
			k.traffic.Store(true)
			return
		}
	}
	k.cfg.OnError(fmt.Errorf("keep the place of an id: %w", err))
}

// flush writes what waits at the end.
func (k *Store) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for {
				select {
				case e := <-k.queue:
					if _, _, err := k.cfg.Table.Upsert(ctx, rowOf(e.id, e.location)); err != nil {
						k.cfg.OnError(fmt.Errorf("keep the place of an id at the end: %w", err))
						return
					}
				default:
					return
				}
			}
		})
	}
	all.Wait()
}

// sleep is false when ctx ended first.
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
