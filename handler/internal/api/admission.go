package api

import (
	"context"
	"net/http"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/proxy"
)

// admission is a reservation that was made ahead of a search at the backends, so
// that the consumer's limits hold for searches, too. The zero admission is none.
type admission struct {
	admit    func(p *balancer.Pool) *Error // makes the reservation, once
	reserved *metering.Reservation
	pool     *balancer.Pool // nil = no reservation was made
}

// begin has searches of this request admitted.
func (a *admission) begin(s *Server, w http.ResponseWriter, r *http.Request, req *proxy.Request) {
	a.admit = func(p *balancer.Pool) *Error {
		if a.pool != nil {
			return nil
		}
		reserved, apiErr := s.reserve(w, r, &call{request: req, pools: []*balancer.Pool{p}})
		if apiErr == nil {
			a.reserved, a.pool = reserved, p
		}
		return apiErr
	}
}

// refused ends the reservation of a request that was searched for and then
// refused. It counts as a request.
func (a *admission) refused(s *Server, req *proxy.Request) {
	if a.pool == nil || s.Meter == nil {
		return
	}
	result := &proxy.Result{Pool: a.pool}
	if len(a.pool.Backends) > 0 {
		result.Attempts = []proxy.Attempt{{Backend: &a.pool.Backends[0], Status: http.StatusNotFound}}
	}
	s.Meter.Settle(a.reserved, req, result)
}

// anotherOf asks for one more attempt of what was admitted, as in proxy.Request.
func anotherOf(ctx context.Context) func() (release func(), ok bool) {
	state, ok := ctx.Value(stateKey{}).(*requestState)
	if !ok {
		return nil
	}
	return state.admission.reserved.Another()
}

// admitSearch asks for a search of this request's.
func admitSearch(ctx context.Context, p *balancer.Pool) *Error {
	if state, ok := ctx.Value(stateKey{}).(*requestState); ok && state.admission.admit != nil {
		return state.admission.admit(p)
	}
	return nil
}
