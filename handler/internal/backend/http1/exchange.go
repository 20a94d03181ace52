package http1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Exchange is one request and its answer. Its zero value is ready; it is used
// for one request, which may be sent once more when a kept connection turns out
// to be closed.
type Exchange struct {
	// Ask is asked just ahead of the first byte; an error ends the matter and
	// is returned. Nil = nothing is asked.
	Ask func() error
	// Written is called once for each Do when the message's bytes are not read
	// any more: at the end of Do, or later when an answer came ahead of it.
	Written func()

	Reused bool      // the connection had been kept
	Sent   time.Time // when there was a connection

	conn    atomic.Pointer[conn]
	hungUp  atomic.Bool
	unwatch func() bool
	writing chan error // of a message that is too long to be written at once; nil mostly
}

// atOnce is the longest message that is written ahead of reading the answer: a
// backend that refuses it unread has room for it nevertheless.
const atOnce = 16 << 10

// Do sends a message and returns the head of its answer. The body is to be
// closed, or read to its end; until then the end of ctx breaks it off. Errors
// are the connection's own. Without a byte of an answer it is io.EOF or a
// reset; an answer that breaks off in its head is an io.ErrUnexpectedEOF.
func (e *Exchange) Do(ctx context.Context, o *Origin, m *Message, fresh bool) (*http.Response, error) {
	e.unwatch, e.writing = nil, nil
	res, err := e.do(ctx, o, m, fresh)
	if err != nil {
		e.end(false)
	}
	return res, err
}

func (e *Exchange) do(ctx context.Context, o *Origin, m *Message, fresh bool) (*http.Response, error) {
	c, reused, err := o.connection(ctx, fresh)
	if err != nil {
		e.written(m)
		return nil, err
	}
	e.Reused, e.Sent = reused, time.Now()
	e.conn.Store(c)
	if e.hungUp.Load() { // while there was no connection yet
		e.drop(c)
	}
	if ctx.Done() != nil {
		e.unwatch = context.AfterFunc(ctx, e.HangUp)
	}
	if e.Ask != nil {
		if err := e.Ask(); err != nil {
			e.written(m)
			return nil, err
		}
	}
	if err := e.send(c, m); err != nil {
		return nil, err
	}
	res, err := e.receive(c, m.Method)
	if err != nil {
		return nil, e.cause(err)
	}
	return res, nil
}

// cause is why there is no answer: that the message broke off, if it did.
func (e *Exchange) cause(err error) error {
	select {
	case broke := <-e.writing:
		if broke != nil {
			return broke
		}
	default:
	}
	return err
}

func (e *Exchange) written(m *Message) {
	if m.Rest != nil {
		_ = m.Rest.Close()
	}
	if e.Written != nil {
		e.Written()
	}
}

// send writes the message; one that is long beside the reading of its answer.
func (e *Exchange) send(c *conn, m *Message) error {
	held, _ := c.origin.heads.Get().(*[]byte)
	if held == nil {
		held = new([]byte)
	}
	b, err := m.head((*held)[:0])
	if err != nil {
		e.written(m)
		return err
	}
	*held = b
	long := m.Rest != nil || len(b)+len(m.Body) > atOnce
	if !long {
		b = append(b, m.Body...) // head and body leave in one write
		*held = b
		_, err = c.Write(b)
		c.origin.heads.Put(held)
		e.written(m)
		return err //nolint:wrapcheck // as the connection has it
	}
	over := make(chan error, 1)
	e.writing = over
	go func() {
		err := m.write(c, b)
		c.origin.heads.Put(held)
		e.written(m)
		over <- err
		if err != nil && m.Rest != nil {
			e.drop(c) // a body that breaks off leaves the backend waiting
		}
	}()
	return nil
}

// receive reads the head of the answer.
func (e *Exchange) receive(c *conn, method string) (*http.Response, error) {
	limit := c.origin.MaxHeader
	if limit == 0 {
		limit = 64 << 10
	}
	c.bound(limit)
	in := c.reader()
	if _, err := in.Peek(1); err != nil {
		return nil, err //nolint:wrapcheck // as the connection has it
	}
	res, err := c.final(in, method)
	switch {
	case errors.Is(err, ErrHead):
		return nil, ErrHead
	case err != nil && gone(err):
		return nil, fmt.Errorf("http1: the answer broke off in its head: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return nil, err
	}
	c.bound(0)
	e.attach(res)
	return res, nil
}

// gone reports whether an error is of the connection, not of what was read.
func gone(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &timeout)
}

// attach has the body's end decide about the connection.
func (e *Exchange) attach(res *http.Response) {
	b := &body{Reader: res.Body, exchange: e, keep: !res.Close && res.StatusCode != http.StatusSwitchingProtocols}
	if res.Body == http.NoBody {
		e.end(b.keep)
		return
	}
	res.Body = b
}

// end is the end of the answer: the connection is kept if there is nothing
// left on it, in neither direction.
func (e *Exchange) end(keep bool) {
	e.leave()
	if e.writing != nil {
		select {
		case err := <-e.writing:
			keep = keep && err == nil
		default: // of no use to others before it is over
			keep = false
		}
	}
	switch c := e.conn.Swap(nil); {
	case c == nil:
	case keep && c.in.Buffered() == 0:
		c.origin.keep(c)
	default:
		c.close()
	}
}

// drop closes the connection if it is still the exchange's.
func (e *Exchange) drop(c *conn) {
	if c != nil && e.conn.CompareAndSwap(c, nil) {
		c.close()
	}
}

// leave stops watching the caller.
func (e *Exchange) leave() {
	if e.unwatch != nil {
		e.unwatch()
	}
}

// HangUp breaks the exchange off, at whatever point it is. It may be called at
// any time and by anybody; a connection that was kept meanwhile is not touched.
// While a connection is still being made it takes effect when there is one.
func (e *Exchange) HangUp() {
	e.hungUp.Store(true)
	e.drop(e.conn.Load())
}

// body is an answer's.
type body struct {
	io.Reader
	exchange *Exchange
	keep     bool
	ended    bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !b.ended {
		b.ended = true
		b.exchange.end(b.keep && errors.Is(err, io.EOF))
	}
	return n, err //nolint:wrapcheck // as the connection has it
}

// Close gives up what was not read, and with it the connection.
func (b *body) Close() error {
	b.exchange.end(false)
	return nil
}
