package api

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/proxy"
)

// statefulPools finds the one backend where files, batches and the like live: the
// one marked statefulPools of the model that the request names, or the only one
// there is (design.md §7.2).
func (s *Server) statefulPools(req *proxy.Request) ([]*balancer.Pool, *Error) {
	if req.Operation.Name == "fine-tuning" {
		req.Model, req.Parsed.Model = "", "" // what is to be tuned is a base model
	}
	if req.Model == "" {
		req.Model = req.Header.Get(modelHeader)
	}
	pools := s.usablePools(req)
	if req.Model != "" {
		if named, apiErr := s.modelPools(req); apiErr == nil {
			pools = named[:1]
		} else if req.Parsed.Model == "" {
			return nil, apiErr
		} else {
			req.Parsed.Model = "" // the body names a model of the backend's own
		}
	}
	backends := statefulBackends(pools)
	switch {
	case len(backends) == 1:
		req.PinnedTo = &proxy.Pin{Backend: backends[0].backend.Name}
		return []*balancer.Pool{backends[0].pool}, nil
	case len(pools) == 0:
		return nil, modelNotAllowed(req.Model, nil)
	case len(backends) == 0:
		return nil, noStatefulBackend(req)
	}
	return nil, ambiguousBackend(req, len(backends))
}

// usablePools is every pool that the consumer may use.
func (s *Server) usablePools(req *proxy.Request) []*balancer.Pool {
	var usable []*balancer.Pool
	for _, p := range s.Models.All() {
		if req.Consumer.MayUse(p.Model) || p.Model == anyModel {
			usable = append(usable, p)
		}
	}
	return usable
}

// placement is a backend with the pool it was found in.
type placement struct {
	backend *balancer.Backend
	pool    *balancer.Pool
}

// statefulBackends are the backends where what is stateful may live: those that are
// marked, or else all of them. Each resource is there once.
func statefulBackends(pools []*balancer.Pool) []placement {
	all := distinctBackends(pools)
	marked := slices.DeleteFunc(slices.Clone(all), func(h placement) bool { return !h.backend.Stateful })
	if len(marked) == 0 && len(all) == 1 {
		return all
	}
	return marked
}

// distinctBackends are the backends of the pools, each resource once.
func distinctBackends(pools []*balancer.Pool) []placement {
	var all []placement
	for _, p := range pools {
		for i := range p.Backends {
			b := &p.Backends[i]
			if !slices.ContainsFunc(all, func(h placement) bool { return h.backend.Index == b.Index }) {
				all = append(all, placement{b, p})
			}
		}
	}
	return all
}

// fileMembers are the members whose presence says that a request uses fileMembers or
// vector stores.
var fileMembers = [...][]byte{[]byte(`"file_id"`), []byte(`"file_ids"`), []byte(`"vector_store_ids"`)}

// referencesFiles reports whether the request refers to what lives at the stateful
// backend. A text of exactly such a word makes it one too many, at no harm but
// to its choice of backends.
func referencesFiles(body []byte) bool {
	for _, f := range fileMembers {
		if bytes.Contains(body, f) {
			return true
		}
	}
	return false
}

func noStatefulBackend(req *proxy.Request) *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "no_stateful_backend", Final: true,
		Message: fmt.Sprintf(`What %s makes lives at one backend, and none is marked for it. Ask your platform team to mark one of the model's backends with "stateful": true.`, operationPath(req)),
	}
}

func ambiguousBackend(req *proxy.Request, count int) *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "model_missing", Param: "model", Final: true,
		Message: fmt.Sprintf("What %s makes lives at one of %d backends, and this request does not say of which model. Name it in the header %s.", operationPath(req), count, strings.ToLower(modelHeader)),
	}
}

// operationPath is the operation's path, for people.
func operationPath(req *proxy.Request) string { return "/" + req.Operation.Path }
