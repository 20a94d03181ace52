package backend

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
)

// maxErrorBody is how much of a refusal's body is read to understand it.
const maxErrorBody = 64 << 10

// classifyResponse reads what an answer's status says. A refusal's body is read for its
// reason; when the reason is the caller's business it is passed on whole.
func (c *Client) classifyResponse(a *attempt, t *Target, b *balancer.Backend, res *http.Response) (*http.Response, health.Outcome) {
	body := &responseBody{Reader: res.Body, closer: res.Body, attempt: a}
	res.Body = body
	if res.StatusCode >= http.StatusOK && res.StatusCode < http.StatusMultipleChoices {
		a.stopTimeout()
		if a.aborted() { // in this very moment
			defer func() { _ = body.Close() }()
			return nil, a.failure(errAttemptOver)
		}
		return res, c.classify(t, b, res, nil)
	}
	if res.StatusCode < http.StatusOK { // a switched protocol: no context ends its reads
		defer func() { _ = body.Close() }()
		return nil, c.classify(t, b, res, nil)
	}
	a.startTimeout(errorBodyTimeout, errResponseTimeout)
	head, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	a.stopTimeout()
	if err != nil && a.parent.Err() != nil {
		defer func() { _ = body.Close() }()
		return nil, a.failure(err)
	}
	o := c.classify(t, b, res, head)
	if o.Class != health.Served && (o.Class != health.Throttled || !a.passThrottled) || err != nil {
		defer func() { _ = body.Close() }()
		if o.Class == health.Served {
			o.Class, o.Reason = health.Failed, "cut"
		}
		return nil, o
	}
	body.Reader = io.MultiReader(bytes.NewReader(head), body.Reader)
	return res, o
}

// missingCallerToken is the answer to a caller without the token that a
// pass-through backend needs.
func missingCallerToken() *http.Response {
	const body = `{"error":{"message":"The backend of this model takes the caller's own Microsoft Entra token. Send it as 'Authorization: Bearer <token>'.",` +
		`"type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`
	return &http.Response{
		StatusCode: http.StatusUnauthorized, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
}
