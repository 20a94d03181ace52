package upstream

import (
	"cmp"

	"spillway/handler/pool"
	"spillway/handler/proxy"
)

// deployment is the resource's name for the model. A backend that names none
// has the pool's name for it.
func (c *Client) deployment(b *pool.Backend, r *proxy.Request) string {
	return cmp.Or(b.Deployment, r.Model, r.Facts.Model)
}

// content is the body to send: the caller's own bytes, or a pooled copy with
// the parts replaced that have to be. The attempt gives the copy back.
func (c *Client) content(a *attempt, t *Target, deployment string, r *proxy.Request) []byte {
	return r.Body
}
