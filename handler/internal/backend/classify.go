package backend

import (
	"net/http"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
)

// classify says what an answer's status means, with its headers and the beginning
// of its body.
func (c *Client) classify(t *Target, b *balancer.Backend, res *http.Response, head []byte) health.Outcome {
	policy := c.Policy
	policy.Provisioned = b.Provisioned
	_, policy.CallerAuth = t.Credential.(PassThrough)
	return classify.Status(res.StatusCode, res.Header, head, time.Now(), policy)
}
