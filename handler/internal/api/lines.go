package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// checkLines checks the lines of an uploaded file of requests: each is one that
// its consumer could send itself. What a file of another purpose names is refused
// only when it is another consumer's, since it may be data. Of a file that is too
// long to be held, the rest is checked while it is sent: the backend never gets the
// end of one that is refused.
func (s *Server) checkLines(ctx context.Context, req *proxy.Request) *Error {
	if !s.StrictIDs && !req.Consumer.Restricted() && !req.Consumer.Measured() {
		return nil
	}
	switch {
	case req.Operation.Name == "files" && strings.EqualFold(req.Subpath, "import"):
		return &Error{
			Status: http.StatusForbidden, Type: invalidRequest, Code: "upload_not_allowed", Param: "content_url", Final: true,
			Message: "A file that the service fetches from a URL is not checked. Upload it with /files.",
		}
	case req.Operation.Name == "uploads" && req.Subpath == "" && uploadsRequests(req):
		return &Error{
			Status: http.StatusForbidden, Type: invalidRequest, Code: "upload_not_allowed", Param: "purpose", Final: true,
			Message: "A file of requests (purpose batch) is checked line by line, which is not possible when it is uploaded in parts. Upload it as one file with /files.",
		}
	case req.Form == nil || req.Operation.Name != "files":
		return nil
	case req.Form.Encoded:
		return invalidForm(errors.New("a part has a Content-Transfer-Encoding; send it as it is"))
	}
	for _, file := range req.Form.Files {
		lines := &lineChecker{server: s, ctx: ctx, req: req}
		if apiErr := lines.whole(req.Body[file.From:file.To]); apiErr != nil {
			return apiErr
		}
	}
	return s.checkOpenFile(ctx, req)
}

// checkOpenFile checks what is held of a file that continues, and has the rest
// checked while it is sent.
func (s *Server) checkOpenFile(ctx context.Context, req *proxy.Request) *Error {
	switch {
	case req.StreamedBody == nil:
		return nil
	case req.Form.OpenFile == 0:
		return invalidForm(errors.New("what follows a file that is larger than 25 MiB is not read; send the file last"))
	case req.Form.Purpose == "":
		return invalidForm(errors.New("a file that is larger than 25 MiB comes ahead of its purpose; send the field purpose first"))
	}
	lines := &lineChecker{server: s, ctx: ctx, req: req, boundary: []byte("--" + req.Form.Boundary)}
	if apiErr := lines.add(req.Body[req.Form.OpenFile:]); apiErr != nil {
		return apiErr
	}
	req.StreamedBody.Check(func(p []byte) error {
		if apiErr := lines.add(p); apiErr != nil {
			return &refusedBodyError{apiErr}
		}
		return nil
	})
	return nil
}

// refusedBodyError is why a body was refused while it was sent.
type refusedBodyError struct{ apiErr *Error }

func (r *refusedBodyError) Error() string { return r.apiErr.Message }

// uploadsRequests reports whether an upload in parts is of a file of requests.
func uploadsRequests(req *proxy.Request) bool {
	if req.Form != nil {
		return isBatch(req.Form.Purpose)
	}
	d := json.NewDecoder(bytes.NewReader(req.Body))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return false
	}
	for d.More() {
		name, err := d.Token()
		var value any
		if err != nil || d.Decode(&value) != nil {
			return false
		}
		if text, ok := value.(string); ok && strings.EqualFold(fmt.Sprint(name), "purpose") && isBatch(text) {
			return true
		}
	}
	return false
}

func isBatch(purpose string) bool { return strings.EqualFold(strings.TrimSpace(purpose), "batch") }

// maxLine is the longest line of a file that is checked while it is sent.
const maxLine = 16 << 20

// lineChecker checks the lines of a file as they come.
type lineChecker struct {
	server   *Server
	ctx      context.Context //nolint:containedctx // of the upload, which it is part of
	req      *proxy.Request
	boundary []byte // of the form, which ends the file
	parser   request.Parser
	inner    request.Parser
	number   int
	partial  []byte // a line that is not ended yet
	crlf     bool   // the line before ended in CR LF, as one does ahead of a boundary
	ended    bool
}

// whole checks a file.
func (c *lineChecker) whole(file []byte) *Error {
	for line := range bytes.Lines(file) {
		if apiErr := c.line(line); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

// add checks the lines that end in the next bytes of a form. Nothing but its end may
// follow the file.
func (c *lineChecker) add(p []byte) *Error {
	for line := range bytes.Lines(p) {
		if c.ended {
			return nil
		}
		if len(c.partial)+len(line) > maxLine {
			c.number++
			return c.named(invalidForm(errors.New("it is longer than 16 MiB")))
		}
		c.partial = append(c.partial, line...)
		if line[len(line)-1] != '\n' {
			return nil
		}
		if apiErr := c.wholeLine(c.partial); apiErr != nil {
			return apiErr
		}
		c.partial = c.partial[:0]
	}
	return nil
}

// wholeLine checks a line of a form, which may be a boundary.
func (c *lineChecker) wholeLine(line []byte) *Error {
	if rest, ok := bytes.CutPrefix(line, c.boundary); ok && c.crlf {
		switch rest = bytes.TrimSpace(rest); {
		case bytes.HasPrefix(rest, []byte("--")):
			c.ended = true
			return nil
		case len(rest) == 0:
			return invalidForm(errors.New("something follows a file that is larger than 25 MiB; send the file last"))
		}
	}
	c.crlf = bytes.HasSuffix(line, []byte("\r\n"))
	return c.line(line)
}

// line checks one line.
func (c *lineChecker) line(line []byte) *Error {
	if c.number++; c.number == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	line = bytes.TrimSpace(line)
	requests := isBatch(c.req.Form.Purpose)
	if len(line) == 0 || line[0] != '{' && !requests {
		return nil
	}
	return c.named(c.object(line, requests))
}

// named adds the line's number to an error.
func (c *lineChecker) named(apiErr *Error) *Error {
	if apiErr != nil {
		apiErr.Message = fmt.Sprintf("Line %d of the file: %s", c.number, apiErr.Message)
	}
	return apiErr
}

// object checks a line that is an object, as each of a file of requests must be.
func (c *lineChecker) object(line []byte, requests bool) *Error {
	s, req := c.server, c.req
	parsed, err := c.parser.Parse(line)
	switch {
	case err != nil && requests:
		return invalidJSON(err)
	case err != nil:
		return nil
	case requests:
		if apiErr := c.fences(line, parsed.Models); apiErr != nil {
			return apiErr
		}
	}
	if !s.StrictIDs {
		return nil
	}
	if requests && !req.Consumer.Reaches(consumer.DataSources) && lineReaches(line) {
		return reachRefused(consumer.DataSources, "data_sources that the backend reads with its own identity")
	}
	if len(parsed.References) == 0 {
		return nil
	}
	return s.checkLineObjects(c.ctx, req, parsed.References, requests)
}

// lineReaches reports whether the request of a line has data sources that the backend
// reads with its own identity. Lines without that name, and without an escape that
// could spell it, are not decoded.
func lineReaches(line []byte) bool {
	if !bytes.Contains(line, []byte("data_sources")) && !bytes.Contains(line, []byte(`\u00`)) {
		return false
	}
	var of struct {
		Body struct {
			DataSources json.RawMessage `json:"data_sources"`
		} `json:"body"`
	}
	if json.Unmarshal(line, &of) != nil {
		return true
	}
	sources := bytes.TrimSpace(of.Body.DataSources)
	return len(sources) > 0 && !bytes.Equal(sources, []byte("null")) && readWithBackendIdentity(sources)
}

// fences checks the models of a line, and how large its request is.
func (c *lineChecker) fences(line []byte, models []string) *Error {
	who := c.req.Consumer
	if who.Restricted() {
		for _, name := range models {
			if !c.server.mayName(who, name) {
				return modelNotAllowed(name, c.server.Models.Names(who))
			}
		}
	}
	if !who.Measured() {
		return nil
	}
	return c.measure(line)
}

// measure checks the request of a line against the largest that its consumer may
// send. Nothing is written into a file: a request must have a bound itself.
func (c *lineChecker) measure(line []byte) *Error {
	var of struct {
		URL  string
		Body json.RawMessage
	}
	if json.Unmarshal(line, &of) != nil || len(of.Body) == 0 {
		return nil // no backend takes it either
	}
	parsed, err := c.inner.Parse(of.Body)
	if err != nil {
		return invalidJSON(err)
	}
	bounds, bound := &parsed.OutputBounds, int64(1)
	switch url := strings.TrimRight(of.URL, "/"); {
	case strings.HasSuffix(url, "/responses"):
		bound = bounds[request.MaxOutputTokens].Tokens
	case strings.HasSuffix(url, "/chat/completions"):
		bound = max(bounds[request.MaxCompletionTokens].Tokens, bounds[request.MaxTokens].Tokens)
	case strings.HasSuffix(url, "/completions"):
		bound = bounds[request.MaxTokens].Tokens
	}
	most := c.req.Consumer.MaxRequestTokens
	if bound > 0 && request.Estimate(&parsed) <= most {
		return nil
	}
	apiErr := quotaExceeded(&quota.ExceededError{Limit: maxRequestTokens, Amount: float64(most)})
	apiErr.Status = http.StatusBadRequest
	apiErr.Message = fmt.Sprintf("its request may need more than maxRequestTokens (%d) allows, or has no bound on the answer. Send a shorter prompt, and max_completion_tokens, or max_output_tokens for responses.", most)
	return apiErr
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
