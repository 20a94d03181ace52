package admin

import (
	"fmt"
	"time"

	"spillway/handler/internal/proxy"
)

// WaitingStatus is the requests of a model that were sent and have no content yet, on
// all instances. Durations are in milliseconds.
type WaitingStatus struct {
	Requests  int64 `json:"requests"`
	Overdue   int64 `json:"overdue,omitempty"`  // of them: for longer than is usual
	OldestMS  int64 `json:"oldestMs,omitempty"` // how long the oldest has waited
	NoneForMS int64 `json:"noneAnsweredForMs"`  // since an answer of the model began
}

// unansweredAfter is how long requests wait, and none is answered, before a model is
// not said to be served.
const unansweredAfter = 10 * time.Second

// unanswered reports whether requests wait and none was answered lately.
func (w *WaitingStatus) unanswered() bool {
	return w != nil && w.Requests > 0 && min(w.OldestMS, w.NoneForMS) >= unansweredAfter.Milliseconds()
}

func (w *WaitingStatus) String() string {
	whole := func(ms int64) string {
		return formatDuration((time.Duration(ms) * time.Millisecond).Truncate(time.Second))
	}
	return fmt.Sprintf("%d waiting, oldest %s, none answered for %s", w.Requests, whole(w.OldestMS), whole(w.NoneForMS))
}

// add adds the requests of another instance. The later of two answers counts.
func (w *WaitingStatus) add(o *WaitingStatus) {
	w.Requests += o.Requests
	w.Overdue += o.Overdue
	w.OldestMS = max(w.OldestMS, o.OldestMS)
	w.NoneForMS = min(w.NoneForMS, o.NoneForMS)
}

// ownWaiting is the requests of this instance that wait, and when one was answered in
// the last minute, by model.
func (o *Handler) ownWaiting(now time.Time) map[string]*WaitingStatus {
	all := map[string]*WaitingStatus{}
	if o.cfg.Waiting == nil {
		return all
	}
	pools := o.served.Load().Pools
	for i := range pools {
		w := o.cfg.Waiting(pools[i].Model, now)
		if w.Requests > 0 || now.Sub(w.Answered) < time.Minute {
			all[pools[i].Model] = waitingStatus(&w, now)
		}
	}
	return all
}

func waitingStatus(w *proxy.Waiting, now time.Time) *WaitingStatus {
	s := &WaitingStatus{Requests: w.Requests, Overdue: w.Overdue}
	if w.Requests > 0 {
		s.OldestMS = now.Sub(w.Oldest).Milliseconds()
	}
	s.NoneForMS = s.OldestMS
	if !w.Answered.IsZero() {
		s.NoneForMS = now.Sub(w.Answered).Milliseconds()
	}
	return s
}
