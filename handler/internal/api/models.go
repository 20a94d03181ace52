package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// model is a model as OpenAI's API lists it.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func newModel(name string) model { return model{ID: name, Object: "model", OwnedBy: "spillway"} }

// models answers with the models that the consumer may use, or with the one of
// this name. The backends' own lists are of base models, deployed or not
// (docs/azure-openai.md#model-names).
func (s *Server) models(w http.ResponseWriter, name string, c *consumer.Consumer) *Error {
	names := s.Models.Names(c)
	if name == "" {
		list := struct {
			Object string  `json:"object"`
			Data   []model `json:"data"`
		}{"list", make([]model, 0, len(names))}
		for _, name := range names {
			list.Data = append(list.Data, newModel(name))
		}
		writeJSON(w, list)
		return nil
	}
	pools, ok := s.Models.Resolve(name)
	if !ok || !mayUse(c, pools[0], name) && !slices.Contains(names, name) {
		return modelNotFound(name, names)
	}
	writeJSON(w, newModel(name))
	return nil
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("api: marshal a response: " + err.Error()) // strings and numbers only
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(body, '\n'))
}

// anyModel is the model of the pool that serves every name without a pool.
const anyModel = "*"

// findPools returns the pools that may serve the request: by the model that the
// path or the body names, or by the objects that the request refers to.
func (s *Server) findPools(ctx context.Context, req *proxy.Request) ([]*balancer.Pool, *Error) {
	apiErr := s.checkNamedModels(req)
	if apiErr == nil {
		apiErr = checkGeographies(req)
	}
	if apiErr == nil {
		apiErr = s.checkReach(req)
	}
	if apiErr == nil {
		apiErr = s.checkLines(ctx, req)
	}
	if apiErr == nil {
		apiErr = s.checkEvaluation(req)
	}
	switch state := req.Operation.State; {
	case req.Operation.Retired:
		return nil, operationRetired(req)
	case apiErr != nil:
		return nil, apiErr
	case req.Operation.CompatibleOnly && !operations.IsCompatible(req.Method, req.Subpath):
		return nil, unknownOperation(req)
	case s.StrictIDs && state.Stored():
		return s.ownedPools(ctx, req)
	}
	switch req.Operation.State {
	case operations.ByID:
		return s.recallPools(ctx, req)
	case operations.Pinned:
		return s.rememberedPools(ctx, req)
	case operations.Stateless, operations.Stateful, operations.Local:
	}
	if req.Model == "" && req.Operation.CompatibleOnly {
		req.Model = req.Header.Get(modelHeader)
	}
	pools, apiErr := s.modelPools(req)
	if apiErr != nil {
		return nil, apiErr
	}
	if req.Operation.CompatibleOnly && !compatible(pools) {
		return nil, unknownOperation(req)
	}
	return s.pin(ctx, req, pools)
}

// modelHeader names a model where neither path nor body does.
const modelHeader = "X-Spillway-Model"

// modelPools returns the pools of the named model that the consumer may use.
func (s *Server) modelPools(req *proxy.Request) ([]*balancer.Pool, *Error) {
	c := req.Consumer
	switch {
	case req.Model == "" && req.Operation.CompatibleOnly:
		return nil, unknownOperation(req)
	case req.Model == "":
		return nil, modelMissing(req)
	}
	pools, ok := s.Models.Resolve(req.Model)
	if !ok && c.Restricted() {
		return nil, modelNotAllowed(req.Model, s.Models.Names(c)) // as for a model that exists
	}
	if !ok || pools[0].Model == anyModel && !mayPassOn(pools, req.Model) {
		return nil, deploymentNotFound(req, s.Models.Names(c))
	}
	if !mayUse(c, pools[0], req.Model) {
		return nil, modelNotAllowed(req.Model, s.Models.Names(c))
	}
	return allowed(c, pools, req.Model), nil
}

// allowed returns those of the pools of a name that the consumer may use.
func allowed(c *consumer.Consumer, pools []*balancer.Pool, name string) []*balancer.Pool {
	usable := pools[:0:0]
	for _, p := range pools {
		if mayUse(c, p, name) {
			usable = append(usable, p)
		}
	}
	return usable
}

// mayUse reports whether the consumer may request a model of this name from the
// pool. The pool of any model goes by the requested name.
func mayUse(c *consumer.Consumer, p *balancer.Pool, name string) bool {
	return c.MayUse(p.Model) || p.Model == anyModel && c.MayUse(name)
}

// mayPassOn reports whether a name that the configuration does not have may go to a
// backend: to an OpenAI-compatible one, which reads it in the body, also with colons
// and slashes.
func mayPassOn(pools []*balancer.Pool, name string) bool {
	return operations.IsSafeName(name) || compatible(pools[:1]) && operations.IsModelName(name)
}

// compatible reports whether the pools have an OpenAI-compatible backend.
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

// unknownOperation is the error for an operation that is not served, or that only
// OpenAI-compatible backends have while none serves the model.
func unknownOperation(req *proxy.Request) *Error {
	f := &Error{Status: http.StatusNotFound, Type: invalidRequest, Code: "not_found", Final: true}
	path, why := "/"+printable(req.Subpath), operations.RefusalOf(req.Subpath)
	switch {
	case operations.IsCompatible(req.Method, req.Subpath):
		f.Message = path + " is an operation of OpenAI-compatible backends only, and none serves the model that this request names. Name another model."
	case why != "":
		f.Code, f.Message = "operation_not_supported", path+" is not served here: "+why+"."
	default:
		f.Message = path + " is not an operation that this gateway serves. Check the path."
	}
	return f
}

func webSocketRefused() *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "websocket_not_supported", Final: true,
		Message: "WebSockets are not carried: Azure Functions passes HTTP requests only. Use POST /responses with \"stream\": true; for realtime audio connect to the resource's own address.",
	}
}

// imageDeploymentHeader names the deployment of the image tool
// (docs/azure-openai.md#request-fields).
const imageDeploymentHeader = "X-Ms-Oai-Image-Generation-Deployment"

// checkNamedModels checks the models and deployments that a request names besides
// the one that serves it: tools, graders, runs, the image tool's header. A
// consumer's models hold for all of them.
func (s *Server) checkNamedModels(req *proxy.Request) *Error {
	c := req.Consumer
	if !c.Restricted() {
		return nil
	}
	named := req.Parsed.Models
	named = append(named[:len(named):len(named)], req.Header.Values(imageDeploymentHeader)...)
	if req.Operation.Name == "fine-tuning" && req.Parsed.Model != "" {
		named = append(named, req.Parsed.Model)
	}
	for _, name := range named {
		if !s.mayName(req, name) {
			return modelNotAllowed(name, s.Models.Names(c))
		}
	}
	return nil
}

// mayName reports whether a request may name a model: one of its consumer's own, a
// dated version of one that has no entry of its own, or a deployment of one. Backends
// know deployments only, so it may not be that of another model where it is read.
func (s *Server) mayName(req *proxy.Request, name string) bool {
	c := req.Consumer
	pools, ok := s.Models.Resolve(name)
	own := ok && mayUse(c, pools[0], name)
	if ok && !own && pools[0].Model != anyModel {
		return false
	}
	if base := withoutDate(name); base != name {
		own = own || c.MayUse(base)
	}
	var ours, others []int // the resources that have a deployment of this name, by whose model it is
	for _, p := range s.Models.All() {
		for i := range p.Backends {
			switch b := &p.Backends[i]; {
			case !strings.EqualFold(b.Deployment, name):
			case mayUse(c, p, p.Model):
				ours, own = append(ours, b.Index), true
			case p.Model != anyModel:
				others = append(others, b.Index)
			}
		}
	}
	others = slices.DeleteFunc(others, func(resource int) bool { return slices.Contains(ours, resource) })
	return own && (len(others) == 0 || !slices.ContainsFunc(s.readers(req), func(r placement) bool { return slices.Contains(others, r.backend.Index) }))
}

// readers returns the backends that may read the names in a request.
func (s *Server) readers(req *proxy.Request) []placement {
	pools := s.usablePools(req)
	switch named, ok := s.Models.Resolve(req.Model); {
	case req.Operation.Name == "files":
		return statefulBackends(pools, req.Consumer)
	case ok && !req.Operation.State.Stored():
		pools = allowed(req.Consumer, named, req.Model)
	}
	return slices.DeleteFunc(distinctBackends(pools), func(r placement) bool { return !r.backend.Permits(req.Consumer.Bounds()) })
}

// withoutDate is a model's name without the date of its version: gpt-4o of
// gpt-4o-2024-08-06.
func withoutDate(name string) string {
	const date = "-2006-01-02"
	if len(name) <= len(date) {
		return name
	}
	base, version := name[:len(name)-len(date)], name[len(name)-len(date):]
	if _, err := time.Parse(date, version); err != nil {
		return name
	}
	return base
}
