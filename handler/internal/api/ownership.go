package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// maxReferences is how many stored objects one request may name where ids have
// owners, so that one request costs the table no more than that many reads. Of what the
// service takes longer lists of, files of a vector store, parts and rows, it is
// maxListed.
const (
	maxReferences = 64
	maxListed     = 2000
)

// heldObject is an object that a request names, and where it is.
type heldObject struct {
	reference
	location affinity.Location // without a backend: to be adopted
}

// ownedObjects returns the objects that the request names and its consumer owns:
// the one of the path first, then those of the query and the body. It fails when
// one of them is another's, or unknown: what is not known to be the consumer's is
// nobody's, unless a backend adopts for it (docs/security.md#ids-have-owners).
func (s *Server) ownedObjects(ctx context.Context, req *proxy.Request) ([]heldObject, *Error) {
	refs := s.namedObjects(req)
	if len(refs) == 0 {
		return nil, nil
	}
	if apiErr := tooManyObjects(req, refs); apiErr != nil {
		return nil, apiErr
	}
	locations, errs := s.lookupAll(ctx, req, refs)
	s.lookupShown(ctx, req, refs, locations, errs)
	var held []heldObject
	for i, ref := range refs {
		switch {
		case errs[i] == nil && isKind(ref.kind, operations.Kind(locations[i].Kind)):
			held = append(held, heldObject{ref, locations[i]})
		case errors.Is(errs[i], affinity.ErrUnavailable):
			return nil, locationUnknown(ref, errs[i])
		case errors.Is(errs[i], affinity.ErrUnknown) && s.mayAdopt(req, &ref):
			held = append(held, heldObject{reference: ref})
		case errors.Is(errs[i], affinity.ErrOtherOwner), !ref.described:
			return nil, referenceNotFound(ref)
		}
	}
	if apiErr := s.adopt(ctx, req, held); apiErr != nil {
		return nil, apiErr
	}
	for i := range held {
		if apiErr := checkReadFile(req, held[i].reference, &held[i].location); apiErr != nil {
			return nil, apiErr
		}
	}
	return held, nil
}

// namedObjects returns the objects that a request names, each once.
func (s *Server) namedObjects(req *proxy.Request) []reference {
	var refs []reference
	seen := map[request.Reference]bool{}
	add := func(list ...request.Reference) {
		for _, r := range list {
			if key := (request.Reference{Kind: r.Kind, ID: r.ID, Described: r.Described}); !seen[key] {
				seen[key] = true
				refs = append(refs, reference{id: r.ID, kind: r.Kind, param: r.Param, described: r.Described, reused: r.Reused})
			}
		}
	}
	object, below := pathObjects(req)
	if object.ID != "" {
		refs = append(refs, reference{id: object.ID, kind: object.Kind})
	}
	for _, id := range below {
		refs = append(refs, reference{id: id, under: object.ID, described: operations.KindOf(id) == ""})
	}
	for _, r := range request.QueryReferences(req.Query) {
		if refs = append(refs, reference{id: r.ID, kind: r.Kind, param: r.Param, described: r.Described}); r.Kind == "" {
			refs[len(refs)-1].under = object.ID
		}
	}
	add(s.tunedModels(req.Model, req.Parsed.Model)...)
	add(s.tunedModels(req.Parsed.Models...)...)
	add(req.Parsed.References...)
	return refs
}

// pathObjects returns the object that the path of an operation on stored objects
// addresses, and the ids below it.
func pathObjects(req *proxy.Request) (object operations.Object, below []string) {
	if req.Operation.State.Stored() {
		object, below, _ = req.Operation.PathObjects(req.Subpath)
	}
	return object, below
}

// tunedModels returns those of the models that a fine-tuning job made. A deployment
// of one has a name in the configuration, and is not among them.
func (s *Server) tunedModels(names ...string) []request.Reference {
	var refs []request.Reference
	for _, name := range names {
		if operations.IsTuned(name) && !s.deployed(name) {
			refs = append(refs, request.Reference{Kind: operations.KindCheckpoint, ID: name, Param: "model"})
		}
	}
	return refs
}

// deployed reports whether the configuration has a model or a deployment of this name.
func (s *Server) deployed(name string) bool {
	if pools, ok := s.Models.Resolve(name); ok && pools[0].Model != anyModel {
		return true
	}
	return slices.ContainsFunc(s.Models.All(), func(p *balancer.Pool) bool {
		return slices.ContainsFunc(p.Backends, func(b balancer.Backend) bool { return strings.EqualFold(b.Deployment, name) })
	})
}

func tooManyObjects(req *proxy.Request, refs []reference) *Error {
	count, most := 0, maxReferences
	switch req.Operation.Name {
	case "vector-stores", "uploads", "evals":
		most = maxListed
	}
	for i := range refs {
		if !refs[i].described {
			count++
		}
	}
	if count <= most {
		return nil
	}
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "too_many_ids", Final: true,
		Message: fmt.Sprintf("This request names %d stored objects. Name at most %d in one request.", count, most),
	}
}

// ownedPools pins a request about stored objects to the backend that holds what
// it names, else to the one where its consumer's objects are made.
func (s *Server) ownedPools(ctx context.Context, req *proxy.Request) ([]*balancer.Pool, *Error) {
	object, _, ok := req.Operation.PathObjects(req.Subpath)
	switch {
	case !ok:
		return nil, unknownObjectPath(req)
	case object.ID == "" && req.Method != http.MethodPost: // a list, or all of it
		return nil, listRefused(req)
	}
	held, apiErr := s.ownedObjects(ctx, req)
	switch {
	case apiErr != nil:
		return nil, apiErr
	case len(held) == 0:
		return s.statefulPools(req)
	}
	return s.holderPools(req, &held[0])
}

// holderPools pins the request to the backend of an object: in the pool of the model
// that it names, if that is there.
func (s *Server) holderPools(req *proxy.Request, held *heldObject) ([]*balancer.Pool, *Error) {
	pools, apiErr := s.namedPools(req)
	if apiErr != nil {
		return nil, apiErr
	}
	holds := func(p *balancer.Pool) bool {
		return slices.ContainsFunc(p.Backends, func(b balancer.Backend) bool { return b.Name == held.location.Backend })
	}
	i := slices.IndexFunc(pools, holds)
	if i < 0 {
		req.Parsed.Model = "" // no deployment of that model is there
		pools = s.usablePools(req)
		i = slices.IndexFunc(pools, holds)
	}
	if i < 0 {
		return nil, referenceNotFound(held.reference)
	}
	req.PinnedTo = &proxy.Pin{Backend: held.location.Backend, CreatedAt: held.location.CreatedAt}
	return pools[i : i+1], nil
}

// pinOwned pins a request that generates to the backend that holds what it
// names, if it depends on anything.
func (s *Server) pinOwned(ctx context.Context, req *proxy.Request, pools []*balancer.Pool) ([]*balancer.Pool, *Error) {
	held, apiErr := s.ownedObjects(ctx, req)
	if apiErr != nil {
		return nil, apiErr
	}
	decides := slices.IndexFunc(held, func(h heldObject) bool { return !h.described || h.reused || h.id == req.Parsed.ResourceBoundID })
	switch {
	case decides < 0 && req.Parsed.ResourceBound && req.Operation.State == operations.Stateful:
		req.PinnedTo = new(proxy.Pin) // the holder is unknown: each backend may be tried
	case decides < 0:
		return pools, nil
	case !servedBy(pools[0], held[decides].location.Backend):
		return nil, modelMismatch(req, held[decides].reference)
	default:
		location := &held[decides].location
		req.PinnedTo = &proxy.Pin{Backend: location.Backend, CreatedAt: location.CreatedAt}
	}
	return pools[:1], nil
}

func servedBy(p *balancer.Pool, backend string) bool {
	return slices.ContainsFunc(p.Backends, func(b balancer.Backend) bool { return b.Name == backend })
}

// listRefused is the error for a list of what all consumers made.
func listRefused(req *proxy.Request) *Error {
	return &Error{
		Status: http.StatusForbidden, Type: invalidRequest, Code: "list_not_allowed", Final: true,
		Message: fmt.Sprintf("The list of %s would show what other consumers made, so it is not served. Keep the ids that you get, and address each object by its id.", operationPath(req)),
	}
}

func unknownObjectPath(req *proxy.Request) *Error {
	return &Error{
		Status: http.StatusNotFound, Type: invalidRequest, Code: "not_found", Final: true,
		Message: "There is no such path here: " + operationPath(req) + "/" + printable(req.Subpath) + ".",
	}
}

func operationRetired(req *proxy.Request) *Error {
	return &Error{
		Status: http.StatusGone, Type: invalidRequest, Code: "operation_retired", Final: true,
		Message: fmt.Sprintf("Azure OpenAI retired %s on 26 August 2026. Use /responses, with /conversations for state.", operationPath(req)),
	}
}

// rememberObjects records the consumer as the owner of what the answer says the
// service made, before the caller has it, and what is due of it.
func (s *Server) rememberObjects(ctx context.Context, req *proxy.Request, a *proxy.BackendResponse, reserved *metering.Reservation) {
	if s.Affinity == nil || !recordsObjects(req) {
		return
	}
	a.Hooks.Created = func(objects []operations.Object) {
		for _, o := range objects {
			l := s.locationOf(req, a.Backend.Name, a.Model, s.recordedKind(req, o.Kind))
			if o.Kind == operations.KindResponse && s.Meter != nil {
				l.Due = s.Meter.Promise(reserved, req, a)
			}
			switch {
			case o.Kind == operations.KindMessage && !req.Parsed.Thread && (!s.StrictIDs || !req.Parsed.KeepsMessage): // nobody asks for it
			case s.StrictIDs:
				s.rememberOwned(ctx, req, l, o)
			case o.Kind != operations.KindListed:
				s.remember(ctx, l, o.ID, l.Due != "")
			}
		}
	}
}

// rememberOwned records an object of an answer where ids have owners. What is below
// another object can be named there, and belongs to nobody by that: a list shows what
// was put in, with the ids that callers gave it. Nor is what the request names made by
// its answer.
func (s *Server) rememberOwned(ctx context.Context, req *proxy.Request, l affinity.Location, o operations.Object) {
	post := req.Method == http.MethodPost
	below := o.Kind == operations.KindListed || o.Kind == operations.KindItem && req.Operation.Collection(req.Subpath) != ""
	if below && operations.KindOf(o.ID) != "" {
		object, _ := pathObjects(req)
		listed := s.locationOf(req, l.Backend, l.Model, operations.KindListed)
		if post {
			listed.Expires = time.Time{}
		}
		s.remember(ctx, listed, (&reference{id: o.ID, under: object.ID}).listed(), post && o.Kind == operations.KindListed)
		if o.Kind == operations.KindItem && operations.IsServiceID(o.ID) {
			s.remember(ctx, l, shown(owner(req), o.ID), false)
		}
	}
	if o.Kind != operations.KindListed && (post || !below) && !named(req, o.ID) {
		s.remember(ctx, l, o.ID, o.Kind != operations.KindItem && o.Kind != operations.KindMessage)
	}
}

// remember records an owner, in the table before the caller sees the answer if it is
// to be first.
func (s *Server) remember(ctx context.Context, l affinity.Location, id string, first bool) {
	if first {
		s.Affinity.Record(ctx, l, id)
		return
	}
	s.Affinity.Remember(l, id)
}

// named reports whether the body of a request names an object.
func named(req *proxy.Request, id string) bool {
	return slices.ContainsFunc(req.Parsed.References, func(r request.Reference) bool { return r.ID == id })
}

// locationOf is the location of an object of the consumer's that a backend holds, for
// as long as it keeps objects of the kind.
func (s *Server) locationOf(req *proxy.Request, backend, model string, kind operations.Kind) affinity.Location {
	now := s.Now()
	l := affinity.Location{Backend: backend, Model: model, Kind: string(kind), Owner: owner(req), CreatedAt: now}
	if kept := kind.Retention(); kept > 0 {
		l.Expires = now.Add(kept)
	}
	return l
}

// recordsObjects reports whether the answer may name objects that the caller can
// come back to.
func recordsObjects(req *proxy.Request) bool {
	switch {
	case req.Operation.Dialect == operations.Messages:
		return true // tools of the service make containers, whatever they are called, and threads are kept
	case req.Operation.Kind == "", req.Method == http.MethodDelete:
		return false
	case req.Operation.Dialect == operations.Chat:
		return req.Parsed.Store != nil && *req.Parsed.Store || req.Parsed.Audio
	}
	return true
}

// noun is the kind of an object for messages.
func (r *reference) noun() string {
	if r.kind == "" {
		return "object"
	}
	return strings.ReplaceAll(string(r.kind), "_", " ")
}
