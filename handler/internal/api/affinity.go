package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// AffinityStore maps the ids of stored objects to backends (package affinity).
// All but Remember may wait for the table, within their own bounds.
type AffinityStore interface {
	Lookup(ctx context.Context, owner, id string) (affinity.Location, error)
	LookupAll(ctx context.Context, owner string, ids []string) ([]affinity.Location, []error)
	LookupGiven(ctx context.Context, owner string, ids []string) ([]affinity.Location, []error)
	Remember(p affinity.Location, ids ...string)
	Record(ctx context.Context, p affinity.Location, ids ...string)
	TakeDue(owner, id string) (take func(ctx context.Context) (due string, err error))
	ReplaceDue(ctx context.Context, owner, id, due string) (bool, error)
	Claim(ctx context.Context, p affinity.Location, id string) error
}

// Locator asks backends for an object by its id.
type Locator interface {
	// Locate returns the backend that has it. It is nil when none has, with an
	// error when one of them did not answer.
	Locate(ctx context.Context, among []*balancer.Backend, r *proxy.Request) (*balancer.Backend, error)
}

// reference is a stored object that a request names.
type reference struct {
	id        string
	kind      operations.Kind // "" = any
	operation string          // the operation that reads it by its id; "" = there is none
	param     string          // where the request names it; "" = in the path
	described bool            // it may be an id of the caller's own making
	reused    bool            // it is described, and used again if it is still there
	under     string          // the object below which it is; "" = none

	madeBefore map[string]time.Time // by backend, when it is looked for there; nil = at any time
}

// references returns the objects that a body names; the first decides.
func references(f *request.ParsedRequest) [3]reference {
	return [3]reference{
		{id: f.PreviousResponseID, kind: operations.KindResponse, operation: "response", param: "previous_response_id"},
		{id: f.Conversation, kind: operations.KindConversation, operation: "conversation", param: "conversation"},
		{id: f.ResourceBoundID, kind: operations.KindItem, param: "input"},
	}
}

// pin pins the request to the backend that holds what it refers to, if it
// refers to anything. A pinned request is served by no other backend and by no
// other model (docs/azure-openai.md#stateful-operations).
func (s *Server) pin(ctx context.Context, req *proxy.Request, pools []*balancer.Pool) ([]*balancer.Pool, *Error) {
	if s.StrictIDs {
		return s.pinOwned(ctx, req, pools)
	}
	if req.Operation.State == operations.Stateful {
		for _, ref := range references(&req.Parsed) {
			if ref.id == "" {
				continue
			}
			pin, apiErr := s.locate(ctx, req, ref, pools[:1])
			if apiErr != nil {
				return nil, apiErr
			}
			req.PinnedTo = pin
			return pools[:1], nil
		}
		if req.Parsed.ResourceBound {
			req.PinnedTo = new(proxy.Pin) // the holder is unknown: each backend may be tried
			return pools[:1], nil
		}
	}
	if ref, ok := namedObject(req); ok {
		pin, apiErr := s.locate(ctx, req, ref, pools[:1])
		if apiErr != nil {
			return nil, apiErr
		}
		req.PinnedTo = pin
		return pools[:1], nil
	}
	if i := slices.IndexFunc(pools[0].Backends, func(b balancer.Backend) bool { return b.Stateful && b.Permits(req.Consumer.Bounds()) }); i >= 0 && referencesFiles(&req.Parsed) {
		req.PinnedTo = &proxy.Pin{Backend: pools[0].Backends[i].Name}
		return pools[:1], nil
	}
	return pools, nil
}

// namedObject returns the container, the sound, the thread or the request for an approval
// that a body names. It exists only at the backend that made it, in an answer or by itself.
// Only OpenAI's containers can be asked for, and that of a call that is sent back need
// not be there any more.
func namedObject(req *proxy.Request) (reference, bool) {
	for _, r := range req.Parsed.References {
		ref := reference{id: r.ID, kind: r.Kind, param: r.Param}
		switch {
		case r.Described && !r.Reused:
		case r.Kind == operations.KindAudio, r.Kind == operations.KindMessage, r.Param == "approval_request_id":
			return ref, true
		case r.Kind == operations.KindContainer:
			if req.Operation.Dialect != operations.Messages && !r.Reused {
				ref.operation = "containers"
			}
			return ref, true
		}
	}
	return reference{}, false
}

// continuedThread returns the message whose thread a request continues.
func continuedThread(req *proxy.Request) (reference, bool) {
	for _, r := range req.Parsed.References {
		if r.Kind == operations.KindMessage && !r.Described {
			return reference{id: r.ID, kind: r.Kind, param: r.Param}, true
		}
	}
	return reference{}, false
}

// rememberedPools pins a request about a stored object to the backend that made
// it, if that is known; else to the one where such objects are made. Containers are
// made by responses too, at any backend: those are asked for an unknown one.
func (s *Server) rememberedPools(ctx context.Context, req *proxy.Request) ([]*balancer.Pool, *Error) {
	object, _, _ := req.Operation.PathObjects(req.Subpath)
	if object.ID == "" {
		if apiErr := s.checkOwnBatch(ctx, req); apiErr != nil {
			return nil, apiErr
		}
		return s.statefulPools(req)
	}
	ref := reference{id: object.ID, kind: object.Kind}
	location, err := s.lookup(ctx, req, ref)
	switch {
	case errors.Is(err, affinity.ErrOtherOwner):
		return nil, referenceNotFound(ref)
	case err == nil && s.configured(location.Backend):
		return s.holderPools(req, &heldObject{ref, location})
	case object.Kind != operations.KindContainer:
		return s.statefulPools(req)
	case errors.Is(err, affinity.ErrUnavailable):
		return nil, locationUnknown(ref, err)
	}
	ref.operation = "containers"
	pin, apiErr := s.askBackends(ctx, req, ref, distinctBackends(s.usablePools(req)))
	if apiErr != nil {
		return nil, apiErr
	}
	return s.holderPools(req, &heldObject{ref, affinity.Location{Backend: pin.Backend, CreatedAt: pin.CreatedAt}})
}

// recallPools pins the request to the backend that holds what its path names.
func (s *Server) recallPools(ctx context.Context, req *proxy.Request) ([]*balancer.Pool, *Error) {
	id, _, _ := strings.Cut(req.Subpath, "/")
	ref := reference{id: id, kind: req.Operation.Kind, operation: req.Operation.Name}
	pools := s.usablePools(req)
	pin, apiErr := s.locate(ctx, req, ref, pools)
	if apiErr != nil {
		return nil, apiErr
	}
	req.PinnedTo = pin
	for _, p := range pools {
		if slices.ContainsFunc(p.Backends, func(b balancer.Backend) bool { return b.Name == pin.Backend }) {
			return []*balancer.Pool{p}, nil
		}
	}
	return nil, referenceNotFound(ref)
}

// locate returns the backend of these pools that holds the referenced object:
// from memory, from the table, or by asking the backends.
func (s *Server) locate(ctx context.Context, req *proxy.Request, ref reference, pools []*balancer.Pool) (*proxy.Pin, *Error) {
	backends := distinctBackends(pools)
	location, err := s.lookup(ctx, req, ref)
	switch {
	case errors.Is(err, affinity.ErrOtherOwner):
		return nil, referenceNotFound(ref)
	case err == nil && s.configured(location.Backend):
		if !slices.ContainsFunc(backends, func(h placement) bool { return h.backend.Name == location.Backend }) {
			return nil, modelMismatch(req, ref)
		}
		return &proxy.Pin{Backend: location.Backend, CreatedAt: location.CreatedAt}, nil
	case errors.Is(err, affinity.ErrUnavailable) && req.Consumer != nil && !ref.mayBeUnknown():
		return nil, locationUnknown(ref, err) // it may belong to another consumer
	case ref.operation == "":
		return new(proxy.Pin), nil
	}
	return s.askBackends(ctx, req, ref, backends)
}

func (s *Server) lookup(ctx context.Context, req *proxy.Request, ref reference) (affinity.Location, error) {
	if s.Affinity == nil {
		return affinity.Location{}, affinity.ErrUnknown
	}
	return s.Affinity.Lookup(ctx, owner(req), ref.id)
}

// owner returns the name of the consumer that owns what the request creates;
// "" is anonymous.
func owner(req *proxy.Request) string {
	if req.Consumer == nil {
		return ""
	}
	return req.Consumer.Name
}

// configured reports whether the backend is still in the configuration.
func (s *Server) configured(backend string) bool {
	return slices.ContainsFunc(distinctBackends(s.Models.All()), func(h placement) bool { return h.backend.Name == backend })
}

// askBackends asks each backend that the consumer may use, once.
func (s *Server) askBackends(ctx context.Context, req *proxy.Request, ref reference, among []placement) (*proxy.Pin, *Error) {
	var reachable []*balancer.Backend
	for _, h := range among {
		if h.backend.Permits(req.Consumer.Bounds()) {
			reachable = append(reachable, h.backend)
		}
	}
	if s.Locator == nil || len(reachable) == 0 {
		return nil, referenceNotFound(ref)
	}
	if apiErr := admitSearch(ctx, among[0].pool); apiErr != nil {
		return nil, apiErr
	}
	search := s.lookupRequest(req, ref)
	search.Another = anotherOf(ctx)
	found, err := s.Locator.Locate(ctx, reachable, search)
	if found != nil {
		return s.claim(ctx, req, ref, placement{found, poolOf(among, found)})
	}
	// Another instance may have created it and written the row meanwhile.
	if location, missing := s.lookup(ctx, req, ref); missing == nil {
		return &proxy.Pin{Backend: location.Backend, CreatedAt: location.CreatedAt}, nil
	}
	if err != nil {
		return nil, locationUnknown(ref, err)
	}
	return nil, referenceNotFound(ref)
}

func poolOf(among []placement, b *balancer.Backend) *balancer.Pool {
	return among[slices.IndexFunc(among, func(h placement) bool { return h.backend == b })].pool
}

// lookupRequest returns the request that reads the referenced object.
func (s *Server) lookupRequest(req *proxy.Request, ref reference) *proxy.Request {
	subpath := ref.id
	if ref.kind == operations.KindTuningJob {
		subpath = "jobs/" + ref.id
	}
	return &proxy.Request{
		ID: req.ID, Operation: *operations.ByName(ref.operation), Family: operations.V1, Method: "GET", Subpath: subpath,
		Header: req.Header, Model: req.Model, Consumer: req.Consumer, MadeBefore: ref.madeBefore,
	}
}

// claim records the owner of what was found, unless it has another one.
func (s *Server) claim(ctx context.Context, req *proxy.Request, ref reference, found placement) (*proxy.Pin, *Error) {
	if s.Affinity != nil {
		err := s.Affinity.Claim(ctx, s.locationOf(req, found.backend.Name, found.pool.Model, adoptedKind(&ref)), ref.id)
		switch {
		case errors.Is(err, affinity.ErrOtherOwner):
			return nil, referenceNotFound(ref)
		case err != nil && req.Consumer != nil:
			return nil, locationUnknown(ref, err)
		}
	}
	return &proxy.Pin{Backend: found.backend.Name}, nil
}

// Bounds of prompt caches in bytes, at about four a token
// (docs/azure-openai.md#prompt-caching).
const (
	minCachedPrompt = 4 << 10
	hashedPrefix    = 4 << 10
)

// promptCacheHash identifies the prompt cache that a request could share: by its
// consumer, its model, and the cache key or session that it names, else the
// beginning of its prompt. 0 means that no cache can serve it.
func promptCacheHash(h http.Header, r *proxy.Request) uint64 {
	if r.Operation.Dialect == operations.Plain {
		return 0
	}
	n := fnv1a(fnvOffset, r.Model)
	if r.Consumer != nil {
		n = fnv1a(n, r.Consumer.Name)
	}
	switch {
	case r.Parsed.PromptCacheKey != "":
		return fnv1a(n, r.Parsed.PromptCacheKey)
	case h.Get("X-Ms-Session-Id") != "":
		return fnv1a(n, h.Get("X-Ms-Session-Id"))
	case r.Parsed.PromptBytes >= minCachedPrompt:
		at := r.Parsed.PromptSpan
		return fnv1a(n, r.Body[at.From:min(at.To, at.From+hashedPrefix)])
	}
	return 0
}

const fnvOffset = 14695981039346656037

// fnv1a is FNV-1a: the same on every instance, unlike a seeded hash.
func fnv1a[T string | []byte](h uint64, s T) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h*1099511628211 ^ 1 // separates two strings
}
