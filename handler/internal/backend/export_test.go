package backend

import (
	"context"
	"net"
	"net/url"

	"spillway/handler/internal/proxy"
)

// ProxyFor is the proxy of a request.
var ProxyFor = proxyFor

// RequestURL is the URL that Send requests.
func (c *Client) RequestURL(t *Target, deployment string, r *proxy.Request) *url.URL {
	return c.requestURL(t, deployment, r)
}

// Dial makes a connection as a Transport does, and returns the one of package
// net in it.
func Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := NewTransport(TransportOptions{}).dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return conn.(*trackedConn).Conn, nil
}
