package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// maxAdopted is how many objects that nobody is known to have made one request may
// name: each costs a request to a backend.
const maxAdopted = 8

// readers are the operations that read an object by its id. Objects of other kinds
// are adopted by the operator's command only.
var readers = map[operations.Kind]string{
	operations.KindResponse: "response", operations.KindConversation: "conversation", operations.KindChat: "stored-chat",
	operations.KindFile: "files", operations.KindBatch: "batches", operations.KindVectorStore: "vector-stores", operations.KindContainer: "containers",
	operations.KindTuningJob: "fine-tuning", operations.KindEval: "evals", operations.KindSkill: "skills", operations.KindVideo: "videos",
}

// adoptingBackends returns the backends at which an object that nobody is known to
// have made is this consumer's.
func (s *Server) adoptingBackends(req *proxy.Request) []placement {
	return slices.DeleteFunc(distinctBackends(s.usablePools(req)), func(h placement) bool {
		return h.backend.Adopt == "" || h.backend.Adopt != owner(req)
	})
}

// mayAdopt reports whether the object, which nobody is known to have made, is looked
// for at backends that adopt for the consumer.
func (s *Server) mayAdopt(req *proxy.Request, ref *reference) bool {
	return !ref.described && readers[ref.kind] != "" && operations.IsSafeID(ref.id) && s.Affinity != nil && len(s.adoptingBackends(req)) > 0
}

// adopt looks for those of the objects that nobody is known to have made, and records
// the consumer as the owner of what is found. It fails when one of them is not found,
// or has another owner by then.
func (s *Server) adopt(ctx context.Context, req *proxy.Request, held []heldObject) *Error {
	var unknown []*heldObject
	for i := range held {
		if held[i].location.Backend == "" {
			unknown = append(unknown, &held[i])
		}
	}
	if len(unknown) > maxAdopted {
		return tooManyToAdopt(len(unknown))
	}
	if len(unknown) == 0 {
		return nil
	}
	among, since := s.adoptingBackends(req), map[string]time.Time{}
	for _, p := range among {
		start, err := s.adoptionStart(ctx, owner(req), p)
		if err != nil {
			return locationUnknown(unknown[0].reference, err)
		}
		since[p.backend.Name] = start
	}
	for _, h := range unknown {
		h.operation, h.madeBefore = readers[h.kind], since
		pin, apiErr := s.askBackends(ctx, req, h.reference, among)
		if apiErr != nil {
			return apiErr
		}
		h.location = affinity.Location{Backend: pin.Backend, CreatedAt: pin.CreatedAt, Kind: string(adoptedKind(&h.reference))}
	}
	return nil
}

// adoptedKind is the kind that a found object is remembered by. Rows of a file that was
// made before others came can name nothing of theirs.
func adoptedKind(ref *reference) operations.Kind {
	if ref.kind == operations.KindFile && ref.madeBefore != nil {
		return operations.KindDataFile
	}
	return ref.kind
}

// adoptionStart is when a backend began to adopt for the consumer: what was made since
// may be another's, who has not been told of it yet, such as the output of a batch. The
// table of ids keeps the first instant of all instances.
func (s *Server) adoptionStart(ctx context.Context, who string, at placement) (time.Time, error) {
	key := "adoption\x00" + at.backend.Name + "\x00" + who // no id that a path can hold
	l, err := s.Affinity.Lookup(ctx, who, key)
	if !errors.Is(err, affinity.ErrUnknown) {
		return l.CreatedAt, err
	}
	l = affinity.Location{Backend: at.backend.Name, Model: at.pool.Model, Kind: "adoption", Owner: who, CreatedAt: s.Now()}
	if err = s.Affinity.Claim(ctx, l, key); err == nil {
		l, err = s.Affinity.Lookup(ctx, who, key) // another instance may have been first
	}
	return l.CreatedAt, err
}

// BeginAdoptions records when the backends that adopt began to, and returns when all
// are recorded, or ctx is done.
func (s *Server) BeginAdoptions(ctx context.Context) {
	const pause = 5 * time.Second
	for _, p := range distinctBackends(s.Models.All()) {
		for p.backend.Adopt != "" && s.StrictIDs {
			if _, err := s.adoptionStart(ctx, p.backend.Adopt, p); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
	}
}

func tooManyToAdopt(count int) *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "too_many_ids", Final: true,
		Message: fmt.Sprintf("This request names %d stored objects that were not made here. Name at most %d of them in one request; what was read once is known.", count, maxAdopted),
	}
}
