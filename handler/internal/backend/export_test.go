package backend

import (
	"net/url"

	"spillway/handler/internal/proxy"
)

// RequestURL is what Send would call.
func (c *Client) RequestURL(t *Target, deployment string, r *proxy.Request) *url.URL {
	return c.requestURL(t, deployment, r)
}
