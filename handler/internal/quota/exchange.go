package quota

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"spillway/handler/internal/quota/lease"
	"spillway/handler/internal/tablestore"
)

// recordColumn is the column of a row that holds the record.
const recordColumn = "q"

// wake sees to it that somebody tends an entry that has business with the table.
func (l *Limiter) wake(e *limitState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, at := e.account.HasWork(l.moment(e.period))
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

// exchangeUntilIdle does what the account wants done with the table until it wants nothing.
func (l *Limiter) exchangeUntilIdle(e *limitState) {
	for {
		step, ok := l.nextStep(e)
		if !ok {
			return
		}
		if step.Action != lease.Idle {
			l.exchange(e, step) // to its end, even when ours has come: half an exchange costs a lease
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

// nextStep is the step to take, or false when there is none to wait for.
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

// step is what the account would do now. The caller holds the entry's mu.
func (l *Limiter) step(e *limitState) lease.Step {
	m := l.moment(e.period)
	e.deliverDecisions(m)
	step := e.account.Next(m)
	e.exchanging, e.sleepUntil = step.Action != lease.Idle, step.WakeAt
	return step
}

// exchange makes one exchange with the table and tells the account.
func (l *Limiter) exchange(e *limitState, step lease.Step) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), timeout)
	defer cancel()
	row := tablestore.Row{
		Partition: e.partition, Key: e.key() + "-" + strconv.Itoa(step.Shard),
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

// finishExchange tells the account how an exchange ended, and those who wait.
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
	if shard, window, left, ok := e.account.Announcement(); ok {
		l.publish(e, shard, feedEntry{window, left})
	}
	e.deliverDecisions(m)
}

// reportError passes on what an operator should know, once per occasion. The caller
// holds the entry's mu.
func (l *Limiter) reportError(e *limitState, err error) {
	bad := err != nil
	if bad && !e.failing && l.cfg.OnError != nil {
		l.cfg.OnError(fmt.Errorf("keep %s of consumer %q: %w", e.label(), e.consumer, err))
	}
	e.failing = bad
}

// publish puts a notice on the board, beside the exchange that led to it.
func (l *Limiter) publish(e *limitState, shard int, n feedEntry) {
	text, err := json.Marshal(n)
	if err != nil || l.ctx.Err() != nil {
		return
	}
	l.running.Go(func() {
		if err := l.feed.Publish(l.ctx, e.columns[shard], string(text)); err != nil && l.cfg.OnError != nil && l.ctx.Err() == nil {
			l.cfg.OnError(fmt.Errorf("post %s of consumer %q: %w", e.label(), e.consumer, err))
		}
	})
}

// shutdownTimeout bounds the giving back at the end: the host does not wait long.
const shutdownTimeout = 2 * time.Second

// releaseAll gives back every lease and books every bill, as far as the table
// takes them in time.
func (l *Limiter) releaseAll() {
	until := l.now().Add(shutdownTimeout)
	var all sync.WaitGroup
	seats := make(chan struct{}, 16)
	for _, b := range l.consumers {
		for e := range b.entries() {
			seats <- struct{}{}
			all.Go(func() {
				defer func() { <-seats }()
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
