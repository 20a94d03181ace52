package api

import (
	"context"
	"maps"
	"net/http"
	"strings"

	"spillway/handler/internal/overload"
)

// requestState is what the middleware and the handlers of one request share.
type requestState struct {
	record  RequestRecord
	path    string // canonical, in the caller's case; "" when pathErr is set, or below /ops
	pathErr error

	memory    overload.Memory
	left      func() // ends what Meter.Enter counted; nil = nothing
	admission admission
}

type stateKey struct{}

// stateOf returns the state that requestID put there.
func stateOf(r *http.Request) *requestState { return r.Context().Value(stateKey{}).(*requestState) }

// fail answers with an error, and records it.
func (st *requestState) fail(w http.ResponseWriter, r *http.Request, err *Error) {
	st.record.Status, st.record.Code, st.record.Rule, st.record.Cause = err.Status, err.Code, err.rule(), err.Cause
	err.write(w, r)
}

// requestID names the request, in the answer too, and begins its state.
func (s *Server) requestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := &requestState{record: RequestRecord{ID: s.NewID(), Start: s.Now(), Method: r.Method}}
		w.Header().Set("X-Request-Id", state.record.ID)
		if isBelow(r.URL.Path, anthropicPath) {
			w.Header().Set("Request-Id", state.record.ID) // where Anthropic's SDKs look for it
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), stateKey{}, state)))
	})
}

// routed records which route a request took.
func routed(pattern string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			stateOf(r).record.Route = pattern
			next.ServeHTTP(w, r)
		})
	}
}

// record reports the request to the observer once it is over, panics included.
func (s *Server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &stateOf(r).record
		if s.ExtractTrace != nil {
			rec.Trace = s.ExtractTrace(r.Header, rec.ID)
		}
		func() {
			defer func() {
				rec.Duration = s.Now().Sub(rec.Start)
				s.Observer.RequestDone(rec)
			}()
			next.ServeHTTP(w, r)
		}()
		if rec.Result != nil && rec.Result.Delivery.Broken {
			s.Relay.Abort(r.Context()) // the only end that every client recognises as an error
		}
	})
}

// authenticate finds out who calls. Nobody learns what is behind a path, or
// that it exists, without a valid credential.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		state := stateOf(r)
		caller, err := s.Authenticator.Authenticate(r.Context(), credentialHeader(r), r.URL.RawQuery)
		if err != nil {
			state.fail(w, r, unauthorized(err))
			return
		}
		state.record.Consumer, state.record.Caller, state.record.KeyID = caller.Consumer, caller.Caller, caller.KeyID
		next.ServeHTTP(w, r)
	})
}

// anthropicKey is the header of keys in Anthropic's API.
const anthropicKey = "X-Api-Key"

// credentialHeader is the request's header without a key that only Anthropic's API
// has, where that is not the one that is called.
func credentialHeader(r *http.Request) http.Header {
	if _, sent := r.Header[anthropicKey]; !sent || isBelow(r.URL.Path, anthropicPath) {
		return r.Header
	}
	h := maps.Clone(r.Header)
	delete(h, anthropicKey)
	return h
}

// limits refuses, unread, bodies that cannot be accepted. A body that does not
// declare its length is bounded where it is read.
func (s *Server) limits(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		encoding := r.Header.Get("Content-Encoding")
		if r.ContentLength > s.MaxBody {
			tooLarge := bodyError(errTooLarge, s.MaxBody)
			tooLarge.Early = true
			stateOf(r).fail(w, r, tooLarge)
			return
		}
		if r.ContentLength != 0 {
			r.Body = s.timedBody(w, r.Body)
		}
		switch {
		case encoding != "" && !strings.EqualFold(encoding, "identity") && !decode(r):
			stateOf(r).fail(w, r, unsupportedEncoding(encoding))
		default:
			next.ServeHTTP(w, r)
		}
	})
}
