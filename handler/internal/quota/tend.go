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

// bucket is the column of a row that holds the record.
const bucket = "q"

// stir sees to it that somebody tends an entry that has business with the table.
func (l *Ledger) stir(e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, at := e.account.Wants(l.moment(e.period))
	switch {
	case !now && at.IsZero() || e.talking:
		return
	case !e.tended:
		if l.life.Err() == nil {
			e.tended = true
			l.running.Go(func() { l.tend(e) })
		}
	case now || e.rest.IsZero() || at.Before(e.rest):
		select {
		case e.kicked <- struct{}{}:
		default:
		}
	}
}

// tend does what the account wants done with the table until it wants nothing.
func (l *Ledger) tend(e *entry) {
	for {
		step, ok := l.next(e)
		if !ok {
			return
		}
		if step.Do != lease.Rest {
			l.exchange(e, step) // to its end, even when ours has come: half an exchange costs a lease
			continue
		}
		timer := time.NewTimer(step.At.Sub(l.now()))
		select {
		case <-timer.C:
		case <-e.kicked:
		case <-l.life.Done():
		}
		timer.Stop()
	}
}

// next is the step to take, or false when there is none to wait for.
func (l *Ledger) next(e *entry) (lease.Step, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.life.Err() != nil {
		e.tended = false
		return lease.Step{}, false
	}
	step := l.step(e)
	e.tended = step.Do != lease.Rest || !step.At.IsZero()
	return step, e.tended
}

// step is what the account would do now. The caller holds the entry's mu.
func (l *Ledger) step(e *entry) lease.Step {
	m := l.moment(e.period)
	e.deliver(m)
	step := e.account.Next(m)
	e.talking, e.rest = step.Do != lease.Rest, step.At
	return step
}

// exchange makes one exchange with the table and tells the account.
func (l *Ledger) exchange(e *entry, step lease.Step) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.life), timeout)
	defer cancel()
	row := tablestore.Row{
		Partition: e.partition, Key: e.key() + "-" + strconv.Itoa(step.Shard),
		Version: tablestore.Version(step.Version), Columns: map[string]string{bucket: step.Body},
	}
	var reply tablestore.Reply
	var err error
	sent := l.now()
	if step.Do == lease.Read {
		row, reply, err = l.cfg.Store.Get(ctx, row.Partition, row.Key)
	} else {
		row.Version, reply, err = l.cfg.Store.Put(ctx, row)
	}
	l.clock.sample(reply.Date, sent, l.now())
	l.took(e, step, row, err)
}

// took tells the account how an exchange ended, and those who wait.
func (l *Ledger) took(e *entry, step lease.Step, row tablestore.Row, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := l.moment(e.period)
	e.talking = false
	switch {
	case step.Do == lease.Read && errors.Is(err, tablestore.ErrNotFound):
		err = e.account.DidRead("", "", m)
	case step.Do == lease.Read && err == nil:
		err = e.account.DidRead(string(row.Version), row.Columns[bucket], m)
	case err == nil:
		e.account.DidWrite(string(row.Version), m)
	case step.Do == lease.Write && errors.Is(err, tablestore.ErrConflict):
		err = nil
		e.account.Conflicted(m, l.cfg.Chance())
	default:
		e.account.Failed(m, l.cfg.Chance())
	}
	l.tell(e, err)
	if shard, window, left, ok := e.account.Notice(); ok {
		l.post(e, shard, notice{window, left})
	}
	e.deliver(m)
}

// tell passes on what an operator should know, once per occasion. The caller
// holds the entry's mu.
func (l *Ledger) tell(e *entry, err error) {
	bad := err != nil
	if bad && !e.troubled && l.cfg.Trouble != nil {
		l.cfg.Trouble(fmt.Errorf("keep %s of consumer %q: %w", e.label(), e.who, err))
	}
	e.troubled = bad
}

// post puts a notice on the board, beside the exchange that led to it.
func (l *Ledger) post(e *entry, shard int, n notice) {
	text, err := json.Marshal(n)
	if err != nil || l.life.Err() != nil {
		return
	}
	l.running.Go(func() {
		if err := l.board.Post(l.life, e.columns[shard], string(text)); err != nil && l.cfg.Trouble != nil && l.life.Err() == nil {
			l.cfg.Trouble(fmt.Errorf("post %s of consumer %q: %w", e.label(), e.who, err))
		}
	})
}

// farewell bounds the giving back at the end: the host does not wait long.
const farewell = 2 * time.Second

// returnAll gives back every lease and books every bill, as far as the table
// takes them in time.
func (l *Ledger) returnAll() {
	until := l.now().Add(farewell)
	var all sync.WaitGroup
	seats := make(chan struct{}, 16)
	for _, b := range l.books {
		for e := range b.entries() {
			seats <- struct{}{}
			all.Go(func() {
				defer func() { <-seats }()
				l.giveBack(e, until)
			})
		}
	}
	all.Wait()
}

func (l *Ledger) giveBack(e *entry, until time.Time) {
	e.mu.Lock()
	e.account.Release(l.moment(e.period))
	step := l.step(e)
	e.mu.Unlock()
	for l.now().Before(until) && (step.Do != lease.Rest || !step.At.IsZero()) {
		if step.Do == lease.Rest {
			time.Sleep(min(step.At.Sub(l.now()), until.Sub(l.now())))
		} else {
			l.exchange(e, step)
		}
		e.mu.Lock()
		step = l.step(e)
		e.mu.Unlock()
	}
}
