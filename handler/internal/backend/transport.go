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

// TransportOptions is how connections to one resource are made and kept. The zero TransportOptions is
// HTTP/1.1 with the defaults named below.
type TransportOptions struct {
	HTTP2            bool           // offer it: worth it for many streams to one resource (facts/performance.md §8)
	MaxIdleConns     int            // connections kept for the next request; 0 = 1024
	IdleTimeout      time.Duration  // how long; under Azure's own ~90 s; 0 = 60 s
	DialTimeout      time.Duration  // longest wait for a connection; 0 = 3 s
	HandshakeTimeout time.Duration  // longest TLS handshake; 0 = 5 s
	RootCAs          *x509.CertPool // nil = the system's
}

// NewOrigin returns the connections to one resource that serve without a
// transport between; nil where there has to be one: for HTTP/2, and for a proxy
// of the environment.
func NewOrigin(w TransportOptions, endpoint *url.URL) *http1.Origin {
	proxy, err := proxyFor(&http.Request{URL: endpoint})
	if w.HTTP2 || proxy != nil || err != nil {
		return nil
	}
	dialer := &net.Dialer{Timeout: cmp.Or(w.DialTimeout, defaultDial), KeepAlive: keepAlive}
	o := &http1.Origin{
		Address: endpoint.Host, Dial: dialer.DialContext,
		Handshake: w.HandshakeTimeout, MaxIdle: w.MaxIdleConns, Idle: w.IdleTimeout, MaxHeader: maxResponseHeader,
	}
	port := "80"
	if endpoint.Scheme == "https" {
		port, o.TLS = "443", w.tlsConfig()
		o.TLS.ServerName, o.TLS.NextProtos = endpoint.Hostname(), []string{"http/1.1"}
	}
	if endpoint.Port() == "" {
		o.Address = net.JoinHostPort(endpoint.Hostname(), port)
	}
	return o
}

func (w *TransportOptions) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: w.RootCAs, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
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
func NewTransport(o TransportOptions) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(o.HTTP2)
	dialer := &net.Dialer{Timeout: cmp.Or(o.DialTimeout, defaultDial), KeepAlive: keepAlive}
	return &http.Transport{
		Proxy: proxyFor,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &trackedConn{Conn: conn}, nil
		},
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingLost},
		TLSClientConfig:        o.tlsConfig(),
		TLSHandshakeTimeout:    cmp.Or(o.HandshakeTimeout, 5*time.Second),
		MaxIdleConnsPerHost:    cmp.Or(o.MaxIdleConns, 1024),
		IdleConnTimeout:        cmp.Or(o.IdleTimeout, time.Minute),
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

// trackedConn is a connection that knows the attempt which has it now.
type trackedConn struct {
	net.Conn
	owner          atomic.Pointer[attempt]
	runsBeforeSend atomic.Bool // the next write asks the owner first
}

// assign makes the connection an attempt's.
func (g *trackedConn) assign(a *attempt) {
	g.owner.Store(a)
	g.runsBeforeSend.Store(a.beforeSend != nil)
}

// unassign lets go of the attempt, so that a kept connection keeps no request.
func (g *trackedConn) unassign(a *attempt) { g.owner.CompareAndSwap(a, nil) }

// closeFor closes the connection if it is still the attempt's: it may be in the
// pool by now, or have another's request on it.
func (g *trackedConn) closeFor(a *attempt) {
	if g.owner.CompareAndSwap(a, nil) {
		_ = g.Close()
	}
}

func (g *trackedConn) Write(p []byte) (int, error) {
	if g.runsBeforeSend.Load() && g.runsBeforeSend.Swap(false) {
		if a := g.owner.Load(); a != nil {
			if err := a.runBeforeSend(); err != nil {
				return 0, err
			}
		}
	}
	return g.Conn.Write(p)
}
