package proxy

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
)

// ErrLocateIncomplete is a search in which a backend could not say whether it holds what
// is sought, and no other does.
var ErrLocateIncomplete = errors.New("proxy: not every backend could be asked")

// locateTimeout bounds a search.
const locateTimeout = 5 * time.Second

// Locate asks all of the backends for what r gets, at once, and returns the one
// that has it. It returns nil when none has, with ErrUnsure when one of them
// did not answer. What they answer says nothing of their health.
func (p *Proxy) Locate(ctx context.Context, among []*balancer.Backend, r *Request) (*balancer.Backend, error) {
	ctx, cancel := context.WithTimeout(ctx, locateTimeout)
	defer cancel()
	var asking sync.WaitGroup
	answers := make([]presence, len(among))
	for i, b := range among {
		asking.Go(func() {
			if answers[i] = p.holds(ctx, b, r); answers[i] == present {
				cancel() // what the others say does not matter any more
			}
		})
	}
	asking.Wait()
	var err error
	for i, b := range among {
		switch answers[i] {
		case present:
			return b, nil
		case unknown:
			err = ErrLocateIncomplete
		case absent:
		}
	}
	return nil, err
}

// presence is whether a backend holds something.
type presence uint8

const (
	unknown presence = iota
	absent
	present
)

func (p *Proxy) holds(ctx context.Context, b *balancer.Backend, r *Request) presence {
	res, outcome := p.Sender.Send(ctx, b, r, func() error { return nil })
	if res == nil {
		return unknown
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusOK:
		return present
	case res.StatusCode == http.StatusNotFound, outcome.Reason == NotHeld, res.StatusCode == http.StatusBadRequest:
		return absent
	}
	return unknown
}
