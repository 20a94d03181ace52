package api

import (
	"context"
	"net/http"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// anyModel is the model of the pool that serves every name without one of its
// own.
const anyModel = "*"

// pools finds who may serve the request: by the model that the path or the
// body names, or by what the request refers to.
func (s *Server) pools(ctx context.Context, req *proxy.Request) ([]*balancer.Pool, *Refusal) {
	switch req.Operation.State {
	case operations.ByID:
		return s.recall(ctx, req)
	case operations.Pinned:
		return s.stateful(req)
	case operations.Stateless, operations.Stateful, operations.Local:
	}
	if req.Model == "" && req.Operation.CompatibleOnly {
		req.Model = req.Header.Get(modelHeader)
	}
	pools, refusal := s.ofModel(req)
	if refusal != nil {
		return nil, refusal
	}
	if req.Operation.CompatibleOnly && !compatible(pools) {
		return nil, unknownOperation(req)
	}
	return s.leaning(ctx, req, pools)
}

// modelHeader names a model where neither path nor body can.
const modelHeader = "X-Spillway-Model"

// ofModel resolves the model that the request names.
func (s *Server) ofModel(req *proxy.Request) ([]*balancer.Pool, *Refusal) {
	c := req.Consumer
	switch {
	case req.Model == "" && req.Operation.CompatibleOnly:
		return nil, unknownOperation(req)
	case req.Model == "":
		return nil, modelMissing(req.Family)
	}
	pools, ok := s.Models.Resolve(req.Model)
	if !ok || pools[0].Model == anyModel && !operations.IsSafeName(req.Model) {
		return nil, modelNotFound(req.Model, s.Models.Names(c))
	}
	if !mayUse(c, pools[0], req.Model) {
		return nil, modelNotAllowed(req.Model, s.Models.Names(c))
	}
	allowed := pools[:0:0]
	for _, p := range pools {
		if mayUse(c, p, req.Model) {
			allowed = append(allowed, p)
		}
	}
	return allowed, nil
}

// mayUse reports whether the consumer may ask the pool for a model of this
// name. The pool of any model has no name of its own to go by.
func mayUse(c *consumer.Consumer, p *balancer.Pool, name string) bool {
	return c.MayUse(p.Model) || p.Model == anyModel && c.MayUse(name)
}

// compatible reports whether an OpenAI-compatible backend is among them.
func compatible(pools []*balancer.Pool) bool {
	for _, p := range pools {
		for i := range p.Backends {
			if p.Backends[i].OpenAI {
				return true
			}
		}
	}
	return false
}

func unknownOperation(req *proxy.Request) *Refusal {
	return &Refusal{
		Status: http.StatusNotFound, Type: invalidRequest, Code: "not_found",
		Message: "There is no such operation here: " + printable(req.Subpath) + ". Azure OpenAI does not know it, and no OpenAI-compatible backend serves the model that the request names.",
	}
}
