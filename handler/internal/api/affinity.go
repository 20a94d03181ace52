package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// AffinityStore knows which backend made what (package affinity). Find and Claim may
// wait for the table, within bounds of their own; Keep never does.
type AffinityStore interface {
	Lookup(ctx context.Context, owner, id string) (affinity.Location, error)
	Remember(p affinity.Location, ids ...string)
	Claim(ctx context.Context, p affinity.Location, id string) error
}

// Locator asks backends for something by its id.
type Locator interface {
	// Locate returns the one that has it; nil when none has, with an error when
	// one of them could not say.
	Locate(ctx context.Context, among []*balancer.Backend, r *proxy.Request) (*balancer.Backend, error)
}

// reference is something that a request refers to.
type reference struct {
	id        string
	kind      string // "response", "conversation" or "item"
	operation string // the operation that asks for it by its id; "" = none does
	param     string // where the request names it; "" = in the path
}

// references are what a body refers to, the most telling first.
func references(f *request.ParsedRequest) [3]reference {
	return [3]reference{
		{f.PreviousResponseID, "response", "response", "previous_response_id"},
		{f.Conversation, "conversation", "conversation", "conversation"},
		{f.ResourceBoundID, "item", "", "input"},
	}
}

// pin finds out whether the request needs what one backend holds. A
// request that does is served there or not at all: never by another backend,
// nor by another model (design.md §7.2).
func (s *Server) pin(ctx context.Context, req *proxy.Request, pools []*balancer.Pool) ([]*balancer.Pool, *Error) {
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
			req.PinnedTo = new(proxy.Pin) // nobody knows whose: each may be asked
			return pools[:1], nil
		}
	}
	if i := slices.IndexFunc(pools[0].Backends, func(b balancer.Backend) bool { return b.Stateful }); i >= 0 && referencesFiles(req.Body) {
		req.PinnedTo = &proxy.Pin{Backend: pools[0].Backends[i].Name}
		return pools[:1], nil
	}
	return pools, nil
}

// recallPools finds the backend that holds what the path names.
func (s *Server) recallPools(ctx context.Context, req *proxy.Request) ([]*balancer.Pool, *Error) {
	id, _, _ := strings.Cut(req.Subpath, "/")
	ref := reference{id: id, kind: req.Operation.Name, operation: req.Operation.Name}
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

// locate finds the backend among the pools' that holds what is referred to:
// from memory, from the table, or by asking.
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
	case errors.Is(err, affinity.ErrUnavailable) && req.Consumer != nil:
		return nil, locationUnknown(ref, err) // it may be another consumer's
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

// owner is whose the things are that the request makes.
func owner(req *proxy.Request) string {
	if req.Consumer == nil {
		return ""
	}
	return req.Consumer.Name
}

// configured reports whether the backend is still one of ours.
func (s *Server) configured(backend string) bool {
	return slices.ContainsFunc(distinctBackends(s.Models.All()), func(h placement) bool { return h.backend.Name == backend })
}

// askBackends asks every backend that the consumer may reach, once.
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
	found, err := s.Locator.Locate(ctx, reachable, s.lookupRequest(req, ref))
	if found != nil {
		return s.claim(ctx, req, ref, placement{found, poolOf(among, found)})
	}
	// Another instance may have made it just now, and the table know it by now.
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

// lookupRequest asks for what is referred to by its id.
func (s *Server) lookupRequest(req *proxy.Request, ref reference) *proxy.Request {
	return &proxy.Request{
		ID: req.ID, Operation: *operations.ByName(ref.operation), Family: operations.V1, Method: "GET", Subpath: ref.id,
		Header: req.Header, Model: req.Model, Consumer: req.Consumer,
	}
}

// claim remembers what was found, unless it turns out to be another's.
func (s *Server) claim(ctx context.Context, req *proxy.Request, ref reference, found placement) (*proxy.Pin, *Error) {
	if s.Affinity != nil {
		err := s.Affinity.Claim(ctx, affinity.Location{Backend: found.backend.Name, Model: found.pool.Model, Owner: owner(req), CreatedAt: s.Now()}, ref.id)
		switch {
		case errors.Is(err, affinity.ErrOtherOwner):
			return nil, referenceNotFound(ref)
		case err != nil && req.Consumer != nil:
			return nil, locationUnknown(ref, err)
		}
	}
	return &proxy.Pin{Backend: found.backend.Name}, nil
}

// rememberIDs keeps where the answer and its parts were made, for requests that
// come back with their ids. It is told as soon as they are known.
func (s *Server) rememberIDs(req *proxy.Request, a *proxy.BackendResponse) {
	if s.Affinity == nil || !req.Operation.RecordsID {
		return
	}
	a.Hooks.Created = func(ids []string) {
		s.Affinity.Remember(affinity.Location{Backend: a.Backend.Name, Model: a.Model, Owner: owner(req), CreatedAt: s.Now()}, ids...)
	}
}

// A prompt cache serves prompts of at least 1,024 tokens, and only their
// common beginning (facts/azure-openai.md §6.1).
const (
	minCachedPrompt = 4 << 10
	hashedPrefix    = 4 << 10
)

// promptCacheHash numbers the prompt cache that a request could share: its consumer
// and model with the key or session that it names, else with the beginning of
// its prompt. 0 is a request that no cache can serve.
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
	return h*1099511628211 ^ 1 // a mark between two strings, and never 0 in practice
}
