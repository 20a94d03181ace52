package admin

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestFleetIsReadOnlyWhileStatusIsRequested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeFleet(time.Now, []string{"gpt-4o"}, threeBackends())
		o := New(w.cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); o.Run(ctx) }()

		time.Sleep(time.Hour)
		synctest.Wait()
		if w.reads != 0 {
			t.Errorf("read %d times without a request for the status", w.reads)
		}
		for range 100 { // ten viewers, each once a second, for ten seconds
			o.refresh(ctx)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if w.reads < 5 || w.reads > 6 {
			t.Errorf("read %d times in ten seconds, want once in two", w.reads)
		}
		if s := o.currentStatus(); s.Fleet == nil || s.Fleet.Revision != 43 || len(s.Fleet.Instances) != 3 || s.Fleet.AgeMS > 2100 {
			t.Errorf("known of the fleet: %+v", s.Fleet)
		}
		cancel()
		<-done
	})
}

func TestFailedFleetReadKeepsTheLastOne(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	w := newFakeFleet(func() time.Time { return now }, []string{"gpt-4o"}, threeBackends())
	o := New(w.cfg)
	w.fleetErr = errTableUnreachable
	o.fleet.refresh(t.Context())
	if s := o.currentStatus(); s.Fleet != nil {
		t.Errorf("of a table never read, %+v is known", s.Fleet)
	}
	w.fleetErr = nil
	o.fleet.refresh(t.Context())
	w.fleetErr = errTableUnreachable
	now = now.Add(time.Minute)
	o.fleet.refresh(t.Context())
	s := o.currentStatus().Fleet
	if s == nil || s.AgeMS != 60_000 || s.Error == "" || s.Revision != 43 {
		t.Fatalf("a minute later: %+v", s)
	}
	if a, c := s.Instances[0], s.Instances[2]; !a.ThisInstance || !a.Latest || a.LastSeenMS != 64_000 || c.Latest || c.ThisInstance || c.OutageMS != 21_000 || c.BehindMS != 455 {
		t.Errorf("instances: %+v", s.Instances)
	}
}
