package transcript

import (
	"net/http"
	"strconv"
	"strings"

	"spillway/handler/internal/api"
)

// tee passes an answer on, and lets a tape hear it.
type tee struct {
	http.ResponseWriter
	tape   *tape
	stream bool // of which the texts are to be kept
	heard  bool
}

// Unwrap lets an http.ResponseController through to what is under it.
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// Write passes on first: the caller does not wait for the copy.
func (t *tee) Write(p []byte) (int, error) {
	n, err := t.ResponseWriter.Write(p)
	if !t.heard {
		t.heard = true
		t.tape.mime = t.Header().Get("Content-Type")
		t.tape.joined = t.stream && strings.HasPrefix(t.tape.mime, "text/event-stream")
	}
	t.tape.write(p[:n])
	return n, err //nolint:wrapcheck // a writer's own error
}

// about is what is kept beside the bytes, for whoever looks for them.
func about(x *api.Exchange) map[string]string {
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
