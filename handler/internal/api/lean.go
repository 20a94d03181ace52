package api

import (
	"context"
	"errors"
	"slices"
	"strings"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// Places knows which backend made what (package affinity). Find and Claim may
// wait for the table, within bounds of their own; Keep never does.
type Places interface {
	Lookup(ctx context.Context, owner, id string) (affinity.Location, error)
	Remember(p affinity.Location, ids ...string)
	Claim(ctx context.Context, p affinity.Location, id string) error
}

// Seeker asks backends for something by its id.
type Seeker interface {
	// Locate returns the one that has it; nil when none has, with an error when
	// one of them could not say.
	Locate(ctx context.Context, among []*balancer.Backend, r *proxy.Request) (*balancer.Backend, error)
}

// reference is something that a request refers to.
type reference struct {
	id    string
	kind  string // "response", "conversation" or "item"
	by    string // the operation that asks for it by its id; "" = none does
	param string // where the request names it; "" = in the path
}

// references are what a body refers to, the most telling first.
func references(f *request.ParsedRequest) [3]reference {
	return [3]reference{
		{f.PreviousResponseID, "response", "response", "previous_response_id"},
		{f.Conversation, "conversation", "conversation", "conversation"},
		{f.ResourceBoundID, "item", "", "input"},
	}
}

// leaning finds out whether the request needs what one backend holds. A
// request that does is served there or not at all: never by another backend,
// nor by another model (design.md §7.2).
func (s *Server) leaning(ctx context.Context, req *proxy.Request, pools []*balancer.Pool) ([]*balancer.Pool, *Refusal) {
	if req.Operation.State == operations.Stateful {
		for _, ref := range references(&req.Parsed) {
			if ref.id == "" {
				continue
			}
			held, refusal := s.locate(ctx, req, ref, pools[:1])
			if refusal != nil {
				return nil, refusal
			}
			req.PinnedTo = held
			return pools[:1], nil
		}
		if req.Parsed.ResourceBound {
			req.PinnedTo = new(proxy.Pin) // nobody knows whose: each may be asked
			return pools[:1], nil
		}
	}
	if i := slices.IndexFunc(pools[0].Backends, func(b balancer.Backend) bool { return b.Stateful }); i >= 0 && usesFiles(req.Body) {
		req.PinnedTo = &proxy.Pin{Backend: pools[0].Backends[i].Name}
		return pools[:1], nil
	}
	return pools, nil
}

// recall finds the backend that holds what the path names.
func (s *Server) recall(ctx context.Context, req *proxy.Request) ([]*balancer.Pool, *Refusal) {
	id, _, _ := strings.Cut(req.Subpath, "/")
	ref := reference{id: id, kind: req.Operation.Name, by: req.Operation.Name}
	pools := s.usable(req)
	held, refusal := s.locate(ctx, req, ref, pools)
	if refusal != nil {
		return nil, refusal
	}
	req.PinnedTo = held
	for _, p := range pools {
		if slices.ContainsFunc(p.Backends, func(b balancer.Backend) bool { return b.Name == held.Backend }) {
			return []*balancer.Pool{p}, nil
		}
	}
	return nil, notHeld(ref)
}

// locate finds the backend among the pools' that holds what is referred to:
// from memory, from the table, or by asking.
func (s *Server) locate(ctx context.Context, req *proxy.Request, ref reference, pools []*balancer.Pool) (*proxy.Pin, *Refusal) {
	among := resources(pools)
	place, err := s.find(ctx, req, ref)
	switch {
	case errors.Is(err, affinity.ErrOtherOwner):
		return nil, notHeld(ref)
	case err == nil && s.known(place.Backend):
		if !slices.ContainsFunc(among, func(h home) bool { return h.backend.Name == place.Backend }) {
			return nil, heldElsewhere(req, ref)
		}
		return &proxy.Pin{Backend: place.Backend, CreatedAt: place.CreatedAt}, nil
	case errors.Is(err, affinity.ErrUnavailable) && req.Consumer != nil:
		return nil, notToBeFound(ref, err) // it may be another consumer's
	case ref.by == "":
		return new(proxy.Pin), nil
	}
	return s.seek(ctx, req, ref, among)
}

func (s *Server) find(ctx context.Context, req *proxy.Request, ref reference) (affinity.Location, error) {
	if s.Places == nil {
		return affinity.Location{}, affinity.ErrUnknown
	}
	return s.Places.Lookup(ctx, owner(req), ref.id)
}

// owner is whose the things are that the request makes.
func owner(req *proxy.Request) string {
	if req.Consumer == nil {
		return ""
	}
	return req.Consumer.Name
}

// known reports whether the backend is still one of ours.
func (s *Server) known(backend string) bool {
	return slices.ContainsFunc(resources(s.Models.All()), func(h home) bool { return h.backend.Name == backend })
}

// seek asks every backend that the consumer may reach, once.
func (s *Server) seek(ctx context.Context, req *proxy.Request, ref reference, among []home) (*proxy.Pin, *Refusal) {
	var reachable []*balancer.Backend
	for _, h := range among {
		if h.backend.Permits(req.Consumer.Bounds()) {
			reachable = append(reachable, h.backend)
		}
	}
	if s.Seeker == nil || len(reachable) == 0 {
		return nil, notHeld(ref)
	}
	found, err := s.Seeker.Locate(ctx, reachable, s.question(req, ref))
	if found != nil {
		return s.claim(ctx, req, ref, home{found, poolOf(among, found)})
	}
	// Another instance may have made it just now, and the table know it by now.
	if place, missing := s.find(ctx, req, ref); missing == nil {
		return &proxy.Pin{Backend: place.Backend, CreatedAt: place.CreatedAt}, nil
	}
	if err != nil {
		return nil, notToBeFound(ref, err)
	}
	return nil, notHeld(ref)
}

func poolOf(among []home, b *balancer.Backend) *balancer.Pool {
	return among[slices.IndexFunc(among, func(h home) bool { return h.backend == b })].in
}

// question asks for what is referred to by its id.
func (s *Server) question(req *proxy.Request, ref reference) *proxy.Request {
	return &proxy.Request{
		ID: req.ID, Operation: *s.Routes.ByName(ref.by), Family: operations.V1, Method: "GET", Subpath: ref.id,
		Header: req.Header, Model: req.Model, Consumer: req.Consumer,
	}
}

// claim remembers what was found, unless it turns out to be another's.
func (s *Server) claim(ctx context.Context, req *proxy.Request, ref reference, at home) (*proxy.Pin, *Refusal) {
	if s.Places != nil {
		err := s.Places.Claim(ctx, affinity.Location{Backend: at.backend.Name, Model: at.in.Model, Owner: owner(req), CreatedAt: s.Now()}, ref.id)
		switch {
		case errors.Is(err, affinity.ErrOtherOwner):
			return nil, notHeld(ref)
		case err != nil && req.Consumer != nil:
			return nil, notToBeFound(ref, err)
		}
	}
	return &proxy.Pin{Backend: at.backend.Name}, nil
}

// remember keeps where the answer and its parts were made, for requests that
// come back with their ids. It is told as soon as they are known.
func (s *Server) remember(req *proxy.Request, a *proxy.BackendResponse) {
	if s.Places == nil || !req.Operation.RecordsID {
		return
	}
	a.Hooks.Created = func(ids []string) {
		s.Places.Remember(affinity.Location{Backend: a.Backend.Name, Model: a.Model, Owner: owner(req), CreatedAt: s.Now()}, ids...)
	}
}
