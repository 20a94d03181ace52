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

// Quotas keeps the consumers' quotas (package ledger).
type Quotas interface {
	Reserve(ctx context.Context, c *consumer.Consumer, model string, tokens int64, price usage.Price) (*quota.Reservation, error)
	RateLimits(c *consumer.Consumer, model string) quota.RateLimitStatus
}

// reserve takes what the request may come to from its consumer's quotas, and
// tells the caller how the consumer stands.
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

// reservationError is why nothing was reserved.
func reservationError(err error) *Error {
	var over *quota.ExceededError
	if errors.As(err, &over) {
		return quotaExceeded(over)
	}
	return clientClosed()
}

// setRateLimit writes one limit the way OpenAI's SDKs read it.
func setRateLimit(h http.Header, unit string, m quota.RateLimit) {
	if m.Limit == 0 {
		return
	}
	h.Set("X-Ratelimit-Limit-"+unit, strconv.FormatInt(m.Limit, 10))
	h.Set("X-Ratelimit-Remaining-"+unit, strconv.FormatInt(m.Remaining, 10))
	h.Set("X-Ratelimit-Reset-"+unit, m.Reset.Round(time.Millisecond).String())
}

// settle ends a reservation by what became of the request: paid by what the
// answer really used; kept as estimated when the answer was sent and did not
// say; refunded when nobody served. What attempts used for nothing is paid too,
// as far as it is known.
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

// quotaExceeded is the consumer's own limit. What cannot be helped by waiting for a
// minute is not worth an SDK's retries.
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
