package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// Meter reserves what requests may use from the consumers' quotas, and settles
// what they did use (package metering).
type Meter interface {
	Enter(c *consumer.Consumer, free bool) (leave func(), err error)
	Reserve(ctx context.Context, r *proxy.Request, pools []*balancer.Pool) (*metering.Reservation, error)
	WithinLimits(r *proxy.Request, pools []*balancer.Pool) []*balancer.Pool
	Promise(x *metering.Reservation, r *proxy.Request, a *proxy.BackendResponse) (due string)
	Raise(x *metering.Reservation, r *proxy.Request, result *proxy.Result, replace func(due string) bool)
	Settle(x *metering.Reservation, r *proxy.Request, result *proxy.Result) []metering.Charge
	Correct(r *proxy.Request, due string, stored *proxy.Stored, tier string) []metering.Charge
	RateLimits(r *proxy.Request, p *balancer.Pool) quota.RateLimitStatus
}

// reserve reserves the expected usage from the consumer's quotas, leaves out the
// fallbacks whose own limits are used up, and sets the rate limit headers.
func (s *Server) reserve(w http.ResponseWriter, r *http.Request, c *call) (*metering.Reservation, *Error) {
	if startsUnmetered(c.request) && !c.request.Consumer.MayUseUnmetered() {
		return nil, unmeteredNotAllowed(c.request.Operation.Name)
	}
	if tool := unmeteredTool(c.request); tool != "" {
		return nil, unmeteredToolNotAllowed(tool)
	}
	if s.Meter == nil {
		return nil, nil
	}
	c.pools = s.Meter.WithinLimits(c.request, c.pools)
	reserved, err := s.Meter.Reserve(r.Context(), c.request, c.pools)
	status := s.Meter.RateLimits(c.request, c.pools[0])
	setRateLimits(w.Header(), &status)
	if err != nil {
		return nil, reservationError(err)
	}
	return reserved, nil
}

// startsUnmetered reports whether a request starts work whose usage is reported to
// nobody here.
func startsUnmetered(r *proxy.Request) bool {
	switch r.Operation.Name {
	case "batches", "fine-tuning", "evals", "videos":
		return r.Method == http.MethodPost && !strings.HasSuffix(r.Subpath, "/cancel")
	}
	return false
}

// reservationError returns the error for a reservation that failed.
func reservationError(err error) *Error {
	var over *quota.ExceededError
	if errors.As(err, &over) {
		return quotaExceeded(over)
	}
	return clientClosed()
}

// rateLimitHeaders are OpenAI's names, in canonical form.
var rateLimitHeaders = [...]string{
	"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens",
	"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests",
}

// setRateLimits sets the headers of the limits. Their values share one allocation:
// every response has them.
func setRateLimits(h http.Header, status *quota.RateLimitStatus) {
	text := make([]byte, 0, 96)
	var ends [len(rateLimitHeaders)]int
	for i, m := range [...]*quota.RateLimit{&status.Tokens, &status.Requests} {
		if m.Limit > 0 {
			text = strconv.AppendInt(text, m.Limit, 10)
			ends[3*i] = len(text)
			text = strconv.AppendInt(text, m.Remaining, 10)
			ends[3*i+1] = len(text)
			text = append(text, m.Reset.Round(time.Millisecond).String()...)
			ends[3*i+2] = len(text)
		}
	}
	all, values, from := string(text), new([len(rateLimitHeaders)]string), 0
	for i, end := range ends {
		if end > 0 {
			values[i] = all[from:end]
			h[rateLimitHeaders[i]] = values[i : i+1 : i+1]
			from = end
		}
	}
}

// quotaExceeded is the error for a consumer's limit. SDKs retry only what a wait of
// up to a minute can help: it is the header that stops them, not the code
// (docs/azure-openai.md#sdk-retries).
func quotaExceeded(over *quota.ExceededError) *Error {
	f := &Error{
		Status: http.StatusTooManyRequests, Type: "too_many_requests", Code: "rate_limit_exceeded", Message: over.Error() + ".",
		Final: !over.Retryable, Cause: over, Rule: over.Limit,
	}
	switch {
	case over.Unknown && !over.Resets.IsZero(): // of a minute it is to be waited for anyhow
		f.Status, f.Type, f.Code = http.StatusServiceUnavailable, serverError, "quota_unknown"
	case over.Limit == concurrency:
		f.Code = "concurrency_limit_exceeded"
	case over.Limit == maxRequestTokens:
		f.Code = "max_request_tokens_exceeded"
	}
	switch {
	case over.Retryable:
		f.RetryAfter = min(max(over.Wait, time.Second), 59*time.Second)
	case !over.Resets.IsZero():
		f.Type, f.Code = "insufficient_quota", "insufficient_quota"
	}
	return f
}
