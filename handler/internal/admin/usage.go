package admin

import (
	"net/http"
	"time"

	"spillway/handler/internal/openai/usage"
)

// UsageRow is tokens and money of one hour, consumer, model and backend, over
// all instances. Summed over one of these, it holds that one's zero value.
type UsageRow struct {
	Hour      time.Time    // its beginning, UTC
	Consumer  string       // "" = nobody by name
	Model     string       // that served
	Backend   string       // that served
	Requests  int64        // that were served
	Unmetered int64        // of them those whose answer did not say what it used
	Tokens    usage.Tokens // as the backends reported them
	Cost      float64
	Currency  string
}

// Usage is the answer of /ops/api/usage: rows in ascending order of what they
// were asked by, and the sum of all, which has a line for each currency.
type Usage struct {
	From  time.Time   `json:"from"`
	To    time.Time   `json:"to"`
	By    []string    `json:"by"`
	Rows  []UsageLine `json:"rows"`
	Total []UsageLine `json:"total"`
}

// UsageLine is one row as it is sent.
type UsageLine struct {
	Hour       *time.Time `json:"hour,omitempty"`
	Consumer   *string    `json:"consumer,omitempty"`
	Model      *string    `json:"model,omitempty"`
	Backend    *string    `json:"backend,omitempty"`
	Requests   int64      `json:"requests"`
	Unmetered  int64      `json:"unmeteredRequests"`
	Prompt     int64      `json:"promptTokens"`
	Cached     int64      `json:"cachedTokens"`
	Completion int64      `json:"completionTokens"`
	Reasoning  int64      `json:"reasoningTokens"`
	Cost       float64    `json:"cost"`
	Currency   string     `json:"currency,omitempty"`
}

func (o *Ops) usage(w http.ResponseWriter, r *http.Request) {
	q, problem := readUsageQuery(r, o.cfg.Now())
	if problem != "" {
		fail(w, http.StatusBadRequest, "invalid_query", problem)
		return
	}
	rows, err := o.cfg.Books(r.Context(), q.from, q.to)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, "usage_unavailable", "The books cannot be read: "+shorten(err.Error())+". Try again when the table answers.")
		return
	}
	summed := sumBy(rows, q.by)
	if q.csv {
		sheet(w, q.by, summed)
		return
	}
	u := Usage{From: q.from, To: q.to, By: q.by, Rows: []UsageLine{}, Total: []UsageLine{}}
	for i := range summed {
		u.Rows = append(u.Rows, line(&summed[i], q.by))
	}
	for _, row := range sumBy(rows, nil) {
		u.Total = append(u.Total, line(&row, nil))
	}
	answer(w, http.StatusOK, u)
}
