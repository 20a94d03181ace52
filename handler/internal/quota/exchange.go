package quota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"spillway/handler/internal/quota/lease"
	"spillway/handler/internal/tablestore"
)

// recordColumn is the column of a row that holds the record.
const recordColumn = "q"

// wake starts or wakes the goroutine of a limit that has an exchange to make.
func (l *Limiter) wake(e *limitState) { l.wakeAt(e, l.moment(e.period)) }

// wakeAt is wake at this moment of the limit's period.
func (l *Limiter) wakeAt(e *limitState, m lease.Moment) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, at := e.account.HasWork(m)
	switch {
	case !now && at.IsZero() || e.exchanging:
		return
	case !e.running:
		if l.ctx.Err() == nil {
			e.running = true
			l.running.Go(func() { l.exchangeUntilIdle(e) })
		}
	case now || e.sleepUntil.IsZero() || at.Before(e.sleepUntil):
		select {
		case e.wakeup <- struct{}{}:
		default:
		}
	}
}

// exchangeUntilIdle makes the exchanges that the account wants until it wants
// none.
func (l *Limiter) exchangeUntilIdle(e *limitState) {
	for {
		step, ok := l.nextStep(e)
		if !ok {
			return
		}
		if step.Action != lease.Idle {
			l.exchange(e, step) // to its end, even at shutdown: half an exchange costs a lease
			continue
		}
		timer := time.NewTimer(step.WakeAt.Sub(l.now()))
		select {
		case <-timer.C:
		case <-e.wakeup:
		case <-l.ctx.Done():
		}
		timer.Stop()
	}
}

// nextStep returns the next step, or false when there is none to wait for.
func (l *Limiter) nextStep(e *limitState) (lease.Step, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.ctx.Err() != nil {
		e.running = false
		return lease.Step{}, false
	}
	step := l.step(e)
	e.running = step.Action != lease.Idle || !step.WakeAt.IsZero()
	return step, e.running
}

// step returns what the account would do now. The caller holds e.mu.
func (l *Limiter) step(e *limitState) lease.Step {
	m := l.moment(e.period)
	e.deliverDecisions(m)
	step := e.account.Next(m)
	e.exchanging, e.sleepUntil = step.Action != lease.Idle, step.WakeAt
	return step
}

// exchange makes one exchange with the table and passes its outcome to the
// account.
func (l *Limiter) exchange(e *limitState, step lease.Step) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), timeout)
	defer cancel()
	row := tablestore.Row{
		Partition: e.partition, Key: e.rowKey(step.Shard),
		Version: tablestore.Version(step.Version), Columns: map[string]string{recordColumn: step.Body},
	}
	var reply tablestore.Response
	var err error
	sent := l.now()
	if step.Action == lease.Read {
		row, reply, err = l.cfg.Store.Get(ctx, row.Partition, row.Key)
	} else {
		row.Version, reply, err = l.cfg.Store.Put(ctx, row)
	}
	l.clock.sample(reply.Date, sent, l.now())
	l.finishExchange(e, step, row, err)
}

// rowKey is the key of the row of a shard.
func (e *limitState) rowKey(shard int) string {
	key := e.key() + "-" + strconv.Itoa(shard)
	if e.caller != "" {
		key = e.caller + "-" + key
	}
	return key
}

// finishExchange passes the outcome of an exchange to the account, and
// decisions to the requests that wait.
func (l *Limiter) finishExchange(e *limitState, step lease.Step, row tablestore.Row, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := l.moment(e.period)
	e.exchanging = false
	switch {
	case step.Action == lease.Read && errors.Is(err, tablestore.ErrNotFound):
		err = e.account.RowRead("", "", m)
	case step.Action == lease.Read && err == nil:
		err = e.account.RowRead(string(row.Version), row.Columns[recordColumn], m)
	case err == nil:
		e.account.WriteAccepted(string(row.Version), m)
	case step.Action == lease.Write && errors.Is(err, tablestore.ErrConflict):
		err = nil
		e.account.WriteConflicted(m, l.cfg.Rand())
	default:
		e.account.ExchangeFailed(m, l.cfg.Rand())
	}
	l.reportError(e, err)
	if shard, window, left, ok := e.account.Announcement(); ok && len(e.columns) > 0 {
		l.publish(e, shard, feedEntry{window, left})
	}
	e.deliverDecisions(m)
}

// reportError reports the first of a series of errors. The caller holds e.mu.
func (l *Limiter) reportError(e *limitState, err error) {
	failed := err != nil
	if failed && !e.failing && l.cfg.OnError != nil {
		l.cfg.OnError(fmt.Errorf("sync %s of consumer %q: %w", e.label(), e.consumer, err))
	}
	e.failing = failed
}

// publish writes an entry to the feed, in the background.
func (l *Limiter) publish(e *limitState, shard int, entry feedEntry) {
	text, err := json.Marshal(entry)
	if err != nil || l.ctx.Err() != nil {
		return
	}
	l.running.Go(func() {
		if err := l.feed.Publish(l.ctx, e.columns[shard], string(text)); err != nil && l.cfg.OnError != nil && l.ctx.Err() == nil {
			l.cfg.OnError(fmt.Errorf("publish %s of consumer %q: %w", e.label(), e.consumer, err))
		}
	})
}

// shutdownTimeout bounds the return of leases at shutdown.
const shutdownTimeout = 2 * time.Second

// releaseAll returns every lease and books all spending, as far as the table
// takes them in time.
func (l *Limiter) releaseAll() {
	until := l.now().Add(shutdownTimeout)
	var all sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, b := range l.current.Load().limits {
		for _, e := range slices.AppendSeq(b.callers.all(), b.entries()) {
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				l.release(e, until)
			})
		}
	}
	all.Wait()
}

func (l *Limiter) release(e *limitState, until time.Time) {
	e.mu.Lock()
	e.account.Release(l.moment(e.period))
	step := l.step(e)
	e.mu.Unlock()
	for l.now().Before(until) && (step.Action != lease.Idle || !step.WakeAt.IsZero()) {
		if step.Action == lease.Idle {
			time.Sleep(min(step.WakeAt.Sub(l.now()), until.Sub(l.now())))
		} else {
			l.exchange(e, step)
		}
		e.mu.Lock()
		step = l.step(e)
		e.mu.Unlock()
	}
}
