package e2e_test

import (
	"context"
	"slices"
	"sync"
	"time"
)

// load is requests at a steady rate, whatever becomes of them, to some
// instances in turn.
type load struct {
	stop  context.CancelFunc
	ended sync.WaitGroup

	mu    sync.Mutex
	shots []sample
}

// paced does something so many times a second, each time in a goroutine of its
// own, until ctx is done. ended waits for the last of them.
func paced(ctx context.Context, ended *sync.WaitGroup, perSecond float64, do func(i int)) {
	ended.Go(func() {
		tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				ended.Go(func() { do(i) })
			}
		}
	})
}

// fire begins a load of so many requests a second, all instances together.
func (f *fleet) fire(perSecond float64, members ...*member) *load {
	ctx, stop := context.WithCancel(f.t.Context())
	l := &load{stop: stop}
	f.t.Cleanup(func() { l.finish() })
	paced(ctx, &l.ended, perSecond, func(i int) { l.add(members[i%len(members)].send()) })
	return l
}

func (l *load) add(s sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shots = append(l.shots, s)
}

// finish ends the load, waits for its answers, and returns all of them in the
// order they were asked for.
func (l *load) finish() []sample {
	l.stop()
	l.ended.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(l.shots, func(a, b sample) int { return a.sent.Compare(b.sent) })
	return l.shots
}

// between are the shots that were sent in a span of time.
func between(samples []sample, from, to time.Time) []sample {
	var in []sample
	for i := range samples {
		if !samples[i].sent.Before(from) && samples[i].sent.Before(to) {
			in = append(in, samples[i])
		}
	}
	return in
}

// failures counts the shots that were not answered 200, and logs a few.
func (f *fleet) failures(samples []sample) int {
	failed := 0
	for i := range samples {
		if s := &samples[i]; !s.ok() {
			failed++
			if failed <= 5 {
				f.t.Logf("%s: %d by %q after %v: %v", s.member.name, s.status, s.backend, s.took, s.err)
			}
		}
	}
	return failed
}
