package e2e_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// twoConsumers is a fleet of one instance whose callers are the consumers "well" and
// "ill".
func twoConsumers(t *testing.T, backends []backend, env ...string) *fleet {
	t.Helper()
	return startFleet(t, fleetSetup{
		members: 1, backends: backends, env: append([]string{"SPILLWAY_AUTH=key", "WELL_KEY=" + teamKey, "ILL_KEY=" + illKey}, env...),
		document: map[string]any{"consumers": []map[string]any{{"name": "well", "keySetting": "WELL_KEY"}, {"name": "ill", "keySetting": "ILL_KEY"}}},
	})
}

// illRequests sends the ill consumer's streams at a rate, until the function that it
// returns is called.
func (f *fleet) illRequests(perSecond float64) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var ended sync.WaitGroup
	paced(ctx, &ended, perSecond, func(int) {
		ask(ctx, f.t, http.MethodPost, f.members[0].url(chatPath), helloSSE, "api-key", illKey)
	})
	return func() {
		cancel()
		ended.Wait()
	}
}

// What one consumer's requests do takes nothing from another, nor from other kinds of
// requests.
func TestHangingRequestsTakeNothingFromOthers(t *testing.T) {
	t.Parallel()
	f := twoConsumers(t, equals("a", "b"), "SPILLWAY_MAX_WAIT=5s", "SPILLWAY_RESPONSE_TIMEOUT=8s")
	t.Run("of one kind", func(t *testing.T) { f.afresh(t).wantOneKindAlone() })
	t.Run("of one consumer", func(t *testing.T) { f.afresh(t).wantNoTrialTaken() })
}

// A consumer whose requests all hang comes every 25 ms while every backend
// fails: the other's requests find out that one is well.
func (f *fleet) wantNoTrialTaken() {
	f.sim.Fault("b", simulator.Fault{Action: "503"})
	began := time.Now()
	outage := f.sim.Fault("a", simulator.Fault{Action: "503"})
	f.wantOpen(began, "a")
	streamed := true
	f.sim.Fault("a", simulator.Fault{Action: "hang-before-headers", Stream: &streamed})
	f.sim.ClearFault(outage)
	stop := f.illRequests(40)
	defer stop()
	samples := f.fireFor(2*time.Second, 20, f.members...)
	f.t.Logf("the other consumer: %s", got(samples))
	if failed := f.failures(samples); failed > 0 {
		f.t.Errorf("%d of %d requests of the other consumer were refused", failed, len(samples))
	}
}

// Requests without streaming hang until their timeout, while streams are served at
// once: no circuit opens.
func (f *fleet) wantOneKindAlone() {
	streamed := false
	for _, b := range []string{"a", "b"} {
		f.sim.Fault(b, simulator.Fault{Action: "hang-before-headers", Stream: &streamed})
	}
	began := time.Now()
	var slow sync.WaitGroup
	for range 6 {
		slow.Go(func() {
			if a := f.post(chatPath, hello, "api-key", illKey); a.status != http.StatusGatewayTimeout {
				f.t.Errorf("a request that hangs: %d %s", a.status, a.body)
			}
		})
	}
	served := 0
	for end := began.Add(3500 * time.Millisecond); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if a := f.post(chatPath, helloSSE, "api-key", teamKey); a.status != http.StatusOK {
			f.t.Errorf("a stream amid them: %d %s", a.status, a.body)
		}
		served++
	}
	slow.Wait()
	f.t.Logf("6 requests hung; %d streams were served", served)
	f.seen.mu.Lock()
	defer f.seen.mu.Unlock()
	for _, b := range []string{"a", "b"} {
		if _, ok := f.seen.first(began, f.column(b), tripped); ok {
			f.t.Errorf("the circuit of %s opened", b)
		}
	}
}

// One consumer fills the queue while the pool is throttled: the other's
// requests wait there as well, and are served.
func TestOneConsumerLeavesSeatsToTheOther(t *testing.T) {
	soakOnly(t)
	f := twoConsumers(t, equals("a"), "SPILLWAY_MAX_WAIT=10s")
	f.wantServed(1, "a")
	f.sim.Fault("a", simulator.Fault{Action: "429-token", For: 4 * time.Second})
	f.members[0].send() // the instance knows
	var flood sync.WaitGroup
	for range 1100 {
		flood.Go(func() {
			ask(t.Context(), t, http.MethodPost, f.members[0].url(chatPath), helloSSE, "api-key", illKey)
		})
	}
	time.Sleep(time.Second)
	samples := f.atOnce(200)
	flood.Wait()
	t.Logf("the other consumer: %s", got(samples))
	if failed := f.failures(samples); failed > 0 {
		t.Errorf("%d of 200 requests of the other consumer were refused", failed)
	}
}
