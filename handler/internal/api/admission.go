package api

import (
	"context"
	"net/http"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// enter admits a request whose body was not read yet: within its consumer's
// concurrency, the limits of which something is left, and the memory that the consumer
// may hold. leave must be called unless it is refused.
func (s *Server) enter(w http.ResponseWriter, r *http.Request, state *requestState, t target) *Error {
	apiErr := s.enterLimits(w, state, t.operation)
	if apiErr == nil && s.openMemory(r, state) != nil {
		s.leave(state)
		apiErr = s.overloaded()
	}
	if apiErr != nil {
		apiErr.Early = true
		state.record.Model = s.modelOf(&call{request: &proxy.Request{Model: t.deployment}})
	}
	return apiErr
}

// enterLimits admits a request within the limits of its consumer that need no body.
func (s *Server) enterLimits(w http.ResponseWriter, state *requestState, op *operations.Operation) *Error {
	c := state.record.Consumer
	if s.Meter == nil {
		return nil
	}
	leave, err := s.Meter.Enter(c, op.Free())
	if err != nil {
		status := s.Meter.RateLimits(&proxy.Request{Consumer: c}, new(balancer.Pool))
		setRateLimits(w.Header(), &status)
		return reservationError(err)
	}
	state.left = leave
	return nil
}

// openMemory begins to count the memory of a request.
func (s *Server) openMemory(r *http.Request, state *requestState) error {
	if s.Memory == nil {
		return nil
	}
	name := ""
	if state.record.Consumer != nil {
		name = state.record.Consumer.Name
	}
	err := s.Memory.Open(&state.memory, name)
	if d, ok := r.Body.(*decodedBody); ok && err == nil {
		err = state.memory.Grow(d.memory)
	}
	return err
}

// leave ends what enter began.
func (s *Server) leave(state *requestState) {
	if state.left != nil {
		state.left()
	}
	state.memory.Close()
}

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
