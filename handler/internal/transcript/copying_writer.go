package transcript

import (
	"net/http"
	"strconv"
	"strings"

	"spillway/handler/internal/api"
)

// copyingWriter writes a response, and copies it to a blobWriter.
type copyingWriter struct {
	http.ResponseWriter
	out     *blobWriter
	stream  bool // a stream of which the texts are stored
	started bool
}

// Unwrap is for http.ResponseController.
func (t *copyingWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// Write writes to the client first: it does not wait for the copy.
func (t *copyingWriter) Write(p []byte) (int, error) {
	n, err := t.ResponseWriter.Write(p)
	if !t.started {
		t.started = true
		t.out.contentType = t.Header().Get("Content-Type")
		t.out.joinEvents = t.stream && strings.HasPrefix(t.out.contentType, "text/event-stream")
	}
	t.out.write(p[:n])
	return n, err
}

// metadataOf is the metadata of both blobs of a request.
func metadataOf(x *api.RequestRecord) map[string]string {
	meta := map[string]string{
		"Request": x.ID, "Consumer": ascii(x.Consumer.Name), "Operation": x.Operation, "Model": ascii(x.Model), "Code": x.Code,
	}
	if x.Status > 0 {
		meta["Status"] = strconv.Itoa(x.Status)
	}
	if r := x.Result; r != nil {
		if r.ServedBy != nil {
			meta["Backend"] = ascii(r.ServedBy.Name)
		}
		if r.Delivery.Broken {
			meta["Broken"] = "true"
		}
	}
	return meta
}

// ascii replaces characters that a header cannot hold.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
}
