package backend

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"spillway/handler/internal/backend/http1"
)

// Wire is how connections to one resource are made and kept. The zero Wire is
// HTTP/1.1 with the defaults named below.
type Wire struct {
	HTTP2     bool           // offer it: worth it for many streams to one resource (facts/performance.md §8)
	MaxIdle   int            // connections kept for the next request; 0 = 1024
	Idle      time.Duration  // how long; under Azure's own ~90 s; 0 = 60 s
	Dial      time.Duration  // longest wait for a connection; 0 = 3 s
	Handshake time.Duration  // longest TLS handshake; 0 = 5 s
	Roots     *x509.CertPool // nil = the system's
}

// NewOrigin returns the connections to one resource that serve without a
// transport between; nil where there has to be one: for HTTP/2, and for a proxy
// of the environment.
func NewOrigin(w Wire, endpoint *url.URL) *http1.Origin {
	proxy, err := proxyFor(&http.Request{URL: endpoint})
	if w.HTTP2 || proxy != nil || err != nil {
		return nil
	}
	dialer := &net.Dialer{Timeout: cmp.Or(w.Dial, defaultDial), KeepAlive: keepAlive}
	o := &http1.Origin{
		Address: endpoint.Host, Dial: dialer.DialContext,
		Handshake: w.Handshake, MaxIdle: w.MaxIdle, Idle: w.Idle, MaxHeader: maxResponseHeader,
	}
	port := "80"
	if endpoint.Scheme == "https" {
		port, o.TLS = "443", w.tls()
		o.TLS.ServerName, o.TLS.NextProtos = endpoint.Hostname(), []string{"http/1.1"}
	}
	if endpoint.Port() == "" {
		o.Address = net.JoinHostPort(endpoint.Hostname(), port)
	}
	return o
}

func (w *Wire) tls() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.Roots, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

const (
	maxResponseHeader = 64 << 10
	defaultDial       = 3 * time.Second
	keepAlive         = 30 * time.Second
	pingAfter         = 15 * time.Second
	pingLost          = 10 * time.Second
)

// NewTransport returns the connections to one resource. Answers are never
// inflated, redirects never followed, certificates always verified.
func NewTransport(w Wire) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(w.HTTP2)
	dialer := &net.Dialer{Timeout: cmp.Or(w.Dial, defaultDial), KeepAlive: keepAlive}
	return &http.Transport{
		Proxy: proxyFor,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &guarded{Conn: conn}, nil
		},
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingLost},
		TLSClientConfig:        w.tls(),
		TLSHandshakeTimeout:    cmp.Or(w.Handshake, 5*time.Second),
		MaxIdleConnsPerHost:    cmp.Or(w.MaxIdle, 1024),
		IdleConnTimeout:        cmp.Or(w.Idle, time.Minute),
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
}

// proxyFor is the corporate proxy of the environment, but never for loopback
// or link-local addresses: those are test doubles and the identity endpoint.
func proxyFor(r *http.Request) (*url.URL, error) {
	if ip, err := netip.ParseAddr(r.URL.Hostname()); err == nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// guarded is a connection that knows the attempt which has it now.
type guarded struct {
	net.Conn
	owner atomic.Pointer[attempt]
	asks  atomic.Bool // the next write asks the owner first
}

// take makes the connection an attempt's.
func (g *guarded) take(a *attempt) {
	g.owner.Store(a)
	g.asks.Store(a.before != nil)
}

// leave lets go of the attempt, so that a kept connection keeps no request.
func (g *guarded) leave(a *attempt) { g.owner.CompareAndSwap(a, nil) }

// hangUp closes the connection if it is still the attempt's: it may be in the
// pool by now, or have another's request on it.
func (g *guarded) hangUp(a *attempt) {
	if g.owner.CompareAndSwap(a, nil) {
		_ = g.Close()
	}
}

func (g *guarded) Write(p []byte) (int, error) {
	if g.asks.Load() && g.asks.Swap(false) {
		if a := g.owner.Load(); a != nil {
			if err := a.ask(); err != nil {
				return 0, err
			}
		}
	}
	return g.Conn.Write(p)
}
