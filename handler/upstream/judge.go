package upstream

import (
	"net/http"
	"time"

	"spillway/handler/health"
	"spillway/handler/pool"
	"spillway/handler/verdict"
)

// judge says what an answer's status means, with its headers and the beginning
// of its body.
func (c *Client) judge(t *Target, b *pool.Backend, res *http.Response, head []byte) health.Outcome {
	policy := c.Policy
	policy.Provisioned = b.Provisioned
	_, policy.CallerAuth = t.Credential.(PassThrough)
	return verdict.Status(res.StatusCode, res.Header, head, time.Now(), policy)
}
