// Package http1 sends requests over kept HTTP/1.1 connections to one origin,
// in the goroutine of whoever asks. http.Transport gives every connection two
// goroutines of its own, and every request is handed over four times between
// them: a third of what it costs to forward a short one.
//
// It does what a gateway needs and no more: no proxies, no redirects, no
// cookies, no inflating, no HTTP/2. Answers are parsed by http.ReadResponse.
package http1

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// Origin is the connections to one address. Its fields are set before the
// first exchange and not after; it is safe for concurrent use.
type Origin struct {
	Address   string // host:port
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	TLS       *tls.Config   // names the server; nil = in the clear
	Handshake time.Duration // longest TLS handshake; 0 = 5 s
	MaxIdle   int           // connections kept for the next request; 0 = 1024
	Idle      time.Duration // how long; 0 = 60 s
	MaxHeader int64         // bytes of an answer's head; 0 = 64 KiB

	mu      sync.Mutex
	kept    []*conn // the longest kept first
	tidying bool    // a timer is running

	heads, readers sync.Pool
}

// connection takes the connection that was used last, else makes a new one.
// Of the kept ones those that the backend has closed meanwhile are dropped.
func (o *Origin) connection(ctx context.Context, fresh bool) (c *conn, reused bool, err error) {
	for !fresh {
		if c = o.take(); c == nil {
			break
		}
		if c.alive() {
			return c, true, nil
		}
		c.close()
	}
	c, err = o.dial(ctx)
	return c, false, err
}

func (o *Origin) take() *conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := len(o.kept) - 1
	if last < 0 {
		return nil
	}
	c := o.kept[last]
	o.kept[last] = nil
	o.kept = o.kept[:last]
	return c
}

// keep has the connection ready for the next exchange.
func (o *Origin) keep(c *conn) {
	c.rest()
	c.since = time.Now()
	o.mu.Lock()
	if len(o.kept) >= cmp.Or(o.MaxIdle, 1024) {
		o.mu.Unlock()
		c.close()
		return
	}
	o.kept = append(o.kept, c)
	if !o.tidying {
		o.tidying = true
		time.AfterFunc(o.idle(), o.tidy)
	}
	o.mu.Unlock()
}

func (o *Origin) idle() time.Duration { return cmp.Or(o.Idle, time.Minute) }

// tidy closes what was not needed for long, and comes again while there is
// anything left.
func (o *Origin) tidy() {
	now := time.Now()
	o.mu.Lock()
	n := 0
	for n < len(o.kept) && now.Sub(o.kept[n].since) >= o.idle() {
		n++
	}
	old := append([]*conn(nil), o.kept[:n]...)
	o.kept = append(o.kept[:0], o.kept[n:]...)
	clear(o.kept[len(o.kept) : len(o.kept)+n])
	if o.tidying = len(o.kept) > 0; o.tidying {
		time.AfterFunc(max(o.kept[0].since.Add(o.idle()).Sub(now), time.Second), o.tidy)
	}
	o.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

// CloseIdleConnections closes what is kept. What is in use stays.
func (o *Origin) CloseIdleConnections() {
	for c := o.take(); c != nil; c = o.take() {
		c.close()
	}
}

func (o *Origin) dial(ctx context.Context) (*conn, error) {
	raw, err := o.Dial(ctx, "tcp", o.Address)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the address
	}
	c := &conn{origin: o, Conn: raw, raw: raw}
	c.prepare()
	if o.TLS == nil {
		return c, nil
	}
	secure := tls.Client(raw, o.TLS)
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(o.Handshake, 5*time.Second))
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err //nolint:wrapcheck // crypto/tls says what it is
	}
	c.Conn = secure
	return c, nil
}
