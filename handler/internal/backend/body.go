package backend

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"spillway/handler/internal/proxy"
)

// requestBody is the body of one attempt, in its parts. All but held are mostly
// absent.
type requestBody struct {
	prefix []byte
	model  string // of the model, between two parts of a form
	suffix []byte
	tail   *proxy.StreamedBody // what is not held, and can be sent once
}

func (c *requestBody) length() int64 {
	if c.tail != nil && c.tail.Length < 0 {
		return -1
	}
	n := int64(len(c.prefix) + len(c.model) + len(c.suffix))
	if c.tail != nil {
		n += c.tail.Length
	}
	return n
}

// parts are the bytes that are held in one piece, and what comes behind them;
// nil mostly.
func (c *requestBody) parts() ([]byte, io.ReadCloser) {
	if c.model == "" && c.tail == nil {
		return c.prefix, nil
	}
	behind := io.MultiReader(strings.NewReader(c.model), bytes.NewReader(c.suffix))
	if c.tail == nil {
		return c.prefix, io.NopCloser(behind)
	}
	tail := c.tail.Open()
	return c.prefix, struct {
		io.Reader
		io.Closer
	}{io.MultiReader(behind, tail), tail} // one that is spent says so when it is read
}

// attach gives the request its body.
func (c *requestBody) attach(req *http.Request) {
	req.ContentLength = c.length()
	held, behind := c.parts()
	switch {
	case req.ContentLength == 0:
		req.Body = http.NoBody
	case behind == nil:
		// A type that the transport knows to be in memory leaves in one write
		// with the headers (facts/performance.md §7).
		req.Body = io.NopCloser(bytes.NewReader(held))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(held)), nil }
	default:
		req.Body = concat(held, behind)
		req.GetBody = func() (io.ReadCloser, error) {
			if c.tail.Started() {
				return nil, proxy.ErrBodySent
			}
			return concat(c.parts()), nil
		}
	}
}

// concat is a body in one piece.
func concat(held []byte, behind io.ReadCloser) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(held), behind), behind}
}
