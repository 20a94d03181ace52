package proxy_test

import (
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/proxy"
)

// A request waits from its beginning to its first content, over all its attempts.
func TestWaitingRequestsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 1)
		usual(f, 100*time.Millisecond, 0)
		f.scripts["a"] = []scripted{{status: 200}, {hang: true}}
		began := time.Now()
		f.forwardTimed(new(proxy.Request), 0, 0)
		go f.forwardTimed(new(proxy.Request), 0, 0)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		w := f.proxy.Load.Waiting("m", time.Now())
		if w.Requests != 1 || w.Overdue != 0 || !w.Oldest.Equal(began) || !w.Answered.Equal(began) {
			t.Errorf("after 9 s: %+v", w)
		}
		time.Sleep(2 * time.Second)
		if w := f.proxy.Load.Waiting("m", time.Now()); w.Overdue != 1 {
			t.Errorf("after 11 s: %+v", w)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if w := f.proxy.Load.Waiting("m", time.Now()); w.Requests != 0 || !w.Oldest.IsZero() {
			t.Errorf("after its end: %+v", w)
		}
		if w := f.proxy.Load.Waiting("other", time.Now()); w != (proxy.Waiting{}) {
			t.Errorf("another model: %+v", w)
		}
	})
}
