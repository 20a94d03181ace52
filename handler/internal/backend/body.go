package backend

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"spillway/handler/internal/proxy"
)

// content is the body of one attempt, in its parts. All but held are mostly
// absent.
type content struct {
	held   []byte
	name   string // of the model, between two parts of a form
	behind []byte
	tail   *proxy.StreamedBody // what is not held, and can be sent once
}

func (c *content) length() int64 {
	if c.tail != nil && c.tail.Length < 0 {
		return -1
	}
	n := int64(len(c.held) + len(c.name) + len(c.behind))
	if c.tail != nil {
		n += c.tail.Length
	}
	return n
}

// parts are the bytes that are held in one piece, and what comes behind them;
// nil mostly.
func (c *content) parts() ([]byte, io.ReadCloser) {
	if c.name == "" && c.tail == nil {
		return c.held, nil
	}
	behind := io.MultiReader(strings.NewReader(c.name), bytes.NewReader(c.behind))
	if c.tail == nil {
		return c.held, io.NopCloser(behind)
	}
	tail := c.tail.Open()
	return c.held, struct {
		io.Reader
		io.Closer
	}{io.MultiReader(behind, tail), tail} // one that is spent says so when it is read
}

// attach gives the request its body.
func (c *content) attach(req *http.Request) {
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
		req.Body = joined(held, behind)
		req.GetBody = func() (io.ReadCloser, error) {
			if c.tail.Started() {
				return nil, proxy.ErrBodySent
			}
			return joined(c.parts()), nil
		}
	}
}

// joined is a body in one piece.
func joined(held []byte, behind io.ReadCloser) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(held), behind), behind}
}
