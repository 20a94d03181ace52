package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// ErrLocateIncomplete means that at least one backend did not answer, and that no
// other holds what was searched for.
var ErrLocateIncomplete = errors.New("proxy: not every backend answered")

const locateTimeout = 5 * time.Second

// Locate sends r, a GET, to the backends, as many at once as r may have attempts
// under way, and returns the one that has it. It returns nil when none has, with [ErrLocateIncomplete] when one of them
// did not answer. It waits at most five seconds and reports nothing about health.
func (p *Proxy) Locate(ctx context.Context, among []*balancer.Backend, r *Request) (*balancer.Backend, error) {
	ctx, cancel := context.WithTimeout(ctx, locateTimeout)
	defer cancel()
	var requests sync.WaitGroup
	answers := make([]presence, len(among))
	ask := func(i int) {
		if answers[i] = p.holds(ctx, among[i], r); answers[i] == present {
			cancel()
		}
	}
	for i := range among {
		if end, ok := r.another(); ok && i+1 < len(among) {
			requests.Go(func() {
				defer end()
				ask(i)
			})
		} else {
			end()
			ask(i)
		}
	}
	requests.Wait()
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

// another is Another with a release that may always be called.
func (r *Request) another() (release func(), ok bool) {
	if r.Another == nil {
		return func() {}, true
	}
	if release, ok = r.Another(); !ok {
		release = func() {}
	}
	return release, ok
}

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
	case outcome.Class == health.Misconfigured:
		return unknown
	case res.StatusCode == http.StatusOK && r.MadeBefore != nil && !madeBefore(res.Body, r.MadeBefore[b.Name]):
		return absent
	case res.StatusCode == http.StatusOK:
		return present
	case res.StatusCode == http.StatusNotFound, outcome.Reason == NotHeld, res.StatusCode == http.StatusBadRequest:
		return absent
	}
	return unknown
}

// maxObject is how much of an object is read for the time when it was made.
const maxObject = 16 << 20

// madeBefore reports whether an answer says that its object was made until an instant,
// whose second counts whole: times of objects have no fractions.
func madeBefore(answer io.Reader, instant time.Time) bool {
	var object struct {
		CreatedAt int64 `json:"created_at"`
		Created   int64 `json:"created"` // of a chat completion
	}
	err := json.NewDecoder(io.LimitReader(answer, maxObject)).Decode(&object)
	made := max(object.CreatedAt, object.Created)
	return err == nil && made > 0 && made <= instant.Unix()
}
