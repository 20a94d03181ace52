package transcript

import (
	"net/http"
	"strconv"
	"strings"

	"spillway/handler/internal/api"
)

// copyingWriter passes an answer on, and lets a tape hear it.
type copyingWriter struct {
	http.ResponseWriter
	out     *blobWriter
	stream  bool // of which the texts are to be kept
	started bool
}

// Unwrap lets an http.ResponseController through to what is under it.
func (t *copyingWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// Write passes on first: the caller does not wait for the copy.
func (t *copyingWriter) Write(p []byte) (int, error) {
	n, err := t.ResponseWriter.Write(p)
	if !t.started {
		t.started = true
		t.out.contentType = t.Header().Get("Content-Type")
		t.out.joinEvents = t.stream && strings.HasPrefix(t.out.contentType, "text/event-stream")
	}
	t.out.write(p[:n])
	return n, err //nolint:wrapcheck // a writer's own error
}

// metadataOf is what is kept beside the bytes, for whoever looks for them.
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

// ascii makes a text fit for a header.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
}
