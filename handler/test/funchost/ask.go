package funchost

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"time"
)

// handlerRequest is one request as the handler will get it.
type handlerRequest struct {
	method string
	target string // path and query, escaped
	host   string // "" for the handler's own address
	header http.Header
	body   io.Reader // nil: none
	length int64     // of body; -1 sends it chunked; with no body 0 says so and -1 does not
}

// What can go wrong with a call, in the words of the host's log.
var (
	errConnect     = errors.New("Request")
	errHandlerBody = errors.New("RequestBodyDestination")
	errClientBody  = errors.New("RequestBodyClient")
)

// continueTimeout is how long .NET's client holds a body back for a 100.
const continueTimeout = time.Second

// exchange sends the request and reads the answer's head. The body is written
// to its end before the answer is looked at (D 22); only with Expect:
// 100-continue may a refusal come first. progress is called at every step.
func (c *conn) exchange(a handlerRequest, progress func()) (*http.Response, error) {
	if err := a.writeHead(c); err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	if a.body != nil && strings.EqualFold(a.header.Get("Expect"), "100-continue") {
		early, err := c.awaitContinue(a)
		if early != nil || err != nil {
			return early, err
		}
	}
	if err := a.writeBody(c.out, progress); err != nil {
		return nil, err
	}
	if err := c.out.Flush(); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandlerBody, err)
	}
	return c.readResponse(a)
}

func (a handlerRequest) writeHead(c *conn) error {
	host := a.host
	if host == "" {
		host = c.RemoteAddr().String()
	}
	fmt.Fprintf(c.out, "%s %s HTTP/1.1\r\nHost: %s\r\n", a.method, a.target, host)
	switch {
	case a.body != nil && a.length < 0:
		fmt.Fprint(c.out, "Transfer-Encoding: chunked\r\n")
	case a.length >= 0:
		fmt.Fprintf(c.out, "Content-Length: %d\r\n", a.length)
	}
	if err := a.header.WriteSubset(c.out, map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Host": true}); err != nil {
		return err
	}
	_, err := c.out.WriteString("\r\n")
	return err
}

// writeBody copies the caller's body and tells whose fault an error is.
func (a handlerRequest) writeBody(out io.Writer, progress func()) error {
	if a.body == nil {
		return nil
	}
	to := out
	if a.length < 0 {
		to = httputil.NewChunkedWriter(out)
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := a.body.Read(buffer)
		progress()
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return fmt.Errorf("%w: %w", errHandlerBody, err)
			}
			progress()
		}
		if errors.Is(err, io.EOF) {
			return a.endBody(out)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errClientBody, err)
		}
	}
}

// endBody marks the end of a chunked body. A body that broke is never marked,
// so that the handler sees it broken.
func (a handlerRequest) endBody(out io.Writer) error {
	if a.length >= 0 {
		return nil
	}
	if _, err := io.WriteString(out, "0\r\n\r\n"); err != nil {
		return fmt.Errorf("%w: %w", errHandlerBody, err)
	}
	return nil
}

// awaitContinue waits a while for the handler to ask for the body. A refusal
// is returned, and the body of a large request is then never sent.
func (c *conn) awaitContinue(a handlerRequest) (*http.Response, error) {
	if err := c.out.Flush(); err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(continueTimeout))
	_, err := c.in.Peek(1)
	_ = c.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, nil //nolint:nilnil // no answer yet, and no fault
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	response, err := http.ReadResponse(c.in, &http.Request{Method: a.method})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errConnect, err)
	}
	if response.StatusCode == http.StatusContinue {
		return nil, nil //nolint:nilnil // no answer yet, and no fault
	}
	response.Close = true // the body that was announced never comes
	return response, nil
}

// readResponse reads the head of the answer; what comes before it (100, 103) is
// not passed on.
func (c *conn) readResponse(a handlerRequest) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(c.in, &http.Request{Method: a.method})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errConnect, err)
		}
		if response.StatusCode >= http.StatusOK || response.StatusCode == http.StatusSwitchingProtocols {
			return response, nil
		}
	}
}
