package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// statefulPools pins the request to the backend that holds files, batches and
// the like: the one marked stateful of the named model, or the only one there is
// (docs/azure-openai.md#stateful-operations).
func (s *Server) statefulPools(req *proxy.Request) ([]*balancer.Pool, *Error) {
	pools, apiErr := s.namedPools(req)
	if apiErr != nil {
		return nil, apiErr
	}
	backends := statefulBackends(pools, req.Consumer)
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

// namedPools are the pool of the model that a request about stored objects names, or
// all that its consumer may use. A model that is no deployment is left as it is.
func (s *Server) namedPools(req *proxy.Request) ([]*balancer.Pool, *Error) {
	if req.Operation.Name == "fine-tuning" {
		req.Model, req.Parsed.Model = "", "" // the body names a base model, not a deployment
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
		} else if c := req.Consumer; c.Restricted() && !s.mayName(req, req.Parsed.Model) {
			return nil, modelNotAllowed(req.Parsed.Model, s.Models.Names(c))
		} else {
			req.Parsed.Model = "" // the body may name a model that has no pool
		}
	}
	return pools, nil
}

// usablePools returns every pool that the consumer may use.
func (s *Server) usablePools(req *proxy.Request) []*balancer.Pool {
	var usable []*balancer.Pool
	for _, p := range s.Models.All() {
		if req.Consumer.MayUse(p.Model) || p.Model == anyModel {
			usable = append(usable, p)
		}
	}
	return usable
}

// placement is a backend and a pool that it is in.
type placement struct {
	backend *balancer.Backend
	pool    *balancer.Pool
}

// statefulBackends returns the backends that may hold stateful objects of the
// consumer: those within its bounds that are marked, or the only one there is.
func statefulBackends(pools []*balancer.Pool, c *consumer.Consumer) []placement {
	all := slices.DeleteFunc(distinctBackends(pools), func(h placement) bool { return !h.backend.Permits(c.Bounds()) })
	marked := slices.DeleteFunc(slices.Clone(all), func(h placement) bool { return !h.backend.Stateful })
	if len(marked) == 0 && len(all) == 1 {
		return all
	}
	return marked
}

// distinctBackends returns the backends of the pools, each resource once.
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

// keptAtOneBackend are the kinds of objects that only the stateful backend has.
var keptAtOneBackend = []operations.Kind{operations.KindFile, operations.KindVectorStore, operations.KindSkill, operations.KindPrompt, operations.KindVoice}

// referencesFiles reports whether the body refers to objects of the stateful
// backend.
func referencesFiles(p *request.ParsedRequest) bool {
	return slices.ContainsFunc(p.References, func(r request.Reference) bool {
		return !r.Described && slices.Contains(keptAtOneBackend, r.Kind)
	})
}

func noStatefulBackend(req *proxy.Request) *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "no_stateful_backend", Final: true,
		Message: fmt.Sprintf(`What %s creates is stored at one backend, and none is marked for it. Ask your platform team to mark one of the model's backends with "stateful": true.`, operationPath(req)),
	}
}

func ambiguousBackend(req *proxy.Request, count int) *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "model_missing", Param: "model", Final: true,
		Message: fmt.Sprintf("What %s creates is stored at one of %d backends, and this request does not name a model. Name it in the header %s.", operationPath(req), count, strings.ToLower(modelHeader)),
	}
}

// operationPath returns the operation's path, for messages.
func operationPath(req *proxy.Request) string { return "/" + req.Operation.Path }
