package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"spillway/handler/internal/fleet"
)

// verbs are an operator's words on a backend.
var verbs = []string{"drain", "restore", "reset"}

// actPatience is how long an operator waits for the table.
const actPatience = 10 * time.Second

// Act is what an operator did, for the audit log. It holds no secret.
type Act struct {
	At      time.Time
	Verb    string // drain, restore, reset
	Backend string // as the operator named it
	Who     string // the name that the operator gave, or "operator"
	Key     string // first digits of the SHA-256 of the key; "" = there is no key
	From    string // the address of the connection's other end
	Request string // the id of the operator's request
	Took    time.Duration
	Err     error // nil = the table has it
}

// Done is the answer to an act: the table has it, and instances with traffic
// obey within one refresh and one exchange with the table.
type Done struct {
	Verb     string `json:"verb"`
	Backend  string `json:"backend"`
	By       string `json:"by"`
	Instance string `json:"instance"`
	TookMS   int64  `json:"tookMs"`
	WithinMS int64  `json:"obeyedWithinMs"` // plus one exchange with the table
}

func (o *Ops) act(w http.ResponseWriter, r *http.Request, verb, backend string) {
	if !o.gate.deliberate(r) {
		fail(w, http.StatusForbidden, "cross_site", "Without an operators' key an act needs the header x-spillway-operator with your name, from this page or from a shell.")
		return
	}
	a := Act{At: o.cfg.Now(), Verb: verb, Backend: backend, Who: name(r), Key: o.gate.print, From: r.RemoteAddr, Request: w.Header().Get(idHeader)}
	// The word is written even if the operator closes the page meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actPatience)
	defer cancel()
	a.Err = o.speak(ctx, &a)
	a.Took = o.cfg.Now().Sub(a.At)
	if o.cfg.Audit != nil {
		o.cfg.Audit(ctx, a)
	}
	o.fleet.ask()
	if a.Err != nil {
		refuse(w, &a)
		return
	}
	answer(w, http.StatusOK, Done{
		Verb: verb, Backend: backend, By: a.Who, Instance: o.cfg.Instance,
		TookMS: a.Took.Milliseconds(), WithinMS: o.cfg.Refresh.Milliseconds(),
	})
}

func (o *Ops) speak(ctx context.Context, a *Act) error {
	switch a.Verb {
	case "drain":
		return o.cfg.Keeper.Drain(ctx, a.Backend, a.Who)
	case "restore":
		return o.cfg.Keeper.Restore(ctx, a.Backend, a.Who)
	}
	return o.cfg.Keeper.Reset(ctx, a.Backend, a.Who)
}

// refuse says why the fleet has not heard the word.
func refuse(w http.ResponseWriter, a *Act) {
	message := strings.TrimPrefix(a.Err.Error(), "state: ")
	if errors.Is(a.Err, fleet.ErrNoSuchBackend) {
		fail(w, http.StatusNotFound, "no_such_backend", message)
		return
	}
	fail(w, http.StatusServiceUnavailable, "not_written", "The fleet has not heard it: "+message+". Try again when the table answers.")
}
