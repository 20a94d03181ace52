package affinity

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	writers  = 8
	patience = 2 * time.Second // for one write, and for those that wait at the end
	tries    = 3
	pause    = 100 * time.Millisecond
)

// Run writes what is kept, and sweeps what ran out, until ctx is done; then it
// writes what still waits, as far as the table takes it within two seconds.
func (k *Keeper) Run(ctx context.Context) {
	if k.cfg.Store == nil {
		return
	}
	var running sync.WaitGroup
	for range writers {
		running.Go(func() { k.write(ctx) })
	}
	k.sweepHourly(ctx)
	running.Wait()
	k.flush(context.WithoutCancel(ctx))
}

func (k *Keeper) write(ctx context.Context) {
	for {
		select {
		case e := <-k.queue:
			k.save(ctx, e)
		case <-ctx.Done():
			return
		}
	}
}

// save writes one id. It goes on when ctx ends, or what was kept last would be
// lost.
func (k *Keeper) save(ctx context.Context, e entry) {
	var err error
	for try := range tries {
		if try > 0 && !sleep(ctx, pause<<(2*try)) {
			break
		}
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		_, _, err = k.cfg.Store.Set(bounded, row(e.name, e.place))
		cancel()
		if err == nil {
			k.asked.Store(true)
			return
		}
	}
	k.cfg.Trouble(fmt.Errorf("keep the place of an id: %w", err))
}

// flush writes what waits at the end.
func (k *Keeper) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for {
				select {
				case e := <-k.queue:
					if _, _, err := k.cfg.Store.Set(ctx, row(e.name, e.place)); err != nil {
						k.cfg.Trouble(fmt.Errorf("keep the place of an id at the end: %w", err))
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
