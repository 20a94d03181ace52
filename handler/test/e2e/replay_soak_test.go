package e2e_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/config"
	"spillway/handler/internal/replay"
	"spillway/handler/internal/simulator"
)

// recording is a pool whose requests are recorded and replayed.
type recording struct {
	name     string
	backends []backend
	capacity []string // the same as the simulated service has
	maxWait  time.Duration
}

func recordings() []recording {
	answer := func(d simulator.Deployment) simulator.Deployment {
		d.TimeToFirstToken, d.PerToken, d.Jitter, d.AnswerTokens = 60*time.Millisecond, time.Millisecond, .2, 60
		return d
	}
	ptu := backend{name: "ptu", priority: 1, capacity: "provisioned", deployment: answer(simulator.Deployment{SKU: simulator.Provisioned, ProvisionedTokensPerMinute: 120_000})}
	payg := func(name string, priority, weight, tokens int) backend {
		return backend{name: name, priority: priority, weight: weight, deployment: answer(simulator.Deployment{TokensPerMinute: tokens, RequestsPerMinute: 1200})}
	}
	return []recording{
		{name: "spills", backends: []backend{ptu, payg("payg", 2, 1, 0)}, capacity: []string{"ptu=120ktpm", "payg=1200rpm"}},
		{name: "refuses", backends: []backend{ptu, payg("payg", 2, 1, 60_000)}, capacity: []string{"ptu=120ktpm", "payg=60ktpm,1200rpm"}},
		{name: "shares", backends: []backend{payg("a", 1, 3, 90_000), payg("b", 1, 1, 60_000), payg("c", 2, 1, 0)}, capacity: []string{"a=90ktpm,1200rpm", "b=60ktpm,1200rpm", "c=1200rpm"}},
		{name: "waits", backends: []backend{ptu, payg("payg", 2, 1, 40_000)}, capacity: []string{"ptu=120ktpm", "payg=40ktpm,1200rpm"}, maxWait: time.Second},
	}
}

// What a replay of recorded requests says is what the processes did: shares of backends
// within 3 points, refused and spilled within 10 % of their number or a point of all.
func TestReplayIsTrue(t *testing.T) {
	soakOnly(t)
	long, _ := soaking(t)
	for _, r := range recordings() {
		t.Run(r.name, func(t *testing.T) {
			l, cfg := r.record(t, min(long/4, 10*time.Minute))
			capacities := replay.Capacities{}
			for _, text := range r.capacity {
				if err := capacities.Parse(text); err != nil {
					t.Fatal(err)
				}
			}
			wait := r.maxWait
			if wait == 0 {
				wait = -1
			}
			o, err := replay.Run(t.Context(), l, &replay.Scenario{Name: r.name, Config: cfg, Capacity: capacities, Instances: recordingMembers, MaxWait: wait, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, l.Summarize().Reality, o)
		})
	}
}

const recordingMembers = 3

// compare prints what the processes did beside what the replay says, and judges it.
func compare(t *testing.T, real *replay.Reality, o *replay.Outcome) {
	t.Helper()
	percent := func(n int) float64 { return 100 * float64(n) / float64(real.Requests) }
	for _, b := range o.Backends {
		did, says := percent(real.Served[b.Backend]), percent(b.Served)
		t.Logf("%-8s served %5.1f %%, replay %5.1f %%", b.Backend, did, says)
		if math.Abs(did-says) > 3 {
			t.Errorf("%s is %.1f points off", b.Backend, says-did)
		}
	}
	for name, n := range map[string][2]int{"refused": {real.Refused, o.Refused}, "spilled": {real.Spilled, o.Spilled}} {
		t.Logf("%-8s %5d, replay %5d of %d", name, n[0], n[1], real.Requests)
		if off := math.Abs(float64(n[1] - n[0])); off > .1*float64(n[0]) && percent(int(off)) > 1 {
			t.Errorf("%s: %d, replay %d", name, n[0], n[1])
		}
	}
}

// record has a fleet serve requests that arrive at random, and returns its log.
func (r *recording) record(t *testing.T, d time.Duration) (*replay.Log, *config.Config) {
	t.Helper()
	wait := "SPILLWAY_MAX_WAIT=" + r.maxWait.String()
	f := startFleet(t, fleetSetup{members: recordingMembers, backends: r.backends, env: []string{wait}, document: map[string]any{"models": map[string]any{"gpt-4o": map[string]any{"affinity": "none"}}}})
	folder := t.TempDir()
	for _, m := range f.members {
		file, err := os.Create(filepath.Join(folder, m.name))
		if err != nil {
			t.Fatal(err)
		}
		m.log.mu.Lock()
		m.log.kept = file
		m.log.mu.Unlock()
	}
	asked := f.askAtRandom(10, d)
	l := new(replay.Log)
	for deadline := time.Now().Add(time.Minute); len(l.Records) < asked; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has %d of %d requests: %v", len(l.Records), asked, l.Omitted)
		}
		l = f.readLogs(folder)
	}
	cfg, err := new(config.Config).WithDocument("pool.json", f.document())
	if err != nil {
		t.Fatal(err)
	}
	return l, cfg
}

// readLogs reads what the members have written so far.
func (f *fleet) readLogs(folder string) *replay.Log {
	f.t.Helper()
	read := new(replay.Reader)
	for _, m := range f.members {
		file, err := os.Open(filepath.Join(folder, m.name))
		if err == nil {
			err = read.Add(m.name, file)
			_ = file.Close()
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	l, _ := read.Log() // which has no requests at first
	return l
}

// askAtRandom asks, so many times a second on average and twice as often for half of
// each half minute, for answers to prompts of many sizes, and waits for all answers. It
// returns how often it asked.
func (f *fleet) askAtRandom(perSecond float64, d time.Duration) (asked int) {
	var asking sync.WaitGroup
	begin := time.Now()
	for time.Since(begin) < d {
		rate := perSecond
		if time.Since(begin)%(30*time.Second) < 15*time.Second {
			rate *= 2
		}
		time.Sleep(time.Duration(rand.ExpFloat64() / rate * float64(time.Second)))
		m, words := f.members[rand.IntN(len(f.members))], min(int(60*math.Exp(.8*rand.NormFloat64())), 700)
		asked++
		asking.Go(func() {
			prompt := strings.Repeat(fmt.Sprintf("%04d ", rand.IntN(10000)), 1+words)
			_ = ask(f.t.Context(), f.t, "POST", m.url("/v1/chat/completions"), fmt.Sprintf(`{"model":"gpt-4o","stream":%v,"messages":[{"role":"user","content":%q}]}`, words%2 == 0, prompt))
		})
	}
	asking.Wait()
	return asked
}
