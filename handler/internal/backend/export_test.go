package backend

import (
	"net/url"

	"spillway/handler/internal/proxy"
)

// Address is what Send would call.
func (c *Client) Address(t *Target, deployment string, r *proxy.Request) *url.URL {
	return c.address(t, deployment, r)
}
