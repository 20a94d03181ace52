package funchost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Whose fault a broken answer is, in the words of the host's log.
var (
	errHandlerResponse = errors.New("ResponseBodyDestination")
	errClientWrite     = errors.New("ResponseBodyClient")
)

// proxy is a call in proxy mode: everything streams.
func (c *call) proxy(port int, a handlerRequest) {
	a.header = proxiedHeader(c.r, newGUID())
	c.idle = time.AfterFunc(c.host.options.IdleTimeout, func() { c.cancel(errIdle) })
	defer c.idle.Stop()
	response, line, err := c.host.send(c.ctx, port, a, c.progress)
	if err != nil {
		c.fail(err)
		return
	}
	if err := c.relay(response); err != nil {
		line.discard()
		c.fail(err)
		return
	}
	if response.Close {
		line.discard()
		return
	}
	c.host.conns.put(line)
}

// progress tells the idle timer that something moved.
func (c *call) progress() { c.idle.Reset(c.host.options.IdleTimeout) }

// relay passes the answer on: each read is written and flushed at once (D 27),
// and nothing at all is sent before there is a byte of the body or its end (D 26).
func (c *call) relay(response *http.Response) error {
	defer response.Body.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := response.Body.Read(buffer)
		c.progress()
		if n > 0 {
			c.start(response)
			if err := c.writeToClient(buffer[:n]); err != nil {
				return err
			}
			c.progress()
		}
		switch {
		case errors.Is(err, io.EOF):
			c.start(response)
			c.discardTrailers(response)
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", errHandlerResponse, err)
		}
	}
}

// start sends the status line and the header, once. From then on the end of
// the call ends a write to a caller who does not read.
func (c *call) start(response *http.Response) {
	if c.started {
		return
	}
	c.started = true
	copyResponseHeader(c.w.Header(), response)
	c.w.WriteHeader(response.StatusCode)
	c.stopWriteWatch = context.AfterFunc(c.ctx, func() {
		_ = http.NewResponseController(c.w).SetWriteDeadline(time.Unix(1, 0))
	})
}

// writeToClient writes to the caller. One who has left is an error, unless the front
// end hides it (D 30).
func (c *call) writeToClient(bytes []byte) error {
	if c.clientGone {
		return nil
	}
	_, err := c.w.Write(bytes)
	if err == nil {
		err = http.NewResponseController(c.w).Flush()
	}
	if err == nil {
		return nil
	}
	if c.host.options.HideDisconnects {
		c.clientGone = true
		return nil
	}
	return fmt.Errorf("%w: %w", errClientWrite, err)
}

// discardTrailers adds the trailers that the handler sent (D 25).
func (c *call) discardTrailers(response *http.Response) {
	for name, values := range response.Trailer {
		c.w.Header()[http.TrailerPrefix+name] = values
	}
}
