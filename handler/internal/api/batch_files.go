package api

import (
	"context"
	"net/http"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// Only a file whose lines were checked may be the input of a batch, the data of an
// evaluation, or what a model is trained on. Which one was is remembered with its owner:
// what the service reads as the purpose of an upload does not matter then.

// fenced reports whether a consumer may not do all that the backends' credentials may.
func (s *Server) fenced(c *consumer.Consumer) bool {
	return s.StrictIDs || c.Restricted() || c.Measured()
}

// recordedKind is the kind that an object which a request made is remembered by.
func (s *Server) recordedKind(req *proxy.Request, kind operations.Kind) operations.Kind {
	uploaded := req.Operation.Name == "files" && req.Method == http.MethodPost && req.Subpath == "" && req.Form != nil
	switch {
	case kind != operations.KindFile, !uploaded:
	case isBatch(purposeOf(req)) && s.fenced(req.Consumer):
		return operations.KindBatchFile
	case isRead(purposeOf(req)) && s.StrictIDs:
		return operations.KindDataFile
	}
	return kind
}

// purposeOf is the purpose of an upload, whether it came ahead of the file or behind it.
func purposeOf(req *proxy.Request) string {
	if late := req.LatePurpose.Load(); late != nil {
		return *late
	}
	return req.Form.Purpose
}

// checkReadFile refuses a batch, an evaluation or a training over a file whose lines were
// not checked for that.
func checkReadFile(req *proxy.Request, ref reference, l *affinity.Location) *Error {
	needed, purpose := operations.KindBatchFile, "batch"
	switch req.Operation.Name {
	case "batches":
	case "evals":
		needed, purpose = operations.KindDataFile, "evals"
	case "fine-tuning":
		needed, purpose = operations.KindDataFile, "fine-tune"
	default:
		return nil
	}
	// A message of an evaluation may have a file of any purpose, by file_id; its data are a source's id.
	read := ref.kind == operations.KindFile && (req.Operation.Name != "evals" || ref.param == "source")
	if !read || ref.described || l.Kind == string(needed) || req.Consumer.Reaches(consumer.DataSources) {
		return nil
	}
	return &Error{
		Status: http.StatusForbidden, Type: invalidRequest, Code: "file_not_checked", Param: ref.param, Final: true,
		Message: "The lines of " + printable(ref.id) + " were not checked, since it was not uploaded here with the purpose " + purpose + ". Upload it with /files and that purpose.",
	}
}

// checkOwnBatch is checkReadFile where ids have no owners: of a file that is known.
func (s *Server) checkOwnBatch(ctx context.Context, req *proxy.Request) *Error {
	if req.Operation.Name != "batches" || !s.fenced(req.Consumer) {
		return nil
	}
	for _, r := range req.Parsed.References {
		ref := reference{id: r.ID, kind: r.Kind, param: r.Param, described: r.Described}
		location, err := s.lookup(ctx, req, ref)
		if err != nil {
			continue
		}
		if apiErr := checkReadFile(req, ref, &location); apiErr != nil {
			return apiErr
		}
	}
	return nil
}
