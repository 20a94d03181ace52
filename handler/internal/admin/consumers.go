package admin

import (
	"cmp"
	"slices"
	"strings"
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
	ResetMS   int64   `json:"resetMs"`          // until the limit is unused again
	UsedUp    bool    `json:"usedUp,omitempty"` // of a month: it refuses requests
}

func (o *Handler) consumers(minutes map[string]counts) []ConsumerStatus {
	limits := map[string][]LimitStatus{}
	if o.cfg.Quotas != nil {
		for _, l := range o.cfg.Quotas() {
			limits[l.Consumer] = append(limits[l.Consumer], LimitStatus{
				Limit: l.Limit, Model: l.Model, Amount: l.Amount, Used: l.Used, Remaining: l.Remaining, ResetMS: l.Reset.Milliseconds(), UsedUp: l.UsedUp,
			})
		}
	}
	var all []ConsumerStatus
	known := o.served.Load().Consumers
	for i := range known {
		name := known[i].Name
		all = append(all, ConsumerStatus{Name: name, Minute: minuteStatus(minutes[name]), Limits: limits[name], WarnAt: known[i].WarnAt})
	}
	slices.SortFunc(all, func(a, b ConsumerStatus) int {
		return cmp.Or(cmp.Compare(b.usedPercent(), a.usedPercent()), cmp.Compare(b.Minute.Tokens, a.Minute.Tokens), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// usedPercent is the use of the limit that is nearest to its end; below 0 = there
// is no limit.
func (c *ConsumerStatus) usedPercent() float64 {
	most := -1.0
	for _, l := range c.Limits {
		most = max(most, l.usedPercent())
	}
	return most
}

func (l LimitStatus) usedPercent() float64 {
	if l.Amount <= 0 {
		return 100
	}
	return 100 * l.Used / l.Amount
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
