package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"spillway/handler/internal/fleet"
)

// verbs are the actions on a backend.
var verbs = []string{"drain", "restore", "reset"}

// actionTimeout bounds an action's writes to the table.
const actionTimeout = 10 * time.Second

// Action is an entry of the audit log. It holds no secret.
type Action struct {
	At      time.Time
	Verb    string // drain, restore, reset, rollback
	Backend string // as the operator named it; of a rollback the version
	Who     string // the name of the token, else the one that the operator gave, or "operator"
	Object  string // the object id of the token; "" = by key
	Key     string // first digits of the SHA-256 of the key; "" = by token, or there is no key
	From    string // the address of the operator
	Request string // the id of the operator's request
	Trace   string // the id of the trace that the request belongs to; "" = none
	Took    time.Duration
	Err     error // nil = written to the table
}

// ActionResult is the response to an action. It is written to the table;
// instances with traffic apply it within one refresh and one exchange with the
// table.
type ActionResult struct {
	Verb              string `json:"verb"`
	Backend           string `json:"backend"`
	By                string `json:"by"`
	Instance          string `json:"instance"`
	TookMS            int64  `json:"tookMs"`
	EffectiveWithinMS int64  `json:"obeyedWithinMs"` // plus one exchange with the table
}

func (o *Handler) serveAction(w http.ResponseWriter, r *http.Request, who *operator, verb, backend string) {
	action, ok := o.act(w, r, who, verb, backend, o.perform)
	if !ok {
		return
	}
	o.fleet.request()
	if action.Err != nil {
		writeActionError(w, action)
		return
	}
	writeJSON(w, http.StatusOK, ActionResult{
		Verb: verb, Backend: backend, By: action.Who, Instance: o.cfg.Instance,
		TookMS: action.Took.Milliseconds(), EffectiveWithinMS: o.cfg.Refresh.Milliseconds(),
	})
}

// act does what an operator wants and logs it. It returns false when the request was
// refused, and answered.
func (o *Handler) act(w http.ResponseWriter, r *http.Request, who *operator, verb, target string, do func(ctx context.Context, a *Action) error) (*Action, bool) {
	if !o.access.csrfSafe(r) {
		writeError(w, http.StatusForbidden, "cross_site", "Without an operators' key an action needs the header x-spillway-operator, with your name.")
		return nil, false
	}
	action := &Action{At: o.cfg.Now(), Verb: verb, Backend: target, Who: who.name, Object: who.identity, Key: who.key, From: who.address, Request: w.Header().Get(idHeader)}
	if o.cfg.TraceID != nil {
		action.Trace = o.cfg.TraceID(r.Header)
	}
	// The action is completed even if the operator closes the page meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actionTimeout)
	defer cancel()
	action.Err = do(ctx, action)
	action.Took = o.cfg.Now().Sub(action.At)
	if o.cfg.Audit != nil {
		o.cfg.Audit(ctx, *action)
	}
	return action, true
}

func (o *Handler) perform(ctx context.Context, a *Action) error {
	switch a.Verb {
	case "drain":
		return o.cfg.Replica.Drain(ctx, a.Backend, a.Who)
	case "restore":
		return o.cfg.Replica.Restore(ctx, a.Backend, a.Who)
	}
	return o.cfg.Replica.Reset(ctx, a.Backend, a.Who)
}

// writeActionError reports why an action was not written.
func writeActionError(w http.ResponseWriter, a *Action) {
	message := a.Err.Error()
	if errors.Is(a.Err, fleet.ErrNoSuchBackend) {
		writeError(w, http.StatusNotFound, "no_such_backend", message)
		return
	}
	writeError(w, http.StatusServiceUnavailable, "not_written", "Nothing was changed: "+message+". Try again when the table answers.")
}
