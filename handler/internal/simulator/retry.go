package simulator

import (
	"net/http"
	"strconv"
	"time"
)

// RetryForm is how an answer hints its wait.
type RetryForm string

// The forms. The zero form is retry-after-ms and retry-after together.
const (
	RetryBoth    RetryForm = ""
	RetryMS      RetryForm = "ms"
	RetryXMS     RetryForm = "x-ms"
	RetrySeconds RetryForm = "seconds"
	RetryDate    RetryForm = "date"
	RetryNone    RetryForm = "none"
)

var retryForms = []RetryForm{RetryBoth, RetryMS, RetryXMS, RetrySeconds, RetryDate, RetryNone}

// setHeaders writes a wait into headers. Milliseconds are rounded up, so that who
// waits as told never comes too early.
func (f RetryForm) setHeaders(h http.Header, wait time.Duration, now time.Time) {
	ms := strconv.FormatInt((wait + time.Millisecond - 1).Milliseconds(), 10)
	whole := strconv.Itoa(wholeSeconds(wait))
	switch f {
	case RetryBoth:
		h.Set("retry-after-ms", ms)
		h.Set("Retry-After", whole)
	case RetryMS:
		h.Set("retry-after-ms", ms)
	case RetryXMS:
		h.Set("x-ms-retry-after-ms", ms)
	case RetrySeconds:
		h.Set("Retry-After", whole)
	case RetryDate:
		h.Set("Retry-After", now.Add(wait).UTC().Format(http.TimeFormat))
	case RetryNone:
	}
}
