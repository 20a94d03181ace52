package api

import (
	"cmp"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/overload"
	"spillway/handler/internal/proxy"
)

// readRequest reads the body, up to its limit, and parses what Spillway acts
// on. With strict no body goes unread, whatever it is called: it names objects or
// models that are not everybody's. The caller must release the buffer, also after
// an error.
func (s *Server) readRequest(r *http.Request, t target, strict bool) (*proxy.Request, *buffer, *Error) {
	req := &proxy.Request{
		Operation: *t.operation, Family: t.family, Method: r.Method, Subpath: t.subpath,
		Query: r.URL.RawQuery, Header: r.Header, Model: t.deployment, Memory: &stateOf(r).memory,
	}
	if r.Method == http.MethodHead {
		req.Method = http.MethodGet // the server leaves the body out of the answer
	}
	maxBuffered := s.MaxBody
	if t.operation.Body != operations.JSON && (isForm(r.Header) || !strict) {
		maxBuffered = min(maxBuffered, cmp.Or(s.BufferedUpload, maxBufferedUpload))
	}
	buf, err := readBody(r, s.MaxBody, maxBuffered, req.Memory)
	if errors.Is(err, overload.ErrOverloaded) {
		return req, buf, s.overloaded()
	}
	if err != nil {
		return req, buf, bodyError(err, s.MaxBody)
	}
	req.Body, req.StreamedBody = buf.data, buf.tail(r, s.MaxBody)
	buf.parser.Strict = strict
	if strict {
		if apiErr := checkContentType(req); apiErr != nil {
			return req, buf, apiErr
		}
	}
	if apiErr := parseBody(req, &buf.parser, strict); apiErr != nil {
		return req, buf, apiErr
	}
	if req.Model == "" {
		req.Model = req.Parsed.Model
	}
	for _, betas := range r.Header.Values("Anthropic-Beta") {
		req.Parsed.KeepsMessage = req.Parsed.KeepsMessage || strings.Contains(betas, "cache-diagnosis")
	}
	return req, buf, nil
}

// parseBody parses the members of the body that Spillway acts on.
func parseBody(req *proxy.Request, parser *request.Parser, strict bool) *Error {
	switch {
	case strict && len(req.Body) > 0 && !isForm(req.Header) && req.Operation.Body != operations.Multipart:
		return parseJSON(req, parser)
	case req.Operation.Body != operations.JSON:
		return parseAnyBody(req, parser, strict)
	case req.Method == http.MethodPost && (len(req.Body) > 0 || !req.Operation.State.Stored()):
		return parseJSON(req, parser)
	}
	return nil
}

func parseJSON(req *proxy.Request, parser *request.Parser) *Error {
	facts, err := parser.Parse(req.Body)
	if err != nil {
		return invalidJSON(err)
	}
	req.Parsed, req.Tokens = facts, request.Estimate(&facts)
	return nil
}

// maxBufferedUpload is how much of a body other than JSON is usually buffered, so that
// it can be sent to a second backend. A longer one is streamed, and can be sent
// once. It is OpenAI's limit for audio files.
const maxBufferedUpload = 25 << 20

// tail returns the part of the body that is not buffered; nil when there is
// none.
func (b *buffer) tail(r *http.Request, limit int64) *proxy.StreamedBody {
	if !b.truncated {
		return nil
	}
	length := int64(-1)
	if r.ContentLength > 0 {
		length = r.ContentLength - int64(len(b.data))
	}
	return proxy.NewStreamedBody(&limitedReader{src: r.Body, left: limit - int64(len(b.data))}, length)
}

// limitedReader fails with errTooLarge after left bytes.
type limitedReader struct {
	src  io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.src.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// parseAnyBody parses a body that may be a form, JSON, or anything else.
func parseAnyBody(req *proxy.Request, parser *request.Parser, strict bool) *Error {
	media, params, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	mustBeForm := req.Operation.Body == operations.Multipart
	switch {
	case len(req.Body) == 0 && !mustBeForm:
		return nil
	case media == "multipart/form-data" && params["boundary"] != "":
		return parseForm(req, params["boundary"], strict)
	case media == "application/json" && req.StreamedBody == nil:
		return parseJSON(req, parser)
	case mustBeForm:
		return formRequired(req.Header.Get("Content-Type"))
	}
	return nil
}

// isForm reports whether a body calls itself a form that can be read.
func isForm(h http.Header) bool {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && media == "multipart/form-data" && params["boundary"] != ""
}

// parseForm parses the fields of a form. An opaque body that is no valid form
// is forwarded as it is.
func parseForm(req *proxy.Request, boundary string, strict bool) *Error {
	form, err := request.ParseForm(req.Body, boundary, req.StreamedBody == nil, strict)
	if err != nil {
		if req.Operation.Body == operations.Opaque && !strict {
			return nil
		}
		return invalidForm(err)
	}
	req.Form = &form
	req.Parsed = request.ParsedRequest{
		Model: form.Model, Stream: form.Stream, Choices: form.Choices, Returned: form.Choices, PromptBytes: form.PromptBytes, OtherBytes: form.OtherBytes, User: form.User,
		References: form.References, Models: form.Models, Reaches: form.Reaches,
	}
	req.Tokens = request.Estimate(&req.Parsed)
	return nil
}

func formRequired(contentType string) *Error {
	f := &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "invalid_form", Final: true,
		Message: "This operation takes a form: send it as multipart/form-data with a boundary.",
	}
	if contentType != "" {
		f.Message = "This operation takes a form: send it as multipart/form-data with a boundary, not as " + printable(contentType) + "."
	}
	return f
}

func invalidForm(err error) *Error {
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "invalid_form", Final: true,
		Message: "The request body could not be read: " + err.Error() + ".",
	}
}
