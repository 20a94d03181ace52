package lease

import (
	"errors"
	"math"
	"testing"
	"time"
)

// desk is one account with its row, by hand: no chance, and answers when the
// test says so.
type desk struct {
	t       *testing.T
	a       *Account
	now     time.Time
	version string
	body    string
	fleet   int
	served  []Resolved
}

func newDesk(t *testing.T, limit int64) *desk {
	return &desk{t: t, a: &Account{Config: LimitConfig{Limit: limit}, ID: "me", Jitter: .5}, now: began, fleet: 1}
}

func (d *desk) moment() Moment {
	w := Minute.Index(d.now)
	return Moment{At: d.now, Window: w, LatestWindow: w, WindowAge: d.now.Sub(Minute.Begins(w)), Instances: d.fleet}
}

func (d *desk) take(n int64) Decision {
	d.t.Helper()
	answer, _ := d.a.Reserve(n, d.moment())
	return answer
}

// exchange makes the next exchange, well; false when there is none to make.
func (d *desk) exchange() (Step, bool) {
	d.t.Helper()
	step := d.a.Next(d.moment())
	for tries := 0; step.Action == Idle && !step.WakeAt.IsZero() && step.WakeAt.Sub(d.now) < time.Second && tries < 10; tries++ {
		d.now = step.WakeAt
		step = d.a.Next(d.moment())
	}
	switch step.Action {
	case Read:
		_ = d.a.RowRead(d.version, d.body, d.moment())
	case Write:
		if step.Version != d.version {
			d.a.WriteConflicted(d.moment(), 0)
			return step, true
		}
		d.version, d.body = d.version+"x", step.Body
		d.a.WriteAccepted(d.version, d.moment())
	case Idle:
		return step, false
	}
	return step, true
}

func (d *desk) settleDown() {
	d.t.Helper()
	for range 20 {
		_, more := d.exchange()
		d.served = append(d.served, d.a.Resolve(d.moment())...)
		if !more {
			return
		}
	}
	d.t.Fatal("the account never comes to rest")
}

func (d *desk) record() Record {
	d.t.Helper()
	r, err := Parse(d.body)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func TestFirstRequestAsksAndIsServed(t *testing.T) {
	d := newDesk(t, 10_000)
	if got := d.take(1000); got != Pending {
		t.Fatalf("nothing is known: %v", got)
	}
	d.settleDown()
	if len(d.served) != 1 || d.served[0].Decision != Granted {
		t.Fatalf("served %v", d.served)
	}
	if d.a.Settle(d.a.Window(), 1000, 400, d.moment()); d.a.Status(d.moment()).Remaining != 9600 {
		t.Errorf("after 400 of 10000: %+v", d.a.Status(d.moment()))
	}
}

func TestLostAnswerOfAWriteThatLandedLosesNothing(t *testing.T) {
	d := newDesk(t, 10_000)
	d.fleet = 100 // nothing is leased ahead
	d.take(1000)
	d.exchange() // reads
	step := d.a.Next(d.moment())
	d.version, d.body = "v2", step.Body // it lands …
	d.a.ExchangeFailed(d.moment(), 0)   // … and nobody hears of it
	d.settleDown()
	if len(d.served) != 1 || d.served[0].Decision != Granted || d.record().Granted != 1000 {
		t.Errorf("served %v, granted %d, want one lease of 1000", d.served, d.record().Granted)
	}
}

func TestLostWriteIsMadeAgainOnce(t *testing.T) {
	d := newDesk(t, 10_000)
	d.take(1000)
	d.exchange()
	step := d.a.Next(d.moment())
	d.a.ExchangeFailed(d.moment(), 0) // it never arrived, so far
	d.exchange()
	late := step
	if s, _ := d.exchange(); s.Action != Write {
		t.Fatalf("after a look that found nothing: %+v, want the write again", s)
	}
	if late.Version == d.version {
		t.Error("the first write could still land")
	}
	d.settleDown()
	if d.record().Granted != 1000 {
		t.Errorf("granted %d", d.record().Granted)
	}
}

func TestPoisonedRowIsReplacedByWhatIsKnown(t *testing.T) {
	for _, poison := range []string{`{"v":1,"w":`, `{"v":1,"w":99999999999,"g":0,"d":0}`, `{"v":1,"w":3,"g":-5,"d":0}`, `[]`, `{"v":0}`} {
		d := newDesk(t, 10_000)
		d.take(6000)
		d.settleDown()
		d.version, d.body = "poisoned", poison
		d.take(4000)
		if err := d.a.RowRead(d.version, d.body, d.moment()); !errors.Is(err, ErrInvalidRecord) {
			t.Errorf("%s: %v", poison, err)
		}
		d.settleDown()
		if r := d.record(); r.Granted < 6000 {
			t.Errorf("%s: replaced by %+v, which forgets what was spent", poison, r)
		}
		if got := d.take(4001); got == Granted {
			t.Errorf("%s: lets the limit be spent again", poison)
		}
	}
}

func TestRowOfANewerVersionIsReadAsFarAsItIsUnderstood(t *testing.T) {
	d := newDesk(t, 10_000)
	d.version, d.body = "v9", Record{V: 9, Window: Minute.Index(d.now), Granted: 9500}.String()
	d.take(1000)
	d.settleDown()
	if len(d.served) != 1 || d.served[0].Decision != Denied {
		t.Errorf("500 left: %v", d.served)
	}
	d.take(400)
	d.settleDown()
	if r := d.record(); r.V != 9 || r.Granted != 9900 {
		t.Errorf("written back as %+v", r)
	}
}

func TestNonsenseNeitherWrapsNorGoesNegative(t *testing.T) {
	d := newDesk(t, 10_000)
	for _, n := range []int64{math.MinInt64, -1, 0} {
		if got := d.take(n); got == TooLarge {
			t.Errorf("%d: %v", n, got)
		}
	}
	if got := d.take(math.MaxInt64); got != TooLarge {
		t.Errorf("largest number: %v", got)
	}
	d.settleDown()
	w := d.a.Window()
	for _, used := range []int64{math.MinInt64, -7, math.MaxInt64, math.MaxInt64} {
		d.a.Settle(w, 10, used, d.moment())
	}
	d.a.Settle(w-5, 0, math.MaxInt64, d.moment())
	d.now = d.now.Add(time.Second)
	d.settleDown()
	if s := d.a.Status(d.moment()); s.Remaining < 0 || s.Remaining > s.Limit {
		t.Errorf("standing %+v", s)
	}
	if got := d.take(1); got == Granted {
		t.Error("after usage beyond all numbers there is still something left")
	}
}

func TestExhaustionIsAnsweredWithoutTheTableAndLookedAtAgain(t *testing.T) {
	d := newDesk(t, 1000)
	d.take(1000)
	d.settleDown()
	for range 100 {
		if got := d.take(500); got != Denied {
			t.Fatalf("used up: %v", got)
		}
	}
	if step := d.a.Next(d.moment()); step.Action != Idle {
		t.Errorf("refusals within a refresh cost an exchange: %+v", step)
	}
	d.now = d.now.Add(600 * time.Millisecond)
	d.take(500)
	if step := d.a.Next(d.moment()); step.Action != Read {
		t.Errorf("a refusal on an old look asks for another: %+v", step)
	}
}

func TestWithoutTheTableTheFleetStaysAboutWithinTheLimit(t *testing.T) {
	const instances, limit = 50, 100_000
	total := 0
	for i := range instances {
		d := newDesk(t, limit)
		d.a.Jitter, d.fleet = float64(i)/instances, instances
		d.take(1500)
		for range 3 {
			d.now = d.now.Add(2 * time.Second)
			if step := d.a.Next(d.moment()); step.Action != Idle {
				d.a.ExchangeFailed(d.moment(), 0)
			}
		}
		served := d.a.Resolve(d.moment())
		if len(served) == 1 && served[0].Decision == Granted {
			total += 1500
		}
		for range 100 {
			if d.take(1500) == Granted {
				total += 1500
			}
		}
	}
	if total < limit*7/10 || total > limit*12/10 {
		t.Errorf("%d spent of %d by %d instances that cannot reach the table", total, limit, instances)
	}
}

func TestLateRefundIsWorthNothingAndLateBillIsBooked(t *testing.T) {
	d := newDesk(t, 10_000)
	d.fleet = 100 // nothing is leased ahead
	d.take(1000)
	d.settleDown()
	w := d.a.Window()
	d.now = d.now.Add(time.Minute)
	d.a.Settle(w, 1000, 100, d.moment())
	d.a.Settle(w, 500, 9900, d.moment())
	d.settleDown()
	if r := d.record(); r.Granted != 400 || r.Debt != 400 {
		t.Errorf("9400 more in a minute that had 9000 left: %+v", r)
	}
}

func TestUnbookedSpendingIsNeverMoreThanAnEvenShare(t *testing.T) {
	d := newDesk(t, 600_000)
	d.fleet = 200 // shares are small: nothing is leased ahead
	d.take(1000)
	d.settleDown()
	spent := int64(0)
	for range 100 {
		if d.take(1000) == Granted { // and nothing is booked
			spent += 1000
		}
	}
	if spent < 1000 || spent > 599_000/200 {
		t.Errorf("%d spent ahead of its booking, with 599000 left for 200 instances", spent)
	}
}

func TestRoomThatTheFleetIsSpendingIsNotSpentAgain(t *testing.T) {
	d := newDesk(t, 600_000)
	d.fleet = 20
	look := func(granted int64) {
		d.version += "x"
		d.body = Record{V: 1, Window: Minute.Index(d.now), Granted: granted}.String()
		_ = d.a.RowRead(d.version, d.body, d.moment())
	}
	d.a.Reserve(10, d.moment())
	look(0)
	d.now = d.now.Add(time.Second)
	look(500_000) // others spend 500,000 a second
	d.now = d.now.Add(300 * time.Millisecond)
	d.a.credit = 0
	d.a.waiters = nil
	if got := d.take(1000); got != Pending {
		t.Errorf("100000 were left 0.3 s ago, and the fleet spends 500000 a second: %v", got)
	}
}

func TestNewMinuteIsTakenForFreshOnlyWhileItIsYoung(t *testing.T) {
	for _, c := range []struct {
		into time.Duration
		want Decision
	}{{100 * time.Millisecond, Granted}, {45 * time.Second, Pending}} {
		d := newDesk(t, 600_000)
		d.fleet = 200
		d.take(1000)
		d.settleDown()
		d.now = Minute.Ends(Minute.Index(d.now)).Add(c.into)
		if got := d.take(1000); got != c.want {
			t.Errorf("%v into a minute of which nothing is known: %v, want %v", c.into, got, c.want)
		}
	}
}

func TestSpendingThatItsMinuteOutlivedIsBookedAllTheSame(t *testing.T) {
	d := newDesk(t, 600_000)
	d.fleet = 200
	d.take(1000)
	d.settleDown()
	if got := d.take(700); got != Granted {
		t.Fatalf("with room known: %v", got)
	}
	d.now = d.now.Add(time.Minute)
	d.settleDown()
	if r := d.record(); r.Spare != 600_000-1700 || r.Granted != 0 {
		t.Errorf("1700 spent in the minute before: %+v", r)
	}
}

func TestClockThatWasLostDoesNotTurnTheMinute(t *testing.T) {
	d := newDesk(t, 600_000)
	d.take(1000)
	d.settleDown()
	w := d.a.Window()
	lost := d.moment()
	lost.Window, lost.LatestWindow, lost.Estimated = w+5, w+5, true
	d.a.Reserve(1, lost)
	if got := d.a.Window(); got != w {
		t.Errorf("a clock that was set five minutes ahead turned the window %d to %d", w, got)
	}
	blind := newDesk(t, 600_000)
	early := blind.moment()
	early.Window, early.LatestWindow, early.Estimated = w+5, w+5, true
	blind.a.Reserve(1000, early)
	blind.settleDown()
	if got := blind.a.Window(); got != w {
		t.Errorf("before the table told the time it was window %d, then %d, want %d", w+5, got, w)
	}
}
