package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// checkLines checks the lines of an uploaded file of requests: each is one that
// its consumer could send itself. What a file of another purpose names is refused
// only when it is another consumer's, since it may be data. The rest of a file
// that is too long to be held is not read.
func (s *Server) checkLines(ctx context.Context, req *proxy.Request) *Error {
	if req.Form == nil || req.Operation.Name != "files" || !s.StrictIDs && !req.Consumer.Restricted() {
		return nil
	}
	for _, file := range req.Form.Files {
		number, parser := 0, new(request.Parser)
		for line := range bytes.Lines(req.Body[file.From:file.To]) {
			number++
			line = bytes.TrimSpace(line)
			if len(line) == 0 || line[0] != '{' {
				continue
			}
			if apiErr := s.checkLine(ctx, req, parser, line); apiErr != nil {
				apiErr.Message = fmt.Sprintf("Line %d of the file: %s", number, apiErr.Message)
				return apiErr
			}
		}
	}
	return nil
}

// checkLine checks one line.
func (s *Server) checkLine(ctx context.Context, req *proxy.Request, parser *request.Parser, line []byte) *Error {
	requests := strings.EqualFold(req.Form.Purpose, "batch")
	parsed, err := parser.Parse(line)
	if err != nil {
		if requests {
			return invalidJSON(err)
		}
		return nil
	}
	if requests && req.Consumer.Restricted() {
		for _, name := range parsed.Models {
			if !s.mayName(req.Consumer, name) {
				return modelNotAllowed(name, s.Models.Names(req.Consumer))
			}
		}
	}
	if !s.StrictIDs || len(parsed.References) == 0 {
		return nil
	}
	return s.checkLineObjects(ctx, req, parsed.References, requests)
}

// checkLineObjects checks the objects that a line names.
func (s *Server) checkLineObjects(ctx context.Context, req *proxy.Request, named []request.Reference, requests bool) *Error {
	refs := make([]reference, len(named))
	for i, r := range named {
		refs[i] = reference{id: r.ID, kind: r.Kind, param: r.Param, described: r.Described || !requests}
	}
	if apiErr := tooManyObjects(refs); apiErr != nil {
		return apiErr
	}
	_, errs := s.lookupAll(ctx, req, refs)
	for i := range refs {
		switch {
		case errors.Is(errs[i], affinity.ErrUnavailable):
			return locationUnknown(refs[i], errs[i])
		case errors.Is(errs[i], affinity.ErrOtherOwner), errs[i] != nil && !refs[i].described:
			return referenceNotFound(refs[i])
		}
	}
	return nil
}
