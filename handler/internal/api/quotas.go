package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// Quotas enforces the consumers' quotas (package quota).
type Quotas interface {
	Reserve(ctx context.Context, c *consumer.Consumer, model string, tokens int64, price usage.Price) (*quota.Reservation, error)
	RateLimits(c *consumer.Consumer, model string) quota.RateLimitStatus
}

// reserve reserves the estimated usage from the consumer's quotas and sets the
// rate limit headers.
func (s *Server) reserve(w http.ResponseWriter, r *http.Request, c *call) (*quota.Reservation, *Error) {
	if s.Quotas == nil || c.request.Consumer == nil {
		return nil, nil
	}
	who, first := c.request.Consumer, c.pools[0]
	reserved, err := s.Quotas.Reserve(r.Context(), who, first.Model, c.request.Tokens, first.Price)
	status := s.Quotas.RateLimits(who, first.Model)
	setRateLimit(w.Header(), "tokens", status.Tokens)
	setRateLimit(w.Header(), "requests", status.Requests)
	if err != nil {
		return nil, reservationError(err)
	}
	return reserved, nil
}

// reservationError returns the error for a reservation that failed.
func reservationError(err error) *Error {
	var over *quota.ExceededError
	if errors.As(err, &over) {
		return quotaExceeded(over)
	}
	return clientClosed()
}

// setRateLimit sets the headers of one limit in OpenAI's form.
func setRateLimit(h http.Header, unit string, m quota.RateLimit) {
	if m.Limit == 0 {
		return
	}
	h.Set("X-Ratelimit-Limit-"+unit, strconv.FormatInt(m.Limit, 10))
	h.Set("X-Ratelimit-Remaining-"+unit, strconv.FormatInt(m.Remaining, 10))
	h.Set("X-Ratelimit-Reset-"+unit, m.Reset.Round(time.Millisecond).String())
}

// settle ends a reservation: by the usage that the answer reports, attempts that
// were not relayed included; by the estimate when an answer was relayed without
// usage; by a refund when nothing was relayed.
func settle(reserved *quota.Reservation, result *proxy.Result) {
	used := result.Delivery.Usage
	switch {
	case !result.Delivery.Committed:
		reserved.Refund()
	case used == usage.Tokens{} && result.Status() < http.StatusBadRequest:
		reserved.Commit()
	default:
		reserved.Settle(used.Add(result.Wasted()))
	}
}

// quotaExceeded is the error for a consumer's limit. SDKs retry only what a wait
// of up to a minute can help.
func quotaExceeded(over *quota.ExceededError) *Error {
	f := &Error{
		Status: http.StatusTooManyRequests, Type: "too_many_requests", Code: "quota_exceeded", Message: over.Error() + ".",
		Final: !over.Retryable, Cause: over,
	}
	if over.Retryable {
		f.RetryAfter = min(max(over.Wait, time.Second), 59*time.Second)
	}
	return f
}
