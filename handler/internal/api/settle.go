package api

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/proxy"
)

// settle ends the reservation and records what was used. Of a background response
// that has ended, who takes what is due of it has what it reports charged: the request
// that began it instead of what was promised, a later one as a correction.
func (s *Server) settle(w http.ResponseWriter, rec *RequestRecord, c *call, reserved *metering.Reservation) {
	if s.Meter == nil {
		return
	}
	rec.CallerKey = reserved.Caller()
	d := &rec.Result.Delivery
	due := ""
	if d.Stored.Background && s.Affinity != nil {
		due = s.due(w, rec, c.request, reserved)
	}
	if due != "" {
		reserved.Fulfil()
	}
	rec.Charges = s.Meter.Settle(reserved, c.request, rec.Result)
	if due != "" && c.request.Operation.Name == "response" {
		rec.Charges = append(rec.Charges, s.Meter.Correct(c.request, due, &d.Stored, d.ServiceTier)...)
	}
}

// due takes what is due of a background response if it has ended, once for all
// instances. If it goes on, what is due becomes at least what was relayed.
func (s *Server) due(w http.ResponseWriter, rec *RequestRecord, req *proxy.Request, reserved *metering.Reservation) (due string) {
	ctx, stored := context.Background(), &rec.Result.Delivery.Stored
	flush := http.NewResponseController(w).Flush // the caller has its answer, whatever the table takes
	var err error
	if stored.Ended {
		_ = flush()
		take := s.Affinity.TakeDue(owner(req), stored.ID)
		if due, err = take(ctx); err != nil {
			s.takeLater(rec, take)
		}
	} else {
		s.Meter.Raise(reserved, req, rec.Result, func(more string) (replaced bool) {
			_ = flush()
			replaced, err = s.Affinity.ReplaceDue(ctx, owner(req), stored.ID, more)
			return replaced
		})
	}
	if err != nil && !errors.Is(err, affinity.ErrUnknown) {
		rec.Cause = err
	}
	return due
}

// lateDues are the responses that have ended of which the table did not yet say what
// is due. It is safe for concurrent use.
type lateDues struct {
	mu  sync.Mutex
	ids map[string]bool // of the responses
}

// maxLateDues is how many responses are remembered; of further ones the estimate stays.
const maxLateDues = 1000

// add reports false for a response that is there, and when there are too many.
func (l *lateDues) add(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids[id] || len(l.ids) >= maxLateDues {
		return false
	}
	if l.ids == nil {
		l.ids = map[string]bool{}
	}
	l.ids[id] = true
	return true
}

func (l *lateDues) remove(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ids, id)
}

// How often and how long what is due is asked for after its request: longer than a
// table usually is away, or the instance that made the response needs to write it.
const (
	firstDuePause = time.Second
	maxDuePause   = time.Minute
	dueLifetime   = 30 * time.Minute
)

// takeLater goes on to take what is due of a response after the request that saw its
// end, and has it charged.
func (s *Server) takeLater(rec *RequestRecord, take func(ctx context.Context) (due string, err error)) {
	stored, tier := rec.Result.Delivery.Stored, rec.Result.Delivery.ServiceTier
	if !s.late.add(stored.ID) {
		return
	}
	late := &RequestRecord{ID: rec.ID, Start: rec.Start, Consumer: rec.Consumer, CallerKey: rec.CallerKey}
	go func() {
		defer s.late.remove(stored.ID)
		pause := firstDuePause
		for waited := time.Duration(0); waited < dueLifetime; waited += pause {
			time.Sleep(pause)
			pause = min(2*pause, maxDuePause)
			due, err := take(context.Background())
			switch {
			case err != nil:
				continue
			case due != "":
				late.Charges = s.Meter.Correct(&proxy.Request{Consumer: late.Consumer}, due, &stored, tier)
				s.Corrected(late)
			}
			return
		}
	}()
}
