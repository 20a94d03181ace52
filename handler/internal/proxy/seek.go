package proxy

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
)

// ErrUnsure is a search in which a backend could not say whether it holds what
// is sought, and no other does.
var ErrUnsure = errors.New("proxy: not every backend could be asked")

// longestSeek bounds a search.
const longestSeek = 5 * time.Second

// Seek asks all of the backends for what r gets, at once, and returns the one
// that has it. It returns nil when none has, with ErrUnsure when one of them
// did not answer. What they answer says nothing of their health.
func (p *Proxy) Seek(ctx context.Context, among []*balancer.Backend, r *Request) (*balancer.Backend, error) {
	ctx, cancel := context.WithTimeout(ctx, longestSeek)
	defer cancel()
	var asking sync.WaitGroup
	answers := make([]held, len(among))
	for i, b := range among {
		asking.Go(func() {
			if answers[i] = p.ask(ctx, b, r); answers[i] == yes {
				cancel() // what the others say does not matter any more
			}
		})
	}
	asking.Wait()
	var err error
	for i, b := range among {
		switch answers[i] {
		case yes:
			return b, nil
		case unsure:
			err = ErrUnsure
		case no:
		}
	}
	return nil, err
}

// held is whether a backend holds something.
type held uint8

const (
	unsure held = iota
	no
	yes
)

func (p *Proxy) ask(ctx context.Context, b *balancer.Backend, r *Request) held {
	res, outcome := p.Sender.Send(ctx, b, r, func() error { return nil })
	if res == nil {
		return unsure
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusOK:
		return yes
	case res.StatusCode == http.StatusNotFound, outcome.Why == NotHeld, res.StatusCode == http.StatusBadRequest:
		return no
	}
	return unsure
}
