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

// stateful finds the one backend where files, batches and the like live: the
// one marked stateful of the model that the request names, or the only one
// there is (design.md §7.2).
func (s *Server) stateful(req *proxy.Request) ([]*balancer.Pool, *Refusal) {
	if req.Operation.Name == "fine-tuning" {
		req.Model, req.Parsed.Model = "", "" // what is to be tuned is a base model
	}
	if req.Model == "" {
		req.Model = req.Header.Get(modelHeader)
	}
	among := s.usable(req)
	if req.Model != "" {
		if named, refusal := s.ofModel(req); refusal == nil {
			among = named[:1]
		} else if req.Parsed.Model == "" {
			return nil, refusal
		} else {
			req.Parsed.Model = "" // the body names a model of the backend's own
		}
	}
	found := homes(among)
	switch {
	case len(found) == 1:
		req.PinnedTo = &proxy.Pin{Backend: found[0].backend.Name}
		return []*balancer.Pool{found[0].in}, nil
	case len(among) == 0:
		return nil, modelNotAllowed(req.Model, nil)
	case len(found) == 0:
		return nil, homeless(req)
	}
	return nil, ambiguous(req, len(found))
}

// usable is every pool that the consumer may use.
func (s *Server) usable(req *proxy.Request) []*balancer.Pool {
	var usable []*balancer.Pool
	for _, p := range s.Models.All() {
		if req.Consumer.MayUse(p.Model) || p.Model == anyModel {
			usable = append(usable, p)
		}
	}
	return usable
}

// home is a backend with the pool it was found in.
type home struct {
	backend *balancer.Backend
	in      *balancer.Pool
}

// homes are the backends where what is stateful may live: those that are
// marked, or else all of them. Each resource is there once.
func homes(pools []*balancer.Pool) []home {
	all := resources(pools)
	marked := slices.DeleteFunc(slices.Clone(all), func(h home) bool { return !h.backend.Stateful })
	if len(marked) == 0 && len(all) == 1 {
		return all
	}
	return marked
}

// resources are the backends of the pools, each resource once.
func resources(pools []*balancer.Pool) []home {
	var all []home
	for _, p := range pools {
		for i := range p.Backends {
			b := &p.Backends[i]
			if !slices.ContainsFunc(all, func(h home) bool { return h.backend.Index == b.Index }) {
				all = append(all, home{b, p})
			}
		}
	}
	return all
}

// files are the members whose presence says that a request uses files or
// vector stores.
var files = [...][]byte{[]byte(`"file_id"`), []byte(`"file_ids"`), []byte(`"vector_store_ids"`)}

// usesFiles reports whether the request refers to what lives at the stateful
// backend. A text of exactly such a word makes it one too many, at no harm but
// to its choice of backends.
func usesFiles(body []byte) bool {
	for _, f := range files {
		if bytes.Contains(body, f) {
			return true
		}
	}
	return false
}

func homeless(req *proxy.Request) *Refusal {
	return &Refusal{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "no_stateful_backend", Final: true,
		Message: fmt.Sprintf(`What %s makes lives at one backend, and none is marked for it. Ask your platform team to mark one of the model's backends with "stateful": true.`, what(req)),
	}
}

func ambiguous(req *proxy.Request, homes int) *Refusal {
	return &Refusal{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "model_missing", Param: "model", Final: true,
		Message: fmt.Sprintf("What %s makes lives at one of %d backends, and this request does not say of which model. Name it in the header %s.", what(req), homes, strings.ToLower(modelHeader)),
	}
}

// what is the operation's path, for people.
func what(req *proxy.Request) string { return "/" + req.Operation.Path }
