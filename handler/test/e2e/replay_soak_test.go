package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spillway/handler/internal/cli/replay"
	"spillway/handler/internal/config"
	"spillway/handler/internal/simulator"
)

// recording is a pool whose requests are recorded and replayed.
type recording struct {
	name     string
	backends []backend
	capacity []string // the same as the simulated service has
	maxWait  time.Duration
	refuses  bool // it is too small for the load
}

func recordings() []recording {
	answer := func(d simulator.Deployment) simulator.Deployment {
		d.TimeToFirstToken, d.PerToken, d.Jitter, d.AnswerTokens = 60*time.Millisecond, time.Millisecond, .2, 60
		return d
	}
	ptu := backend{name: "ptu", priority: 1, capacity: "provisioned", deployment: answer(simulator.Deployment{SKU: simulator.Provisioned, ProvisionedTokensPerMinute: 60_000})}
	payg := func(name string, priority, weight, tokens int) backend {
		return backend{name: name, priority: priority, weight: weight, deployment: answer(simulator.Deployment{TokensPerMinute: tokens, RequestsPerMinute: 1200})}
	}
	return []recording{
		{name: "spills", backends: []backend{ptu, payg("payg", 2, 1, 0)}, capacity: []string{"ptu=60ktpm", "payg=1200rpm"}},
		{name: "refuses", backends: []backend{ptu, payg("payg", 2, 1, 40_000)}, capacity: []string{"ptu=60ktpm", "payg=40ktpm,1200rpm"}, refuses: true},
		{name: "shares", backends: []backend{payg("a", 1, 3, 50_000), payg("b", 1, 1, 30_000), payg("c", 2, 1, 0)}, capacity: []string{"a=50ktpm,1200rpm", "b=30ktpm,1200rpm", "c=1200rpm"}},
		{name: "waits", backends: []backend{ptu, payg("payg", 2, 1, 30_000)}, capacity: []string{"ptu=60ktpm", "payg=30ktpm,1200rpm"}, refuses: true, maxWait: time.Second},
	}
}

// traffic is how requests arrive: at random, so many a second.
type traffic struct {
	name  string
	rate  func(at time.Duration, of float64) float64 // at a part of all, 0 to 1
	words float64                                    // of a prompt, median
}

// traffics are hours of a working day, in minutes.
func traffics() []traffic {
	return []traffic{
		{"waves", func(at time.Duration, _ float64) float64 {
			if at%(30*time.Second) < 15*time.Second {
				return 20
			}
			return 10
		}, 60},
		{"bursts", func(at time.Duration, _ float64) float64 {
			if at%(20*time.Second) < 4*time.Second {
				return 40
			}
			return 4
		}, 100},
		{"hill", func(_ time.Duration, of float64) float64 { return 2 + 10*math.Sin(math.Pi*of) }, 150},
	}
}

// What a replay of recorded requests says is what the processes did: shares of backends
// within 3 points, refused and spilled within 10 % of their number or a point of all.
func TestReplayIsTrue(t *testing.T) {
	soakOnly(t)
	long, _ := soaking(t)
	for _, load := range traffics() {
		for _, r := range recordings() {
			t.Run(load.name+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				r.replay(t, &load, min(long/5, 2*time.Minute))
			})
		}
	}
}

// replay records the load, and replays it.
func (r *recording) replay(t *testing.T, load *traffic, d time.Duration) {
	l, cfg := r.record(t, load, d)
	capacities := replay.Capacities{}
	for _, text := range r.capacity {
		if err := capacities.Parse(text); err != nil {
			t.Fatal(err)
		}
	}
	o, err := replay.Run(t.Context(), l, &replay.Scenario{Name: r.name, Config: cfg, Capacity: capacities, Instances: recordingMembers, MaxWait: r.maxWait, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	real := l.Summarize().Reality
	compare(t, real, o)
	if real.Spilled < real.Requests/20 || r.refuses && real.Refused < real.Requests/50 {
		t.Errorf("the load shows nothing: %d spilled and %d refused of %d", real.Spilled, real.Refused, real.Requests)
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

// record has a fleet serve the load, and returns its log.
func (r *recording) record(t *testing.T, load *traffic, d time.Duration) (*replay.Log, *config.Config) {
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
	asked := f.askAtRandom(load, d)
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

// askAtRandom asks for answers to prompts of many sizes, and waits for all of them. It
// returns how often it asked.
func (f *fleet) askAtRandom(load *traffic, d time.Duration) int {
	var asking sync.WaitGroup
	var late []time.Duration
	begin := time.Now()
	for at := time.Duration(0); at < d; at += time.Duration(rand.ExpFloat64() / load.rate(at, at.Seconds()/d.Seconds()) * float64(time.Second)) {
		time.Sleep(time.Until(begin.Add(at)))
		late = append(late, time.Since(begin)-at)
		m, words := f.members[rand.IntN(len(f.members))], min(int(load.words*math.Exp(.8*rand.NormFloat64())), 700)
		asking.Go(func() {
			prompt := strings.Repeat(fmt.Sprintf("%04d ", rand.IntN(10000)), 1+words)
			_ = ask(f.t.Context(), f.t, "POST", m.url("/v1/chat/completions"), fmt.Sprintf(`{"model":"gpt-4o","stream":%v,"messages":[{"role":"user","content":%q}]}`, words%2 == 0, prompt))
		})
	}
	asking.Wait()
	f.t.Logf("requests left late by %s", spread(late))
	return len(late)
}

// A million lines are replayed within 60 s of one core and 500 MB.
func TestReplayOfAMillionLines(t *testing.T) {
	soakOnly(t)
	folder := t.TempDir()
	path := filepath.Join(folder, "a.log")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(file)
	begin := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	for i := range 1_000_000 {
		at := begin.Add(time.Duration(i) * 30 * time.Millisecond)
		if i%1000 == 7 {
			fmt.Fprintln(out, `{"time":"broken`)
			continue
		}
		fmt.Fprintf(out, `{"time":%q,"level":"INFO","msg":"request","request_id":"req_%d","instance":"i1","consumer":"team-%d","method":"POST","operation":"chat","url":"v1","model":"gpt-4o","status":200,"stream":true,"backend":"ptu","region":"uksouth","priority":1,"attempts":[{"backend":"ptu","verdict":"served","status":200,"ms":%d}],"state_version":7,"overhead_ms":0.2,"first_token_ms":%d,"finish":"stop","prompt_tokens":%d,"cached_tokens":0,"completion_tokens":%d,"reasoning_tokens":0,"total_ms":%d.5}`+"\n",
			at.Format(time.RFC3339Nano), i, i%7, 400+i%900, 200+i%300, 100+i%2900, 20+i%400, 400+i%900)
	}
	err = errors.Join(out.Flush(), file.Close(), os.WriteFile(filepath.Join(folder, "pool.json"), []byte(`{"backends": [
		{"name": "ptu", "endpoint": "https://a.openai.azure.com", "priority": 1, "capacity": "provisioned", "deployments": ["gpt-4o"]},
		{"name": "payg", "endpoint": "https://b.openai.azure.com", "priority": 2, "deployments": ["gpt-4o"]}]}`), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(stagedProgram(), "replay", path, "--config", filepath.Join(folder, "pool.json"), "--capacity", "ptu=500ptu", "--capacity", "payg=3mtpm,18krpm", "--json")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var progress strings.Builder
	cmd.Stderr = &progress
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Skip("this system does not tell what a process used")
	}
	var report replay.Report
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	cpu, memory := cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), usage.Maxrss>>10
	t.Logf("%d requests of %d lines: %v of CPU, %d MiB; spilled %d, refused %d", report.Log.Requests, report.Log.Lines, cpu, memory, report.Outcomes[0].Spilled, report.Outcomes[0].Refused)
	if report.Log.Requests != 999_000 || len(report.Log.Omitted) != 1 || report.Log.Omitted[0].Lines != 1000 || !strings.Contains(progress.String(), "read ") {
		t.Errorf("%+v; progress: %.200s", report.Log, progress.String())
	}
	if cpu > 60*time.Second || memory > 500 {
		t.Errorf("%v of CPU and %d MiB", cpu, memory)
	}
}
