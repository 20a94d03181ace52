package admin

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

// ConsumerStatus is a consumer's traffic in the last minute, and its limits.
type ConsumerStatus struct {
	Name   string        `json:"name"`
	Minute MinuteStatus  `json:"lastMinute"` // throttled: rejected by a quota
	Limits []LimitStatus `json:"limits,omitempty"`
	WarnAt []float64     `json:"warnAt,omitempty"` // percentages of a month's limit
}

// LimitStatus is one limit across all instances, as far as the answering instance
// knows.
type LimitStatus struct {
	Limit     string  `json:"limit"`           // "tokensPerMinute"
	Model     string  `json:"model,omitempty"` // "" = over all models
	Amount    float64 `json:"amount"`          // tokens, requests, or money in the currency of the prices
	Used      float64 `json:"used"`            // of a month, by requests that ended; of a minute all that is not left
	Remaining float64 `json:"remaining"`
	ResetMS   int64   `json:"resetMs"` // until the limit is unused again
}

func (o *Handler) consumers(now time.Time) []ConsumerStatus {
	limits := map[string][]LimitStatus{}
	if o.cfg.Quotas != nil {
		for _, l := range o.cfg.Quotas() {
			limits[l.Consumer] = append(limits[l.Consumer], LimitStatus{
				Limit: l.Limit, Model: l.Model, Amount: l.Amount, Used: l.Used, Remaining: l.Remaining, ResetMS: l.Reset.Milliseconds(),
			})
		}
	}
	var all []ConsumerStatus
	for i := range o.cfg.Consumers {
		name := o.cfg.Consumers[i].Name
		all = append(all, ConsumerStatus{Name: name, Minute: minuteStatus(o.cfg.Recent.consumers.sum(name, now)), Limits: limits[name], WarnAt: o.cfg.Consumers[i].WarnAt})
	}
	slices.SortFunc(all, func(a, b ConsumerStatus) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Key identifies a limit of a consumer.
func (l LimitStatus) Key() string { return l.Limit + " " + l.Model }

// Level is how much of the limit is used: "over", "near" or "well" below.
func (l LimitStatus) Level() string {
	switch used := l.usedPercent(); {
	case used >= 100:
		return "over"
	case used >= 80:
		return "near"
	}
	return "well"
}

func (l LimitStatus) usedPercent() float64 {
	if l.Amount <= 0 {
		return 100
	}
	return 100 * (l.Amount - l.Remaining) / l.Amount
}

// limitName is "tokens per minute" for "tokensPerMinute".
func limitName(limit string) string {
	var text strings.Builder
	for _, r := range limit {
		if unicode.IsUpper(r) {
			text.WriteByte(' ')
		}
		text.WriteRune(unicode.ToLower(r))
	}
	return text.String()
}
