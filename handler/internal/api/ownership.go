package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// maxReferences is how many stored objects one request may name where ids have
// owners, so that one request costs the table no more than that many reads.
const maxReferences = 64

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
	refs := namedObjects(req)
	if len(refs) == 0 {
		return nil, nil
	}
	if apiErr := tooManyObjects(refs); apiErr != nil {
		return nil, apiErr
	}
	locations, errs := s.lookupAll(ctx, req, refs)
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
		if apiErr := checkBatchFile(req, held[i].reference, &held[i].location); apiErr != nil {
			return nil, apiErr
		}
	}
	return held, nil
}

// namedObjects returns the objects that a request names, each once.
func namedObjects(req *proxy.Request) []reference {
	var refs []reference
	seen := map[request.Reference]bool{}
	add := func(list ...request.Reference) {
		for _, r := range list {
			if key := (request.Reference{Kind: r.Kind, ID: r.ID, Described: r.Described}); !seen[key] {
				seen[key] = true
				refs = append(refs, reference{id: r.ID, kind: r.Kind, param: r.Param, described: r.Described})
			}
		}
	}
	object, below, _ := req.Operation.PathObjects(req.Subpath)
	if object.ID != "" {
		refs = append(refs, reference{id: object.ID, kind: object.Kind})
	}
	for _, id := range below {
		add(request.Reference{ID: id, Described: true})
	}
	add(request.QueryReferences(req.Query)...)
	add(req.Parsed.References...)
	return refs
}

func tooManyObjects(refs []reference) *Error {
	count := 0
	for i := range refs {
		if !refs[i].described {
			count++
		}
	}
	if count <= maxReferences {
		return nil
	}
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "too_many_ids", Final: true,
		Message: fmt.Sprintf("This request names %d stored objects. Name at most %d in one request.", count, maxReferences),
	}
}

func (s *Server) lookupAll(ctx context.Context, req *proxy.Request, refs []reference) ([]affinity.Location, []error) {
	ids := make([]string, len(refs))
	for i := range refs {
		ids[i] = refs[i].id
	}
	if s.Affinity == nil {
		return make([]affinity.Location, len(refs)), slices.Repeat([]error{affinity.ErrUnknown}, len(refs))
	}
	return s.Affinity.LookupAll(ctx, owner(req), ids)
}

// isKind reports whether an object is of the kind that is asked for. Rows of
// before kinds were recorded are of responses, their items and conversations.
func isKind(want, is operations.Kind) bool {
	return want == "" || want == is || want == operations.KindFile && is == operations.KindBatchFile ||
		is == "" && (want == operations.KindResponse || want == operations.KindItem || want == operations.KindConversation)
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
	decides := slices.IndexFunc(held, func(h heldObject) bool { return !h.described || h.id == req.Parsed.ResourceBoundID })
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
// service made, before the caller has it.
func (s *Server) rememberObjects(ctx context.Context, req *proxy.Request, a *proxy.BackendResponse) {
	if s.Affinity == nil || !recordsObjects(req) {
		return
	}
	a.Hooks.Created = func(objects []operations.Object) {
		for _, o := range objects {
			l := s.locationOf(req, a.Backend.Name, a.Model, s.recordedKind(req, o.Kind))
			if s.StrictIDs && o.Kind != operations.KindItem {
				s.Affinity.Record(ctx, l, o.ID)
			} else {
				s.Affinity.Remember(l, o.ID)
			}
		}
	}
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
		return bytes.Contains(req.Body, []byte(`"container`)) || bytes.Contains(req.Body, []byte(`"code_execution`))
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
