package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

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
	for _, h := range unknown {
		h.operation = readers[h.kind]
		pin, apiErr := s.askBackends(ctx, req, h.reference, s.adoptingBackends(req))
		if apiErr != nil {
			return apiErr
		}
		h.location = affinity.Location{Backend: pin.Backend, CreatedAt: pin.CreatedAt}
	}
	return nil
}

func tooManyToAdopt(count int) *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "too_many_ids", Final: true,
		Message: fmt.Sprintf("This request names %d stored objects that were not made here. Name at most %d of them in one request; what was read once is known.", count, maxAdopted),
	}
}
