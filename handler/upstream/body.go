package upstream

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"spillway/handler/proxy"
)

// content is the body of one attempt, in its parts. All but held are mostly
// absent.
type content struct {
	held   []byte
	name   string // of the model, between two parts of a form
	behind []byte
	tail   *proxy.Tail // what is not held, and can be sent once
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

// attach gives the request its body.
func (c content) attach(req *http.Request) {
	req.ContentLength = c.length()
	switch {
	case req.ContentLength == 0:
		req.Body = http.NoBody
		return
	case c.name == "" && c.tail == nil:
		// A type that the transport knows to be in memory leaves in one write
		// with the headers (facts/performance.md §7).
		held := c.held
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(held)), nil }
	default:
		req.GetBody = c.open
	}
	req.Body, _ = req.GetBody() // a tail that is spent says so when it is read
}

// parted is a body of several parts.
type parted struct {
	io.Reader
	io.Closer
}

// open is the body in its parts, with ErrTailSpent when the last one cannot be
// sent again.
func (c content) open() (io.ReadCloser, error) {
	body := parted{io.MultiReader(bytes.NewReader(c.held), strings.NewReader(c.name), bytes.NewReader(c.behind)), http.NoBody}
	if c.tail == nil {
		return body, nil
	}
	rest := c.tail.Open()
	body = parted{io.MultiReader(body.Reader, rest), rest}
	if c.tail.Spent() {
		return body, proxy.ErrTailSpent
	}
	return body, nil
}
