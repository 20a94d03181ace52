package admin

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheTableIsReadForThePageOnlyWhileSomebodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Now, []string{"gpt-4o"}, three())
		o := New(w.cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); o.Run(ctx) }()

		time.Sleep(time.Hour)
		synctest.Wait()
		if w.reads != 0 {
			t.Errorf("read %d times while nobody looked", w.reads)
		}
		for range 100 { // ten viewers, each once a second, for ten seconds
			o.look()
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if w.reads < 5 || w.reads > 6 {
			t.Errorf("read %d times in ten seconds, want once in two", w.reads)
		}
		if s := o.look(); s.Fleet == nil || s.Fleet.Revision != 43 || len(s.Fleet.Instances) != 3 || s.Fleet.AgeMS > 2100 {
			t.Errorf("known of the fleet: %+v", s.Fleet)
		}
		cancel()
		<-done
	})
}

func TestAReadingThatFailsLeavesTheLastOneStanding(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	w := newWorld(func() time.Time { return now }, []string{"gpt-4o"}, three())
	o := New(w.cfg)
	w.fleetErr = errUnplugged
	o.fleet.refresh(t.Context())
	if s := o.look(); s.Fleet != nil {
		t.Errorf("of a table never read, %+v is known", s.Fleet)
	}
	w.fleetErr = nil
	o.fleet.refresh(t.Context())
	w.fleetErr = errUnplugged
	now = now.Add(time.Minute)
	o.fleet.refresh(t.Context())
	s := o.look().Fleet
	if s == nil || s.AgeMS != 60_000 || s.Trouble == "" || s.Revision != 43 {
		t.Fatalf("a minute later: %+v", s)
	}
	if a, c := s.Instances[0], s.Instances[2]; !a.Answers || !a.Latest || a.SaidMS != 64_000 || c.Latest || c.Answers || c.OutageMS != 21_000 || c.BehindMS != 455 {
		t.Errorf("instances: %+v", s.Instances)
	}
}
