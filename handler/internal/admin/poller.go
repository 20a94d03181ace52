package admin

import (
	"context"
	"sync"
	"time"
)

// fleetReadInterval and trafficReadInterval are the least times between two reads,
// however many viewers there are.
const (
	fleetReadInterval   = 2 * time.Second
	trafficReadInterval = 10 * time.Second
)

// firstReadWait bounds how long the first look in a while waits for the table.
const firstReadWait = time.Second

// refresh asks for what the status and the history read from the table. What was read
// minutes ago would hide what is wrong on other instances.
func (o *Handler) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstReadWait)
	defer cancel()
	reads := []<-chan struct{}{o.fleet.request()}
	if o.cfg.Traffic != nil {
		reads = append(reads, o.traffic.request())
	}
	for _, first := range reads {
		if first == nil {
			continue
		}
		select {
		case <-first:
		case <-ctx.Done():
			return
		}
	}
}

// poller reads something while it is requested.
type poller struct {
	interval  time.Duration
	requested chan struct{}

	mu      sync.Mutex
	askedAt time.Time     // the latest request
	read    chan struct{} // closed when the next read has ended
}

func newPoller(interval time.Duration) poller {
	return poller{interval: interval, requested: make(chan struct{}, 1), read: make(chan struct{})}
}

// request asks for a read. It does not block. Who looks for the first time in a while
// should wait until the read has ended, which closes first; nil = the last one is
// recent, or was waited for in vain.
func (p *poller) request() (first <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.askedAt) > 2*p.interval {
		first = p.read
	}
	p.askedAt = time.Now()
	select {
	case p.requested <- struct{}{}:
	default:
	}
	return first
}

func (p *poller) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.read)
	p.read = make(chan struct{})
}

func (p *poller) run(ctx context.Context, read func(ctx context.Context)) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-p.requested:
		}
		read(ctx)
		p.ended()
		pause.Reset(p.interval)
	}
}
