package quota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/quota/lease"
	"spillway/handler/internal/tablestore"
)

// Warning says that a consumer has used so much of a month's limit. It is given
// once for the whole fleet.
type Warning struct {
	ID       string    `json:"id"` // the same in every delivery
	Consumer string    `json:"consumer"`
	Model    string    `json:"model,omitempty"` // "" = over all models
	Limit    string    `json:"limit"`           // "budgetPerMonth"
	Mark     float64   `json:"mark"`            // the percentage that was reached, as configured
	Percent  float64   `json:"percent"`         // what is used
	Used     float64   `json:"used"`            // tokens, or money in the currency of the prices
	Amount   float64   `json:"amount"`          // the limit
	Month    string    `json:"month"`           // "2026-11", UTC
	Resets   time.Time `json:"resets"`
}

// warnedMark is what the fleet has been warned of, in the table.
type warnedMark struct {
	Window    int64   `json:"w"`
	Mark      float64 `json:"m"`
	Delivered bool    `json:"d,omitempty"` // to the webhook
	At        int64   `json:"t,omitempty"` // Unix seconds, of the instance that delivers
}

const (
	warningColumn   = "w"
	warningInterval = time.Second
	// redelivery is after which time another instance delivers what has not been
	// delivered: the first may have crashed.
	redelivery = 15 * time.Minute
	// nearlyUsed is the percentage from which on a limit that refuses a request
	// counts as used up: what is left is smaller than a request.
	nearlyUsed = 95
)

// Warnings is who is warned. All fields are optional.
type Warnings struct {
	// Report is called with each warning by the one instance that gives it.
	Report func(w *Warning)
	// Deliver hands the warning to somebody outside, and retries until ctx is done;
	// nil = nobody.
	Deliver func(ctx context.Context, w *Warning) error
}

// warn checks the months' limits until ctx is done.
func (l *Limiter) warn(ctx context.Context) {
	tick := time.NewTicker(warningInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l.feed.idle() {
			continue // nothing is spent
		}
		now := l.current.Load()
		for _, c := range now.consumers {
			if b := now.limits[c.Name]; b != nil && len(c.WarnAt) > 0 {
				for e := range b.entries() {
					l.checkMark(ctx, c, e)
				}
			}
		}
	}
}

// checkMark gives the warning that is due, unless another instance gives it.
func (l *Limiter) checkMark(ctx context.Context, c *consumer.Consumer, e *limitState) {
	if e.period != lease.Month {
		return
	}
	w, window := l.warningDue(c, e)
	now := l.now()
	if w.Mark == 0 || e.warned.Window == window && e.warned.Mark >= w.Mark && (e.warned.Delivered || l.cfg.Warnings.Deliver == nil) || w.Mark == e.warnFor && now.Before(e.warnAgain) {
		return
	}
	e.warnFor, e.warnAgain = w.Mark, now.Add(time.Minute)
	row, known, err := l.readMark(ctx, e)
	if err != nil {
		return // the table is away: later
	}
	e.warned = known
	first := known.Window != window || known.Mark < w.Mark
	late := !first && !known.Delivered && l.cfg.Warnings.Deliver != nil && now.Sub(time.Unix(known.At, 0)) > redelivery
	if !first && !late {
		return
	}
	if !first {
		w.Mark = known.Mark
	}
	w.ID = fmt.Sprintf("%s/%s/%s/%g", c.Name, e.key(), w.Month, w.Mark)
	mark := warnedMark{Window: window, Mark: w.Mark, At: now.Unix()}
	if row.Version, err = l.writeMark(ctx, row, mark); err != nil {
		e.warnAgain = now.Add(warningInterval) // another instance was first, or the outcome is unknown
		return
	}
	e.warned = mark
	if first && l.cfg.Warnings.Report != nil {
		l.cfg.Warnings.Report(&w)
	}
	l.deliver(ctx, w, row, mark)
}

// warningDue is the highest mark that the limit has reached; Mark is 0 when there
// is none.
func (l *Limiter) warningDue(c *consumer.Consumer, e *limitState) (w Warning, window int64) {
	e.mu.Lock()
	s := e.account.Status(l.moment(e.period))
	usedUp := e.usedUp == s.Window
	e.mu.Unlock()
	percent := 100 * float64(s.Spent) / float64(s.Limit)
	if usedUp {
		percent = max(percent, 100)
	}
	begins := e.period.Begins(s.Window)
	w = Warning{
		Consumer: c.Name, Model: e.model, Limit: e.name, Percent: percent, Used: e.unit.amount(s.Spent), Amount: e.unit.amount(s.Limit),
		Month: begins.Format("2006-01"), Resets: e.period.Ends(s.Window),
	}
	for _, mark := range c.WarnAt {
		if percent >= mark {
			w.Mark = max(w.Mark, mark)
		}
	}
	return w, s.Window
}

// readMark reads what the fleet has been warned of.
func (l *Limiter) readMark(ctx context.Context, e *limitState) (row tablestore.Row, known warnedMark, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	key := "warned-" + e.key()
	row, _, err = l.cfg.Store.Get(ctx, e.partition, key)
	if errors.Is(err, tablestore.ErrNotFound) {
		return tablestore.Row{Partition: e.partition, Key: key}, known, nil
	}
	_ = json.Unmarshal([]byte(row.Columns[warningColumn]), &known) // what cannot be read is replaced
	return row, known, err
}

func (l *Limiter) writeMark(ctx context.Context, row tablestore.Row, mark warnedMark) (tablestore.Version, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	text, err := json.Marshal(mark)
	if err != nil {
		return "", err
	}
	row.Columns = map[string]string{warningColumn: string(text)}
	version, _, err := l.cfg.Store.Put(ctx, row)
	return version, err
}

// deliver hands the warning on in the background, and records that it arrived.
func (l *Limiter) deliver(ctx context.Context, w Warning, row tablestore.Row, mark warnedMark) {
	if l.cfg.Warnings.Deliver == nil {
		return
	}
	l.running.Go(func() {
		if l.cfg.Warnings.Deliver(ctx, &w) != nil {
			return // the process ends; another instance delivers
		}
		mark.Delivered = true
		_, _ = l.writeMark(ctx, row, mark) // otherwise it is delivered again: its id is the same
	})
}
