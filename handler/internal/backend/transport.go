package backend

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"
)

// TransportOptions are how connections to one resource are made and kept. The
// zero value is HTTP/1.1 with the defaults named here.
type TransportOptions struct {
	HTTP2            bool           // offer it: for many streams to one resource (docs/performance.md#connections)
	MaxIdleConns     int            // kept for the next request; 0 = 1024
	IdleTimeout      time.Duration  // of a kept connection; 0 = 60 s, which is less than Azure's own
	MaxAge           time.Duration  // of a connection that still takes requests; 0 = 5 min
	DialTimeout      time.Duration  // 0 = 3 s
	HandshakeTimeout time.Duration  // of TLS; 0 = 5 s
	RootCAs          *x509.CertPool // nil = the system's

	// DialContext makes the TCP connections; nil = net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	maxResponseHeader = 64 << 10
	defaultDial       = 3 * time.Second
	defaultHandshake  = 5 * time.Second
	defaultIdle       = time.Minute
	defaultMaxAge     = 5 * time.Minute
	defaultMaxIdle    = 1024

	// A peer that acknowledges nothing for this long is gone.
	silentPeerTimeout = 20 * time.Second
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 5 * time.Second

	http2PingAfter   = 15 * time.Second
	http2PingTimeout = 10 * time.Second
)

// Transport is the connections to one resource. It never decompresses, follows
// no redirect, and verifies every certificate. It is made by [NewTransport].
//
// Its pool of connections is replaced as a whole: when it has its maximum age,
// so that a change of DNS is seen; when a reused connection failed without a
// response, since its siblings go the same route; and for each probe. Requests
// under way end on the pool in which they began.
type Transport struct {
	options  TransportOptions
	sessions tls.ClientSessionCache
	current  atomic.Pointer[connPool]
}

// connPool is a generation of connections.
type connPool struct {
	*http.Transport
	expires time.Time
}

// NewTransport opens no connection yet.
func NewTransport(o TransportOptions) *Transport {
	t := &Transport{options: o, sessions: tls.NewLRUClientSessionCache(0)}
	t.current.Store(t.newPool())
	return t
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.pool().RoundTrip(r)
}

// CloseIdleConnections closes the connections that serve no request.
func (t *Transport) CloseIdleConnections() { t.current.Load().CloseIdleConnections() }

// pool is the generation for a new request.
func (t *Transport) pool() *connPool {
	p := t.current.Load()
	if time.Now().Before(p.expires) {
		return p
	}
	return t.replace(p)
}

// replace begins a new generation, unless old has already been replaced: the
// failure of an old connection tells nothing about new ones.
func (t *Transport) replace(old *connPool) *connPool {
	if t.current.Load() == old {
		if fresh := t.newPool(); t.current.CompareAndSwap(old, fresh) {
			old.CloseIdleConnections()
			return fresh
		}
	}
	return t.current.Load()
}

// newPool varies the age by a tenth, so that the instances of an app do not
// reconnect together.
func (t *Transport) newPool() *connPool {
	o := &t.options
	age := cmp.Or(o.MaxAge, defaultMaxAge)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(o.HTTP2)
	return &connPool{
		expires: time.Now().Add(age - rand.N(age/10+1)), //nolint:gosec // G404: jitter
		Transport: &http.Transport{
			Proxy:                  proxyFor,
			DialContext:            t.dial,
			Protocols:              protocols,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: http2PingAfter, PingTimeout: http2PingTimeout},
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs, ClientSessionCache: t.sessions},
			TLSHandshakeTimeout:    cmp.Or(o.HandshakeTimeout, defaultHandshake),
			MaxIdleConnsPerHost:    cmp.Or(o.MaxIdleConns, defaultMaxIdle),
			IdleConnTimeout:        cmp.Or(o.IdleTimeout, defaultIdle),
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxResponseHeader,
		},
	}
}

func (t *Transport) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dial := t.options.DialContext
	if dial == nil {
		dial = (&net.Dialer{
			Timeout:         cmp.Or(t.options.DialTimeout, defaultDial),
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval},
			Control:         boundSilence,
		}).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return newTrackedConn(conn), nil
}

// proxyFor is the proxy of the environment, but never for loopback or
// link-local addresses: those are test doubles and the identity endpoint.
func proxyFor(r *http.Request) (*url.URL, error) {
	if ip, err := netip.ParseAddr(r.URL.Hostname()); err == nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}
