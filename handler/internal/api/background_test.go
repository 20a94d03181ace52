package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/api"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/metering"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// lateTable takes its time.
type lateTable struct {
	tablestore.Store
	late time.Duration
}

func (l lateTable) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	time.Sleep(l.late)
	return l.Store.Get(ctx, partition, key)
}

func (l lateTable) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	time.Sleep(l.late)
	return l.Store.Put(ctx, row)
}

// begins is an instance whose backend has begun a background response, which has ended
// when somebody asks for it.
type begins struct {
	*fenced
	handler http.Handler
	reports proxy.Stored // in its last state
	relayed int64        // bytes of text, before the request that begins it is over
	begun   func()       // called when the caller has the id, before that request is over
	seesEnd bool         // that request does
}

type begunAnswer struct {
	plainAnswer
	*begins
	begin bool
}

func (b *begins) Open(w http.ResponseWriter, r *proxy.Request) proxy.Answer {
	return begunAnswer{plainAnswer{w}, b, r.Operation.Name == "responses"}
}

func (a begunAnswer) Deliver(ctx context.Context, res *proxy.BackendResponse) proxy.Delivery {
	res.Hooks.Created([]operations.Object{{Kind: operations.KindResponse, ID: a.reports.ID}})
	d := a.plainAnswer.Deliver(ctx, res)
	d.Stored = a.reports
	if !a.begin {
		return d
	}
	a.begun()
	if d.TextBytes = a.relayed; a.seesEnd {
		d.Usage = a.reports.Usage
		return d
	}
	d.Stored = proxy.Stored{ID: a.reports.ID, Background: true}
	return d
}

// Locate finds the response at the backend.
func (b *begins) Locate(context.Context, []*balancer.Backend, *proxy.Request) (*balancer.Backend, error) {
	return &b.pools[0].Backends[0], nil
}

// ask sends a request until it is served.
func (b *begins) ask(t *testing.T, method, path, body string) {
	t.Helper()
	for range 100 {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, "/openai/v1/responses"+path, strings.NewReader(body))
		r.Header.Set("Api-Key", "k")
		if b.handler.ServeHTTP(w, r); w.Code == http.StatusOK {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("%s %s is not served", method, path)
}

// booked is the sum of all records so far.
func (b *begins) booked(sum usage.Tokens) usage.Tokens {
	for len(b.records) > 0 {
		for _, c := range (<-b.records).Charges {
			if c.Withdrawn {
				c.Tokens.Prompt, c.Tokens.Completion = -c.Tokens.Prompt, -c.Tokens.Completion
			}
			sum = sum.Add(c.Tokens)
		}
	}
	return sum
}

// Whoever sees the end of a background response first has it charged what it reports,
// once: the request that began it, or another one, before that is over and while the
// table has not taken the id.
func TestBackgroundResponsesAreChargedWhatTheyReport(t *testing.T) {
	for name, c := range map[string]struct {
		strict  bool
		table   bool
		late    time.Duration
		seesEnd bool
		polls   int  // before the request is over
		other   bool // on another instance
		again   int  // polls afterwards
	}{
		"in memory, polled meanwhile":                      {strict: true, polls: 2},
		"in memory, polled afterwards":                     {again: 2},
		"in memory, to the end":                            {seesEnd: true, again: 1},
		"in memory, to the end, polled meanwhile":          {seesEnd: true, polls: 1},
		"in the table, polled meanwhile":                   {strict: true, table: true, late: 10 * time.Millisecond, polls: 1},
		"in the table, polled meanwhile elsewhere":         {strict: true, table: true, late: 10 * time.Millisecond, polls: 1, other: true},
		"in the table, polled meanwhile, ids of any owner": {table: true, late: 10 * time.Millisecond, polls: 1, other: true},
		"in the table, to the end":                         {strict: true, table: true, late: 10 * time.Millisecond, seesEnd: true, again: 1, other: true},
		"in the table, to the end, polled elsewhere":       {strict: true, table: true, late: 10 * time.Millisecond, seesEnd: true, polls: 2, other: true},
		"in a slow table, polled meanwhile":                {strict: true, table: true, late: 700 * time.Millisecond, polls: 1},
		"in a slow table, polled meanwhile elsewhere":      {strict: true, table: true, late: 700 * time.Millisecond, polls: 1, other: true},
		"in a slow table, polled afterwards":               {strict: true, table: true, late: 700 * time.Millisecond, again: 1, other: true},
		"in a slow table, to the end":                      {strict: true, table: true, late: 700 * time.Millisecond, seesEnd: true, again: 1, other: true},
	} {
		t.Run(name, func(t *testing.T) {
			var ids tablestore.Store
			if c.table {
				ids = lateTable{new(memory.Store), c.late}
			}
			limits := new(memory.Store)
			one, two := newBegins(t), newBegins(t)
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour) // the clock begins with a month
				one.start(t, limits, ids, c.strict)
				asked := one
				if c.other {
					two.start(t, limits, ids, c.strict)
					asked = two
				}
				one.seesEnd = c.seesEnd
				one.begun = func() {
					for range c.polls {
						asked.ask(t, "GET", "/resp_1", "")
					}
				}
				one.ask(t, "POST", "", `{"model":"gpt-4o","input":"Hello","background":true,"stream":true,"max_output_tokens":900}`)
				for range c.again {
					asked.ask(t, "GET", "/resp_1", "")
				}
				time.Sleep(10 * time.Second) // what is owed is written
				if got := two.booked(one.booked(usage.Tokens{})); got != one.reports.Usage {
					t.Errorf("recorded: %+v, want %+v", got, one.reports.Usage)
				}
				wantGranted(t, limits, one.reports.Usage.Total())
			})
		})
	}
}

// Who sees the end of a background response while the table does not say what is due
// of it has it charged what it reports afterwards, without asking for it again.
func TestBackgroundResponsesAreChargedWhenTheTableIsBack(t *testing.T) {
	for name, c := range map[string]struct {
		begin, poll bool // the table is away then, for the instance that begins it
		seesEnd     bool // the request that begins it does
		other       bool // it is polled on an instance that has the table
	}{
		"away when it is polled":                        {poll: true},
		"away when it ends with its request":            {begin: true, poll: true, seesEnd: true},
		"away when it begins, polled once by the other": {begin: true, poll: true, other: true},
	} {
		t.Run(name, func(t *testing.T) {
			shared, limits := new(memory.Store), new(memory.Store)
			away := new(atomic.Bool)
			one, two := newBegins(t), newBegins(t)
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour) // the clock begins with a month
				one.start(t, limits, awayTable{shared, away}, false)
				asked := one
				if c.other {
					two.start(t, limits, shared, false)
					asked = two
				}
				one.seesEnd, one.begun = c.seesEnd, func() {}
				away.Store(c.begin)
				one.ask(t, "POST", "", `{"model":"gpt-4o","input":"Hello","background":true,"stream":true,"max_output_tokens":900}`)
				away.Store(c.poll)
				if !c.seesEnd {
					asked.ask(t, "GET", "/resp_1", "")
				}
				time.Sleep(20 * time.Second)
				got := two.booked(one.booked(usage.Tokens{}))
				if got.Completion != 900 {
					t.Errorf("recorded while the table is away: %+v, want the estimate", got)
				}
				away.Store(false)
				time.Sleep(2 * time.Minute)
				if got = two.booked(one.booked(got)); got != one.reports.Usage {
					t.Errorf("recorded when the table is back: %+v, want %+v", got, one.reports.Usage)
				}
				wantGranted(t, limits, one.reports.Usage.Total())
			})
		})
	}
}

// A response that is left is charged what was relayed of it, until its usage is known.
func TestBackgroundResponsesThatAreLeft(t *testing.T) {
	for _, table := range []bool{false, true} {
		t.Run(fmt.Sprint("in a table: ", table), func(t *testing.T) {
			one := newBegins(t)
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour)
				var ids tablestore.Store
				if table {
					ids = lateTable{new(memory.Store), 10 * time.Millisecond}
				}
				one.start(t, new(memory.Store), ids, true)
				one.expectOneToken()
				one.relayed, one.begun = 4000, func() {}
				one.ask(t, "POST", "", `{"model":"gpt-4o","input":"Hello","background":true,"stream":true,"max_output_tokens":9000}`)
				got := one.booked(usage.Tokens{})
				if got.Completion < 900 || got.Completion > 1100 {
					t.Errorf("recorded after a thousand tokens: %+v", got)
				}
				one.ask(t, "GET", "/resp_1", "")
				if got = one.booked(got); got != one.reports.Usage {
					t.Errorf("recorded in the end: %+v, want %+v", got, one.reports.Usage)
				}
			})
		})
	}
}

// expectOneToken has answers that were short before.
func (b *begins) expectOneToken() {
	short := &proxy.Request{Consumer: b.consumer, Operation: *operations.ByName("responses")}
	backend := &b.pools[0].Backends[0]
	served := &proxy.Result{Pool: b.pools[0], ServedBy: backend, Attempts: []proxy.Attempt{{Backend: backend, Status: http.StatusOK}}}
	served.Delivery = proxy.Delivery{Committed: true, Usage: usage.Tokens{Prompt: 1, Completion: 1}}
	for range 5 {
		b.Meter.Settle(nil, short, served)
	}
}

func newBegins(t *testing.T) *begins {
	c := &consumer.Consumer{Name: "x", TokensPerMonth: 1_000_000}
	b := &begins{fenced: newFenced(t, c, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1, Stateful: true}))}
	b.reports = proxy.Stored{ID: "resp_1", Background: true, Ended: true, Reported: true, Usage: usage.Tokens{Prompt: 90, Completion: 48}}
	b.Relay, b.Locator, b.handler = b, b, b.Handler()
	return b
}

// start gives the instance its limits and its ids, until the test ends.
func (b *begins) start(t *testing.T, limits, ids tablestore.Store, strict bool) {
	t.Helper()
	limiter := quota.New(quota.Config{Store: limits, Consumers: []*consumer.Consumer{b.consumer}})
	store := affinity.New(affinity.Config{Table: ids})
	b.Meter, b.Affinity, b.StrictIDs = metering.New(limiter, b.pools, nil), store, strict
	b.Corrected = func(rec *api.RequestRecord) { b.records <- rec }
	for _, run := range []func(context.Context){limiter.Run, store.Run} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
	}
}

// wantGranted checks that the limit of the month has granted so much, and that it was spent.
func wantGranted(t *testing.T, limits tablestore.Store, tokens int64) {
	t.Helper()
	rows, _, err := limits.List(t.Context(), "q|x", "", "")
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	var record struct{ G, S int64 }
	if err := json.Unmarshal([]byte(rows[0].Columns["q"]), &record); err != nil || record.G != tokens || record.S != tokens {
		t.Errorf("%+v %v, want %d granted and spent", record, err, tokens)
	}
}
