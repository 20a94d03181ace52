package api

import (
	"context"
	"net/http"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// Only a file whose lines were checked may be the input of a batch. Which one was is
// remembered with its owner: what the service reads as the purpose of an upload does
// not matter then.

// fenced reports whether a consumer may not do all that the backends' credentials may.
func (s *Server) fenced(c *consumer.Consumer) bool {
	return s.StrictIDs || c.Restricted() || c.Measured()
}

// recordedKind is the kind that an object which a request made is remembered by.
func (s *Server) recordedKind(req *proxy.Request, kind operations.Kind) operations.Kind {
	uploaded := req.Operation.Name == "files" && req.Method == http.MethodPost && req.Subpath == "" && req.Form != nil
	if kind == operations.KindFile && uploaded && isBatch(purposeOf(req)) && s.fenced(req.Consumer) {
		return operations.KindBatchFile
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

// checkBatchFile refuses a batch over a file whose lines were not checked.
func checkBatchFile(req *proxy.Request, ref reference, l *affinity.Location) *Error {
	switch {
	case req.Operation.Name != "batches", ref.kind != operations.KindFile, ref.described, l.Kind == string(operations.KindBatchFile), req.Consumer.Reaches(consumer.DataSources):
		return nil
	}
	return &Error{
		Status: http.StatusForbidden, Type: invalidRequest, Code: "file_not_checked", Param: ref.param, Final: true,
		Message: "The lines of " + printable(ref.id) + " were not checked, since it was not uploaded here with the purpose batch. Upload it with /files and that purpose.",
	}
}

// checkOwnBatch is checkBatchFile where ids have no owners: of a file that is known.
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
		if apiErr := checkBatchFile(req, ref, &location); apiErr != nil {
			return apiErr
		}
	}
	return nil
}
