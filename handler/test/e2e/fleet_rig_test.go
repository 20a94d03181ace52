package e2e_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/storetest"
)

// fleet is some instances of the staged binary, each a process of its own with
// its own proxy to the one table, before one simulated service.
type fleet struct {
	t       *testing.T
	sim     *simulator.Service
	seen    *tableHistory
	members []*member
	desk    *tableProxy // the operator's, always clear
	setup   fleetSetup
}

// fleetSetup is what a fleet is made of; zero values are plain.
type fleetSetup struct {
	members  int
	backends []backend
	document map[string]any // merged over the pool document
	env      []string
	faults   tableFaults
	skewed   bool                    // in a soak, every second member's wall clock is wrong: such a program takes long to build
	fronts   map[string]*networkPath // by backend: what the instances reach instead of it
}

// startFleet brings everything up and waits until all instances listen and
// have read the table.
func startFleet(t *testing.T, s fleetSetup) *fleet {
	t.Helper()
	emulator := storetest.StartAzurite(t)
	f := &fleet{t: t, setup: s, seen: newHistory(s.members + 1)}
	list := resources(s.backends)
	for i := range list {
		list[i].Keys = nil
		for n := range s.members + 1 {
			list[i].Keys = append(list[i].Keys, memberKey(n))
		}
	}
	f.sim = simulator.Start(t, simulator.Config{Resources: list})
	for name, front := range s.fronts {
		front.open(t, f.sim.URL(name))
	}
	f.desk = openTableProxy(t, f.seen, s.members, emulator.ConnectionString)
	for n := range s.members {
		w := openTableProxy(t, f.seen, n, emulator.ConnectionString)
		w.set(s.faults)
		f.members = append(f.members, f.newMember(n, w))
	}
	var under sync.WaitGroup
	for _, m := range f.members {
		under.Go(m.start)
	}
	under.Wait()
	if t.Failed() {
		t.FailNow()
	}
	f.awake(f.members...)
	f.within(time.Minute, "every instance has met the table", func() bool {
		return !slices.ContainsFunc(f.members, func(m *member) bool { return f.seen.counts[m.n].answered == 0 })
	})
	return f
}

// memberKey is the backend key of an instance, which identifies its requests in
// the simulated service's journal.
func memberKey(n int) string { return fmt.Sprintf("%s-%03d", backendKey, n) }

// memberOf is whose request an entry of the journal is.
func memberOf(e *simulator.Entry) int { return memberOfKey(e.Header.Get("Api-Key")) }

// memberOfKey is the instance whose key of a backend it is; -1 = none.
func memberOfKey(key string) int {
	n := -1
	_, _ = fmt.Sscanf(strings.TrimPrefix(key, backendKey), "-%d", &n)
	return n
}

// newMember is an instance that is not started yet.
func (f *fleet) newMember(n int, w *tableProxy) *member {
	doc := f.document()
	m := &member{t: f.t, n: n, name: fmt.Sprintf("instance-%02d", n), way: w, program: stagedProgram()}
	m.env = append([]string{"SPILLWAY_CONFIG=" + doc, "BACKEND_KEY=" + memberKey(n), "WEBSITE_POD_NAME=" + m.name, "SPILLWAY_STATE=" + w.connection()}, f.setup.env...)
	if _, long := soaking(f.t); long && f.setup.skewed && n%2 == 1 {
		m.program = skewedProgram(f.t)
		m.env = append(m.env, skewOf(n, f.setup.members))
	}
	return m
}

// document is the pool document of all instances, and of the operator.
func (f *fleet) document() string {
	doc := document(f.t, f.sim, setup{backends: f.setup.backends, document: f.setup.document})
	for name := range f.setup.fronts {
		doc = strings.ReplaceAll(doc, `"`+f.sim.URL(name)+`"`, `"`+f.endpoint(name)+`"`)
	}
	return doc
}

// endpoint is where the instances reach a backend.
func (f *fleet) endpoint(backend string) string {
	if front := f.setup.fronts[backend]; front != nil {
		return front.url
	}
	return f.sim.URL(backend)
}

// column is that of a backend's record in the shared row.
func (f *fleet) column(backend string) string { return columnOf(f.endpoint(backend)) }

// awake has each instance think that there is traffic, without a request to
// any backend.
func (f *fleet) awake(members ...*member) {
	for _, m := range members {
		ask(f.t.Context(), f.t, "GET", m.url("/ops/api/status"), "")
	}
}

// backends runs `spillway backends` as an operator would.
func (f *fleet) backends(args ...string) string {
	f.t.Helper()
	out, errs, code := command(f.t, []string{"SPILLWAY_CONFIG=" + f.document(), "BACKEND_KEY=-", "SPILLWAY_AUTH=none", "SPILLWAY_STATE=" + f.desk.connection()}, append([]string{"backends"}, args...)...)
	if code != 0 {
		f.t.Fatalf("backends %v: exit code %d: %s", args, code, errs)
	}
	return out
}

// within waits until the condition holds of what the proxies have seen; it is
// checked under their lock, after each exchange.
func (f *fleet) within(d time.Duration, what string, holds func() bool) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), d)
	defer cancel()
	if !f.seen.await(ctx, holds) {
		f.t.Fatalf("not within %v: %s", d, what)
	}
}

// sized is a number for the long form of a test, or one for the short form,
// which is to cost few processes and seconds.
func sized(t *testing.T, long, short int) int {
	t.Helper()
	if _, ok := soaking(t); ok {
		return long
	}
	return short
}

// soaking is how long the long form may take; false in the short one.
func soaking(t *testing.T) (time.Duration, bool) {
	t.Helper()
	text := os.Getenv("SPILLWAY_SOAK")
	if text == "" {
		return 0, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SPILLWAY_SOAK: %v: write a duration such as 10m", err)
	}
	return d, true
}

// soakOnly skips a test that measures real time, or needs much of it, outside
// make soak: on a busy machine its bounds are about the machine, not about the program.
func soakOnly(t *testing.T) {
	t.Helper()
	if _, ok := soaking(t); !ok {
		t.Skip("it measures real time: SPILLWAY_SOAK=1m go test -run ^" + t.Name() + "$ ./handler/test/e2e")
	}
}

// tooLate reports whether a measured time is over its bound, which holds in a soak only, where
// nothing else uses the machine.
func tooLate(t *testing.T, took, bound time.Duration) bool {
	t.Helper()
	_, measured := soaking(t)
	return measured && took > bound
}

// quantile of a list of times, and zero of none.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// spread summarizes times for a log.
func spread(times []time.Duration) string {
	return fmt.Sprintf("n=%d p50 %v, p90 %v, p99 %v, max %v", len(times), quantile(times, .5).Round(time.Millisecond/10), quantile(times, .9).Round(time.Millisecond/10),
		quantile(times, .99).Round(time.Millisecond/10), quantile(times, 1).Round(time.Millisecond/10))
}
