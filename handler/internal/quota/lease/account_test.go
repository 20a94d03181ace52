package lease

import (
	"errors"
	"math"
	"testing"
	"time"
)

// rig is one account with its row: nothing random, and answers when the test
// gives them.
type rig struct {
	t       *testing.T
	a       *Account
	now     time.Time
	version string
	body    string
	fleet   int
	served  []Resolved
}

func newRig(t *testing.T, limit int64) *rig {
	return &rig{t: t, a: &Account{Config: LimitConfig{Limit: limit}, ID: "me", Jitter: .5}, now: began, fleet: 1}
}

func (r *rig) moment() Moment {
	w := Minute.Index(r.now)
	return Moment{At: r.now, Window: w, LatestWindow: w, WindowAge: r.now.Sub(Minute.Begins(w)), Instances: r.fleet}
}

func (r *rig) reserve(n int64) Decision {
	r.t.Helper()
	answer, _ := r.a.Reserve(n, r.moment())
	return answer
}

// exchange makes the next exchange, without faults; false when there is none.
func (r *rig) exchange() (Step, bool) {
	r.t.Helper()
	step := r.a.Next(r.moment())
	for tries := 0; step.Action == Idle && !step.WakeAt.IsZero() && step.WakeAt.Sub(r.now) < time.Second && tries < 10; tries++ {
		r.now = step.WakeAt
		step = r.a.Next(r.moment())
	}
	switch step.Action {
	case Read:
		_ = r.a.RowRead(r.version, r.body, r.moment())
	case Write:
		if step.Version != r.version {
			r.a.WriteConflicted(r.moment(), 0)
			return step, true
		}
		r.version, r.body = r.version+"x", step.Body
		r.a.WriteAccepted(r.version, r.moment())
	case Idle:
		return step, false
	}
	return step, true
}

func (r *rig) exchangeAll() {
	r.t.Helper()
	for range 20 {
		_, more := r.exchange()
		r.served = append(r.served, r.a.Resolve(r.moment())...)
		if !more {
			return
		}
	}
	r.t.Fatal("the account does not become idle")
}

func (r *rig) record() Record {
	r.t.Helper()
	record, err := Parse(r.body)
	if err != nil {
		r.t.Fatal(err)
	}
	return record
}

func TestFirstRequestWaitsForTheTable(t *testing.T) {
	r := newRig(t, 10_000)
	if got := r.reserve(1000); got != Pending {
		t.Fatalf("nothing is known: %v", got)
	}
	r.exchangeAll()
	if len(r.served) != 1 || r.served[0].Decision != Granted {
		t.Fatalf("served %v", r.served)
	}
	if r.a.Settle(r.a.Window(), 1000, 400, r.moment()); r.a.Status(r.moment()).Remaining != 9600 {
		t.Errorf("after 400 of 10000: %+v", r.a.Status(r.moment()))
	}
}

func TestLostAnswerOfALandedWriteLosesNothing(t *testing.T) {
	r := newRig(t, 10_000)
	r.fleet = 100 // nothing is leased ahead
	r.reserve(1000)
	r.exchange()
	step := r.a.Next(r.moment())
	r.version, r.body = "v2", step.Body // it lands
	r.a.ExchangeFailed(r.moment(), 0)   // and its answer is lost
	r.exchangeAll()
	if len(r.served) != 1 || r.served[0].Decision != Granted || r.record().Granted != 1000 {
		t.Errorf("served %v, granted %d, want one lease of 1000", r.served, r.record().Granted)
	}
}

func TestLostWriteIsRepeatedOnce(t *testing.T) {
	r := newRig(t, 10_000)
	r.reserve(1000)
	r.exchange()
	step := r.a.Next(r.moment())
	r.a.ExchangeFailed(r.moment(), 0) // it has not arrived yet
	r.exchange()
	late := step
	if s, _ := r.exchange(); s.Action != Write {
		t.Fatalf("after a read that found nothing: %+v, want the write again", s)
	}
	if late.Version == r.version {
		t.Error("the first write could still land")
	}
	r.exchangeAll()
	if r.record().Granted != 1000 {
		t.Errorf("granted %d", r.record().Granted)
	}
}

func TestInvalidRowIsReplacedByWhatIsKnown(t *testing.T) {
	for _, invalid := range []string{`{"v":1,"w":`, `{"v":1,"w":99999999999,"g":0,"d":0}`, `{"v":1,"w":3,"g":-5,"d":0}`, `[]`, `{"v":0}`} {
		r := newRig(t, 10_000)
		r.reserve(6000)
		r.exchangeAll()
		r.version, r.body = "invalid", invalid
		r.reserve(4000)
		if err := r.a.RowRead(r.version, r.body, r.moment()); !errors.Is(err, ErrInvalidRecord) {
			t.Errorf("%s: %v", invalid, err)
		}
		r.exchangeAll()
		if r := r.record(); r.Granted < 6000 {
			t.Errorf("%s: replaced by %+v, without what was spent", invalid, r)
		}
		if got := r.reserve(4001); got == Granted {
			t.Errorf("%s: the limit can be spent again", invalid)
		}
	}
}

func TestRowOfANewerVersionIsRead(t *testing.T) {
	r := newRig(t, 10_000)
	r.version, r.body = "v9", Record{V: 9, Window: Minute.Index(r.now), Granted: 9500}.String()
	r.reserve(1000)
	r.exchangeAll()
	if len(r.served) != 1 || r.served[0].Decision != Denied {
		t.Errorf("500 left: %v", r.served)
	}
	r.reserve(400)
	r.exchangeAll()
	if r := r.record(); r.V != 9 || r.Granted != 9900 {
		t.Errorf("written back as %+v", r)
	}
}

func TestExtremeAmountsNeitherOverflowNorGoNegative(t *testing.T) {
	r := newRig(t, 10_000)
	for _, n := range []int64{math.MinInt64, -1, 0} {
		if got := r.reserve(n); got == TooLarge {
			t.Errorf("%d: %v", n, got)
		}
	}
	if got := r.reserve(math.MaxInt64); got != TooLarge {
		t.Errorf("largest number: %v", got)
	}
	r.exchangeAll()
	w := r.a.Window()
	for _, used := range []int64{math.MinInt64, -7, math.MaxInt64, math.MaxInt64} {
		r.a.Settle(w, 10, used, r.moment())
	}
	r.a.Settle(w-5, 0, math.MaxInt64, r.moment())
	r.now = r.now.Add(time.Second)
	r.exchangeAll()
	if s := r.a.Status(r.moment()); s.Remaining < 0 || s.Remaining > s.Limit {
		t.Errorf("status %+v", s)
	}
	if got := r.reserve(1); got == Granted {
		t.Error("after usage beyond every limit something is left")
	}
}

func TestExhaustedLimitIsRefusedWithoutTheTable(t *testing.T) {
	r := newRig(t, 1000)
	r.reserve(1000)
	r.exchangeAll()
	for range 100 {
		if got := r.reserve(500); got != Denied {
			t.Fatalf("used up: %v", got)
		}
	}
	if step := r.a.Next(r.moment()); step.Action != Idle {
		t.Errorf("refusals within a refresh cost an exchange: %+v", step)
	}
	r.now = r.now.Add(600 * time.Millisecond)
	r.reserve(500)
	if step := r.a.Next(r.moment()); step.Action != Read {
		t.Errorf("a refusal with an old view: %+v, want a read", step)
	}
}

func TestFleetWithoutTheTableStaysNearTheLimit(t *testing.T) {
	const instances, limit = 50, 100_000
	total := 0
	for i := range instances {
		r := newRig(t, limit)
		r.a.Jitter, r.fleet = float64(i)/instances, instances
		r.reserve(1500)
		for range 3 {
			r.now = r.now.Add(2 * time.Second)
			if step := r.a.Next(r.moment()); step.Action != Idle {
				r.a.ExchangeFailed(r.moment(), 0)
			}
		}
		served := r.a.Resolve(r.moment())
		if len(served) == 1 && served[0].Decision == Granted {
			total += 1500
		}
		for range 100 {
			if r.reserve(1500) == Granted {
				total += 1500
			}
		}
	}
	if total < limit*7/10 || total > limit*12/10 {
		t.Errorf("%d spent of %d by %d instances without the table", total, limit, instances)
	}
}

func TestLateRefundsAndLateUsageAreBooked(t *testing.T) {
	r := newRig(t, 10_000)
	r.a.Config.Period = Month // which keeps what began in it
	r.fleet = 100             // nothing is leased ahead
	r.reserve(1000)
	r.exchangeAll()
	w := r.a.Window()
	r.now = r.now.Add(time.Minute)
	r.a.Settle(w, 1000, 100, r.moment())
	r.a.Settle(w, 500, 10_900, r.moment())
	r.exchangeAll()
	if r := r.record(); r.Granted != 500 || r.Debt != 500 {
		t.Errorf("9500 more, net, in a minute that had 9000 left: %+v", r)
	}
}

func TestUnbookedSpendingIsAtMostAnEvenShare(t *testing.T) {
	r := newRig(t, 600_000)
	r.fleet = 200 // shares are small: nothing is leased ahead
	r.reserve(1000)
	r.exchangeAll()
	spent := int64(0)
	for range 100 {
		if r.reserve(1000) == Granted { // without booking
			spent += 1000
		}
	}
	if spent < 1000 || spent > 599_000/200 {
		t.Errorf("%d spent ahead of its booking, with 599000 left for 200 instances", spent)
	}
}

func TestWhatTheFleetIsSpendingIsNotSpentAgain(t *testing.T) {
	r := newRig(t, 600_000)
	r.fleet = 20
	readRow := func(granted int64) {
		r.version += "x"
		r.body = Record{V: 1, Window: Minute.Index(r.now), Granted: granted}.String()
		_ = r.a.RowRead(r.version, r.body, r.moment())
	}
	r.a.Reserve(10, r.moment())
	readRow(0)
	r.now = r.now.Add(time.Second)
	readRow(500_000) // others spend 500,000 a second
	r.now = r.now.Add(300 * time.Millisecond)
	r.a.credit = 0
	r.a.waiters = nil
	if got := r.reserve(1000); got != Pending {
		t.Errorf("100000 were left 0.3 s ago, and the fleet spends 500000 a second: %v", got)
	}
}

func TestNewMinuteIsAssumedUnusedOnlyAtItsBeginning(t *testing.T) {
	for _, c := range []struct {
		into time.Duration
		want Decision
	}{{100 * time.Millisecond, Granted}, {45 * time.Second, Pending}} {
		r := newRig(t, 600_000)
		r.fleet = 200
		r.reserve(1000)
		r.exchangeAll()
		r.now = Minute.Ends(Minute.Index(r.now)).Add(c.into)
		if got := r.reserve(1000); got != c.want {
			t.Errorf("%v into a minute of which nothing is known: %v, want %v", c.into, got, c.want)
		}
	}
}

func TestSpendingOfAnEndedMinuteIsBooked(t *testing.T) {
	r := newRig(t, 600_000)
	r.fleet = 200
	r.reserve(1000)
	r.exchangeAll()
	if got := r.reserve(700); got != Granted {
		t.Fatalf("with enough left: %v", got)
	}
	r.a.Settle(r.a.Window(), 1700, 1700, r.moment())
	r.now = r.now.Add(time.Minute)
	r.exchangeAll()
	if r := r.record(); r.Spare != 600_000-1700 || r.Granted != 0 {
		t.Errorf("1700 spent in the minute before: %+v", r)
	}
}

// A stream is spent in the minute in which it ends: until then what it reserved
// counts in every minute that it reaches.
func TestWhatIsUnderWayCountsInTheNextMinute(t *testing.T) {
	r := newRig(t, 600_000)
	r.fleet = 200
	r.reserve(1000)
	r.exchangeAll()
	w := r.a.Window()
	r.now = r.now.Add(time.Minute)
	r.exchangeAll()
	if r := r.record(); r.Granted != 1000 || r.Spare != 600_000 {
		t.Errorf("under way: %+v", r)
	}
	r.a.Resize(w, 1000, 3000, r.moment())
	r.now = r.now.Add(time.Minute)
	r.exchangeAll()
	if r := r.record(); r.Granted != 3000 || r.Spare != 600_000 {
		t.Errorf("under way, and larger than expected: %+v", r)
	}
	r.a.Settle(w, 3000, 2500, r.moment())
	r.now = r.now.Add(5 * time.Second)
	r.exchangeAll()
	if r := r.record(); r.Granted != 2500 {
		t.Errorf("ended: %+v", r)
	}
	r.now = r.now.Add(time.Minute)
	r.reserve(10)
	r.exchangeAll()
	if r := r.record(); r.Granted != 10 || r.Spare != 597_500 {
		t.Errorf("the minute after: %+v", r)
	}
}

func TestUnknownClockDoesNotChangeTheWindow(t *testing.T) {
	r := newRig(t, 600_000)
	r.reserve(1000)
	r.exchangeAll()
	w := r.a.Window()
	lost := r.moment()
	lost.Window, lost.LatestWindow, lost.Estimated = w+5, w+5, true
	r.a.Reserve(1, lost)
	if got := r.a.Window(); got != w {
		t.Errorf("a clock set five minutes ahead changed the window %d to %d", w, got)
	}
	unsynced := newRig(t, 600_000)
	early := unsynced.moment()
	early.Window, early.LatestWindow, early.Estimated = w+5, w+5, true
	unsynced.a.Reserve(1000, early)
	unsynced.exchangeAll()
	if got := unsynced.a.Window(); got != w {
		t.Errorf("before the table's clock was known the window was %d, then %d, want %d", w+5, got, w)
	}
}

// What answers use beyond what they reserved counts against the part that an instance
// may spend without the table.
func TestUsageBeyondReservationsIsSpentOffline(t *testing.T) {
	r := newRig(t, 60_000)
	r.a.AssumeUnreachable()
	spent := int64(0)
	for range 100 {
		if r.reserve(10) == Granted {
			r.a.Settle(r.a.Window(), 10, 5000, r.moment())
			spent += 5000
		}
	}
	if spent > 60_000+5000 || spent < 55_000 {
		t.Errorf("%d were spent of 60,000 without the table", spent)
	}
}

// What is being returned is not used up: who needs it waits for the write.
func TestRequestWaitsForWhatIsBeingReturned(t *testing.T) {
	r := newRig(t, 10_000)
	r.reserve(6000)
	r.exchangeAll()
	w := r.a.Window()
	r.a.Settle(w, 6000, 300, r.moment())
	r.a.GiveBack(w, 5700, r.moment())
	r.now = r.now.Add(20 * time.Millisecond) // writes of a row have a pause between them
	step := r.a.Next(r.moment())
	if step.Action != Write {
		t.Fatalf("%+v, want the rest returned", step)
	}
	if d := r.reserve(5000); d != Pending {
		t.Errorf("%v while 5,700 are being returned, and 4,000 are left", d)
	}
	r.version, r.body = r.version+"x", step.Body
	r.a.WriteAccepted(r.version, r.moment())
	r.exchangeAll()
	if n := len(r.served); n == 0 || r.served[n-1].Decision != Granted {
		t.Errorf("served %+v, want the second request granted", r.served)
	}
}
