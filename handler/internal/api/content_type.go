package api

import (
	"maps"
	"mime"
	"net/http"
	"regexp"
	"strings"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// usualForm is the Content-Type of a form as clients write it: with one boundary.
var usualForm = regexp.MustCompile(`(?i)^multipart/form-data(; ?charset="?(utf-8|us-ascii)"?)?; ?boundary=("[0-9a-z'()+_,./:=? -]{0,69}[0-9a-z'()+_,./:=?-]"|[0-9a-z'+_.-]{1,70})(; ?charset="?(utf-8|us-ascii)"?)?$`)

// checkContentType has the backend read the body as it is read here: as a form with
// one boundary, or as JSON in UTF-8 whatever the caller called it.
func checkContentType(req *proxy.Request) *Error {
	contentType := req.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case len(req.Body) == 0:
		return nil
	case strings.Contains(strings.ToLower(contentType), "multipart/form-data") && req.Operation.Body != operations.JSON:
		if !usualForm.MatchString(contentType) {
			return &Error{
				Status: http.StatusBadRequest, Type: invalidRequest, Code: "invalid_form", Final: true,
				Message: "The Content-Type of this form is not served: " + printable(contentType) + ". Send multipart/form-data with one boundary, and nothing else.",
			}
		}
		return nil
	case !request.IsUTF8(contentType):
		return &Error{
			Status: http.StatusUnsupportedMediaType, Type: invalidRequest, Code: "unsupported_charset", Final: true,
			Message: "This body is not served in the charset of its Content-Type, " + printable(contentType) + ". Send UTF-8.",
		}
	case contentType != "" && (err != nil || media != "application/json"):
		req.Header = maps.Clone(req.Header)
		req.Header.Set("Content-Type", "application/json")
	}
	return nil
}
