package upstream

import (
	"net/http"

	"spillway/handler/health"
	"spillway/handler/pool"
)

func (c *Client) promise(res *http.Response) health.Outcome {
	return health.Outcome{Signals: health.NoSignals()}
}

func (c *Client) judge(t *Target, b *pool.Backend, res *http.Response, head []byte) health.Outcome {
	o := health.Outcome{Signals: health.NoSignals()}
	switch {
	case res.StatusCode == 429:
		o.Verdict, o.Why = health.Throttled, "429"
	case res.StatusCode >= 500:
		o.Verdict, o.Why = health.Failed, "5xx"
	case res.StatusCode == 401 || res.StatusCode == 403:
		o.Verdict, o.Why = health.Misconfigured, "401"
	}
	return o
}
