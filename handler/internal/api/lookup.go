package api

import (
	"context"
	"errors"
	"slices"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// lookupAll looks the objects up. What lies below an object of the consumer's is
// known if an answer showed it there, or by itself.
func (s *Server) lookupAll(ctx context.Context, req *proxy.Request, refs []reference) ([]affinity.Location, []error) {
	locations, errs := make([]affinity.Location, len(refs)), slices.Repeat([]error{affinity.ErrUnknown}, len(refs))
	if s.Affinity == nil {
		return locations, errs
	}
	for _, pass := range [...]struct {
		key    func(r *reference) string
		lookup func(ctx context.Context, owner string, ids []string) ([]affinity.Location, []error)
	}{{(*reference).listed, s.Affinity.LookupAll}, {(*reference).own, s.Affinity.LookupAll}, {(*reference).given, s.Affinity.LookupGiven}} {
		var at []int
		var ids []string
		for i := range refs {
			if id := pass.key(&refs[i]); id != "" && errs[i] != nil {
				at, ids = append(at, i), append(ids, id)
			}
		}
		if len(ids) == 0 {
			continue
		}
		found, missing := pass.lookup(ctx, owner(req), ids)
		for n, i := range at {
			locations[i], errs[i] = found[n], missing[n]
			if errors.Is(missing[n], affinity.ErrUnavailable) && refs[i].mayBeUnknown() {
				errs[i] = affinity.ErrUnknown
				if refs[i].kind == operations.KindMessage { // it may be another's
					req.Parsed.ForgetCompared(req.Body)
				}
			}
		}
	}
	return locations, errs
}

// given is the key of what may have an id of its caller's making; "" for anything else.
func (r *reference) given() string {
	if r.described && r.under == "" {
		return r.id
	}
	return ""
}

// mayBeUnknown reports whether a request goes on without what cannot be looked up: an id
// that no service made, and a thread, of which its caller has all messages.
func (r *reference) mayBeUnknown() bool {
	return r.kind == operations.KindMessage || r.given() != "" && !operations.IsServiceID(r.id)
}

// own is the key of another object in the table of ids.
func (r *reference) own() string {
	if r.given() != "" {
		return ""
	}
	return r.id
}

// listed is the key of what an answer showed below an object; "" for anything else.
func (r *reference) listed() string {
	if r.under == "" {
		return ""
	}
	return r.under + "/" + r.id
}

// isKind reports whether an object is of the kind that is asked for. Rows of
// before kinds were recorded are of responses, their items and conversations.
func isKind(want, is operations.Kind) bool {
	return want == "" || want == is || want == operations.KindFile && (is == operations.KindBatchFile || is == operations.KindDataFile) ||
		is == "" && (want == operations.KindResponse || want == operations.KindItem || want == operations.KindConversation)
}

// shown is the key of an item that a list showed to a consumer.
func shown(owner, id string) string { return "@" + owner + "/" + id }

// lookupShown looks up the items that a request refers to and that nobody is known to
// have made. Those that a list below an object of the consumer's showed to it are the
// input of its own requests, under ids that the service made.
func (s *Server) lookupShown(ctx context.Context, req *proxy.Request, refs []reference, locations []affinity.Location, errs []error) {
	var at []int
	var keys []string
	for i := range refs {
		if errs[i] != nil && refs[i].kind == operations.KindItem && !refs[i].described {
			at, keys = append(at, i), append(keys, shown(owner(req), refs[i].id))
		}
	}
	if s.Affinity == nil || len(keys) == 0 {
		return
	}
	found, missing := s.Affinity.LookupAll(ctx, owner(req), keys) // of others' items too: both take as long
	for n, i := range at {
		if errors.Is(errs[i], affinity.ErrUnknown) {
			locations[i], errs[i] = found[n], missing[n]
		}
	}
}
