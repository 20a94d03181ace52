package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// checkLines checks the lines of an uploaded file of requests: each is one that
// its consumer could send itself; and the rows of one for evaluations or fine-tuning:
// what they name is the consumer's. Files of other purposes are texts. Of a file that is too
// long to be held, the rest is checked while it is sent: the backend never gets the
// end of one that is refused.
func (s *Server) checkLines(ctx context.Context, req *proxy.Request) *Error {
	if !s.fenced(req.Consumer) {
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
			Message: "Files of requests, and of rows for evaluations and fine-tuning, are checked line by line, which is not possible when they are uploaded in parts. Upload it as one file with /files.",
		}
	case req.Form == nil:
		return nil
	}
	files := s.newFileChecker(ctx, req)
	for _, file := range req.Form.Files {
		if apiErr := files.add(req.Body[file.From:file.To], true); apiErr != nil {
			return apiErr
		}
	}
	return s.checkRest(req, files)
}

// checkRest checks what is held of a file that continues, and has the rest checked
// while it is sent: files may follow, and of an upload fields that say nothing of where
// it goes.
func (s *Server) checkRest(req *proxy.Request, files *fileChecker) *Error {
	switch {
	case req.StreamedBody == nil:
		return nil
	case req.Form.OpenFile == 0:
		return invalidForm(errors.New("a form of more than 25 MiB must have its fields first and its files last"))
	}
	tail := request.NewFormTail(req.Form.Boundary, func(p []byte, ended bool) error { return asError(files.add(p, ended)) })
	if req.Operation.Name == "files" {
		form := *req.Form // what follows is read while the request is served
		tail.Field = func(name string, value []byte) error { return asError(files.field(&form, name, value)) }
	}
	add := func(p []byte) *Error {
		if err := tail.Add(p); err != nil {
			return refusedForm(err)
		}
		if tail.Ended() {
			return files.ended()
		}
		return nil
	}
	req.StreamedBody.Check(func(p []byte) error { return asError(add(p)) })
	return add(req.Body[req.Form.OpenFile:])
}

// asError is an error that holds why a body is refused.
func asError(apiErr *Error) error {
	if apiErr == nil {
		return nil
	}
	return &refusedBodyError{apiErr}
}

// refusedForm is the error for a form that is refused while it is read.
func refusedForm(err error) *Error {
	if refused := new(refusedBodyError); errors.As(err, &refused) {
		return refused.apiErr
	}
	return invalidForm(err)
}

// refusedBodyError is why a body was refused while it was sent.
type refusedBodyError struct{ apiErr *Error }

func (r *refusedBodyError) Error() string { return r.apiErr.Message }

// uploadsRequests reports whether an upload in parts is of a file whose lines are
// checked, or may be.
func uploadsRequests(req *proxy.Request) bool {
	if req.Form != nil {
		return isBatch(req.Form.Purpose) || isRead(req.Form.Purpose)
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
		text, isText := value.(string)
		if strings.EqualFold(fmt.Sprint(name), "purpose") && (value != nil && !isText || isBatch(text) || isRead(text)) {
			return true
		}
	}
	return false
}

func isBatch(purpose string) bool { return strings.EqualFold(strings.TrimSpace(purpose), "batch") }

// maxLine is the longest line of a file that is checked.
const maxLine = 16 << 20

// lineChecker checks the lines of files as they come.
type lineChecker struct {
	server  *Server
	ctx     context.Context //nolint:containedctx // of the upload, which it is part of
	req     *proxy.Request
	purpose string
	parser  request.Parser
	number  int
	partial []byte          // a line that is not ended yet
	named   []lineReference // by lines, not looked up yet
	waiting map[request.Reference]bool
}

// add checks the lines that end in the next bytes of a file, and the last one where it
// ends.
func (c *lineChecker) add(p []byte, ended bool) *Error {
	for line := range bytes.Lines(p) {
		if apiErr := c.hold(line); apiErr != nil {
			return apiErr
		}
		if line[len(line)-1] == '\n' {
			if apiErr := c.line(c.partial); apiErr != nil {
				return apiErr
			}
			c.partial = c.partial[:0]
		}
	}
	if ended {
		apiErr := c.line(c.partial)
		c.drop()
		c.number = 0 // another file may follow
		if apiErr != nil {
			return apiErr
		}
	}
	return c.lookup()
}

// hold keeps a piece of a line.
func (c *lineChecker) hold(piece []byte) *Error {
	start := bytes.TrimLeft(piece, " \t\r\n\xef\xbb\xbf")
	if len(bytes.TrimSpace(c.partial)) == 0 && len(start) > 0 && start[0] != '{' {
		c.number++
		return inLine(c.number, invalidJSON(errors.New("it must begin with an opening brace")))
	}
	if len(c.partial)+len(piece) > maxLine {
		c.number++
		return inLine(c.number, invalidForm(errors.New("it is longer than 16 MiB")))
	}
	return c.keep(piece)
}

// drop gives back the memory of the line.
func (c *lineChecker) drop() {
	c.req.Memory.Shrink(int64(cap(c.partial)))
	c.partial = nil
}

// keep adds to the line that is not ended yet.
func (c *lineChecker) keep(piece []byte) *Error {
	if need := len(c.partial) + len(piece); need > cap(c.partial) {
		size := max(need, 2*cap(c.partial))
		if c.req.Memory.Grow(int64(size-cap(c.partial))) != nil {
			return c.server.overloaded()
		}
		c.partial = append(make([]byte, 0, size), c.partial...)
	}
	c.partial = append(c.partial, piece...)
	return nil
}

// line checks one line.
func (c *lineChecker) line(line []byte) *Error {
	if c.number++; c.number == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	line = bytes.Trim(line, " \t\r\n")
	switch {
	case len(line) == 0:
		return nil
	case bytes.IndexByte(line, '\r') >= 0:
		return inLine(c.number, invalidJSON(errors.New("a carriage return in it may end it elsewhere; end lines in a line feed")))
	case isBatch(c.purpose):
		refs, apiErr := c.object(line)
		if apiErr != nil {
			return inLine(c.number, apiErr)
		}
		return c.names(refs)
	}
	refs, err := c.parser.ParseRow(line)
	if err != nil { // what cannot be read here may be read elsewhere
		return inLine(c.number, invalidJSON(err))
	}
	return c.names(refs)
}

// isRead reports whether the service reads the lines of a file with this purpose as
// data of requests. Other files are texts to it.
func isRead(purpose string) bool {
	purpose = strings.TrimSpace(purpose)
	return strings.EqualFold(purpose, "evals") || strings.EqualFold(purpose, "fine-tune")
}

// cacheKeyInFile is the error for a line with a key of the prompt cache, which is made
// a consumer's own only where it can be replaced.
func cacheKeyInFile() *Error {
	return &Error{
		Status: http.StatusForbidden, Type: invalidRequest, Code: "upload_not_allowed", Param: "prompt_cache_key", Final: true,
		Message: "prompt_cache_key is replaced on its way by one of your own, which is not possible in a file. Leave it out.",
	}
}

// nestedCacheKey is the error for a key of the prompt cache that is not replaced.
func nestedCacheKey() *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "invalid_json", Param: "prompt_cache_key", Final: true,
		Message: "prompt_cache_key is made your own at the top of the body only. Send it there.",
	}
}

// inLine adds a line's number to an error.
func inLine(number int, apiErr *Error) *Error {
	if apiErr != nil {
		apiErr.Message = fmt.Sprintf("Line %d of the file: %s", number, apiErr.Message)
	}
	return apiErr
}

// object checks a line of a file of requests, each of which must be an object, and
// returns what it names.
func (c *lineChecker) object(line []byte) ([]request.Reference, *Error) {
	c.parser.Strict, c.parser.Line = true, true
	parsed, err := c.parser.Parse(line)
	if err != nil {
		return nil, invalidJSON(err)
	}
	if apiErr := c.request(line, &parsed); apiErr != nil {
		return nil, apiErr
	}
	return append(parsed.References, c.server.tunedModels(parsed.Models...)...), nil
}

// lineRequest is the request of a line. Another spelling of its members is refused
// before.
type lineRequest struct {
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Body   json.RawMessage `json:"body"`
}

// request checks the request of a line: its operation, its models, what it reaches,
// and how large it is.
func (c *lineChecker) request(line []byte, parsed *request.ParsedRequest) *Error {
	who := c.req.Consumer
	if who.Restricted() {
		for _, name := range parsed.Models {
			if !c.server.mayName(c.req, name) {
				return modelNotAllowed(name, c.server.Models.Names(who))
			}
		}
	}
	var of lineRequest
	if json.Unmarshal(line, &of) != nil {
		return invalidJSON(errors.New("its method and url must be strings"))
	}
	path, ok := batchPath(of.URL)
	switch {
	case of.URL == "" && len(of.Body) == 0 && of.Method == "":
		return nil // it asks for nothing
	case !ok, of.Method != "" && of.Method != http.MethodPost:
		return lineNotServed(&of)
	case len(of.Body) == 0:
		return nil
	}
	if c.req.Memory.Grow(int64(len(line))) != nil { // for the copy of its request
		return c.server.overloaded()
	}
	defer c.req.Memory.Shrink(int64(len(line)))
	c.parser.Line = false
	inner, err := c.parser.Parse(of.Body)
	if err != nil {
		return invalidJSON(err)
	}
	if c.server.StrictIDs && (inner.PromptCacheKey != "" || inner.NestedCacheKey) {
		return cacheKeyInFile()
	}
	if apiErr := c.reach(&of, parsed, &inner); apiErr != nil || !who.Measured() {
		return apiErr
	}
	return c.measure(path, &inner)
}

// reach checks what the request of a line reaches without an id.
func (c *lineChecker) reach(of *lineRequest, line, inner *request.ParsedRequest) *Error {
	switch at := inner.DataSources; {
	case !c.server.StrictIDs || c.req.Consumer.Reaches(consumer.DataSources):
	case line.Reaches+inner.Reaches != "":
		return reachRefused(consumer.DataSources, printable(cmp.Or(line.Reaches, inner.Reaches))+", which the backend uses with its own identity")
	case line.NestedSources && at == request.Span{} || line.DataSources != request.Span{} || inner.NestedSources || at.To > at.From && readWithBackendIdentity(of.Body[at.From:at.To]):
		return reachRefused(consumer.DataSources, "data_sources that the backend reads with its own identity")
	}
	return nil
}

// batchPaths are the operations of batches.
var batchPaths = []string{
	"chat/completions", "completions", "embeddings", "images/edits", "images/generations", "moderations", "responses", "videos",
}

// batchPath is the operation of a batch or of one of its lines, which services write
// with or without what is ahead of it.
func batchPath(url string) (string, bool) {
	path, ok := strings.CutPrefix(url, "/")
	path = strings.TrimPrefix(strings.TrimPrefix(path, "openai/"), "v1/")
	return path, ok && slices.Contains(batchPaths, path)
}

func lineNotServed(of *lineRequest) *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "operation_not_supported", Param: "url", Final: true,
		Message: fmt.Sprintf("%s %s is no operation of batches. Send POST, and a url such as /v1/chat/completions or /v1/responses.", printable(of.Method), printable(of.URL)),
	}
}

// measure checks the request of a line against the largest that its consumer may
// send. Nothing is written into a file: a request must have a bound itself.
func (c *lineChecker) measure(path string, parsed *request.ParsedRequest) *Error {
	bound := int64(1)
	switch path {
	case "responses", "completions":
		bound = outputBound(path, parsed)
	case "chat/completions":
		bound = outputBound("chat", parsed)
	default:
		if parsed.AsksForText { // it is of another operation
			bound = 0
		}
	}
	parsed.CountAll()
	parsed.MaxOutputTokens = max(parsed.MaxOutputTokens, parsed.OtherBound)
	most := c.req.Consumer.MaxRequestTokens
	if bound > 0 && request.Estimate(parsed) <= most {
		return nil
	}
	apiErr := quotaExceeded(&quota.ExceededError{Limit: maxRequestTokens, Amount: float64(most)})
	apiErr.Status = http.StatusBadRequest
	apiErr.Message = fmt.Sprintf("its request may need more than maxRequestTokens (%d) allows, or has no bound on the answer. Send a shorter prompt, and max_completion_tokens, or max_output_tokens for responses.", most)
	return apiErr
}
