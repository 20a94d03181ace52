package api

import (
	"io"
	"mime"
	"net/http"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// heldUpload is how much of a body that is no plain JSON call is held in
// memory, so that it can be sent again to another backend. What is longer is
// sent while it comes, and can be sent once. It is what OpenAI's own limit for
// sound is; pictures are mostly smaller.
const heldUpload = 25 << 20

// rest is what of the body is not held; nil mostly.
func (b *buffer) rest(r *http.Request, limit int64) *proxy.StreamedBody {
	if !b.more {
		return nil
	}
	length := int64(-1)
	if r.ContentLength > 0 {
		length = r.ContentLength - int64(b.Len())
	}
	return proxy.NewStreamedBody(&limited{from: r.Body, left: limit - int64(b.Len())}, length)
}

// limited is a reader that fails when there is more than was agreed.
type limited struct {
	from io.Reader
	left int64
}

// Read reads on.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.from.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// understandAny reads a body that may be a form, JSON, or anything.
func understandAny(req *proxy.Request) *Refusal {
	media, params, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	mustBeForm := req.Operation.Body == operations.Multipart
	switch {
	case len(req.Body) == 0 && !mustBeForm:
		return nil
	case media == "multipart/form-data" && params["boundary"] != "":
		return understandForm(req, params["boundary"])
	case media == "application/json" && req.StreamedBody == nil:
		return understandJSON(req)
	case mustBeForm:
		return notAForm(req.Header.Get("Content-Type"))
	}
	return nil
}

// understandForm reads the fields of a form. One that is passed on unread may
// be broken: its backend will say so.
func understandForm(req *proxy.Request, boundary string) *Refusal {
	form, err := request.ParseForm(req.Body, boundary, req.StreamedBody == nil)
	if err != nil {
		if req.Operation.Body == operations.Opaque {
			return nil
		}
		return invalidForm(err)
	}
	req.Form = &form
	req.Parsed = request.ParsedRequest{Model: form.Model, Stream: form.Stream, Choices: form.Choices, PromptBytes: form.PromptBytes}
	req.Tokens = request.Estimate(&req.Parsed)
	return nil
}

func notAForm(contentType string) *Refusal {
	return &Refusal{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "invalid_form", Final: true,
		Message: "This operation takes a form: send it as multipart/form-data with a boundary, not as " + printable(contentType) + ".",
	}
}

func invalidForm(err error) *Refusal {
	return &Refusal{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "invalid_form", Final: true,
		Message: "The request body could not be read: " + err.Error() + ".",
	}
}
