package e2e_test

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/simulator"
)

// upgradeFrom is the earliest version that upgrades are supported from, the first with one shared
// row for all backends: SPILLWAY_UPGRADE_FROM names another commit or tag of this repository.
const upgradeFrom = "62be8d910870983addd568995ce39cc28276bf6c"

// TestUpgradeAndRollback runs two releases, packed and unpacked, on one table: this one
// alone, then both, then the earlier one alone, and back. In each state every instance
// serves and obeys what the other one saw or was told. While an instance is replaced,
// requests go on at the other; each is served, and in the usage.
func TestUpgradeAndRollback(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{
		members: 2, backends: threeBackends(), env: []string{"SPILLWAY_AUTH=key", "TEAM_KEY=" + teamKey},
		document: map[string]any{"consumers": []map[string]any{{"name": "team", "keySetting": "TEAM_KEY"}}},
	})
	u := &upgrade{fleet: f, t: t, now: packed(t, "HEAD", "0.2.0"), before: packed(t, cmp.Or(os.Getenv("SPILLWAY_UPGRADE_FROM"), upgradeFrom), "0.1.0")}
	u.run("this version alone", u.now, u.now)
	u.run("rollback of one instance", u.before, u.now)
	u.run("rollback of the other", u.before, u.before)
	u.run("upgrade of one instance", u.now, u.before)
	u.run("upgrade of the other", u.now, u.now)
	u.wantUsage()
}

// upgrade is a fleet whose instances change their version.
type upgrade struct {
	*fleet
	t           *testing.T
	now, before string       // the programs
	served      atomic.Int64 // requests that had an answer
}

// packed is the program out of the package of a release of a commit.
func packed(t *testing.T, commit, version string) string {
	t.Helper()
	folder, root := released(t, checkOut(t, commit, "release"), version), t.TempDir()
	unpacked(t, filepath.Join(folder, "spillway-"+version+"-linux-amd64.zip"), root)
	program := filepath.Join(root, "spillway")
	said, err := exec.Command(program, "version").Output()
	if err != nil || !strings.Contains(string(said), version) {
		t.Fatalf("the program of release %s says that it is %q: %v", version, said, err)
	}
	return program
}

// checkOutVersion takes version $1 of this repository into the folder $2. A shallow clone does not
// have it: then that commit alone is fetched from where the clone came from.
const checkOutVersion = `
git clone -q --no-checkout ../../.. "$2"
from=$(git remote get-url origin || true)
cd "$2"
git checkout -q "$1" || { git fetch -q --depth=1 "$from" "$1" && git checkout -q FETCH_HEAD; }`

func checkOut(t *testing.T, version, folder string) string {
	t.Helper()
	clone := filepath.Join(t.TempDir(), folder)
	script := exec.Command("sh", "-ec", checkOutVersion, "sh", version, clone)
	if said, err := script.CombinedOutput(); err != nil {
		missing(t, "version "+version+" is not in this clone: run git fetch --unshallow --tags\n"+string(said))
	}
	return clone
}

// run gives each instance its program and looks at what they do together.
func (u *upgrade) run(what string, programs ...string) {
	u.t.Helper()
	for i, m := range u.members {
		if m.program != programs[i] {
			stop := u.flow(u.members[1-i])
			m.terminate()
			m.program = programs[i]
			m.start()
			stop()
		}
	}
	u.awake(u.members...)
	u.settle("ptu")
	u.wantDrainObeyed(programs[0])
	u.settle("ptu")
	for i, m := range u.members {
		u.wantThrottleObeyed(programs[0], m, u.members[1-i])
		u.settle("ptu")
	}
	u.t.Logf("%s: %d requests so far", what, u.served.Load())
}

// flow sends one request after the other to an instance, until it is stopped.
func (u *upgrade) flow(m *member) (stop func()) {
	var ended atomic.Bool
	var requests sync.WaitGroup
	requests.Go(func() {
		for n := 0; n == 0 || !ended.Load(); n++ {
			if s := m.send(); !s.ok() {
				u.t.Errorf("%s (%s), while the other one is replaced: status %d, %v", m.name, m.program, s.status, s.err)
				return
			}
			u.served.Add(1)
		}
	})
	return func() {
		ended.Store(true)
		requests.Wait()
	}
}

// terminate ends an instance as the platform does on an upgrade: it is asked to, and
// writes what it has.
func (m *member) terminate() {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.process.Process.Signal(syscall.SIGTERM)
	_ = m.process.Wait()
}

// settle waits until every instance sends to the backend.
func (u *upgrade) settle(backend string) {
	u.t.Helper()
	for _, m := range u.members {
		u.until(m, backend, func(s *sample) bool { return s.backend == backend })
	}
}

// until sends requests until one of them is as it should be. Each of them is served.
func (u *upgrade) until(m *member, what string, holds func(*sample) bool) {
	u.t.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if s := u.send(m); holds(&s) {
			return
		}
	}
	u.t.Fatalf("%s (%s): no request was served as wanted: %s; it said: %s", m.name, m.program, what, m.log.troubles())
}

func (u *upgrade) send(m *member) sample {
	u.t.Helper()
	s := m.send()
	if !s.ok() {
		u.t.Fatalf("%s (%s): status %d, %v", m.name, m.program, s.status, s.err)
	}
	u.served.Add(1)
	return s
}

// wantThrottleObeyed has one instance see a 429, and wants the other to leave the
// backend without a request to it. The program ends the throttle early.
func (u *upgrade) wantThrottleObeyed(program string, sees, obeys *member) {
	u.t.Helper()
	began := time.Now()
	u.sim.Throttle("ptu", time.Minute)
	if s := u.send(sees); s.backend == "ptu" {
		u.t.Fatalf("%s was served by a throttled backend", sees.name)
	}
	u.knowsThrottle(obeys, began)
	before := len(u.asked(obeys))
	if s := u.send(obeys); s.backend == "ptu" {
		u.t.Errorf("%s (%s) was served by a throttled backend", obeys.name, obeys.program)
	}
	if n := len(u.asked(obeys)) - before; n > 0 {
		u.t.Errorf("%s (%s) asked the backend that %s (%s) was throttled by", obeys.name, obeys.program, sees.name, sees.program)
	}
	u.sim.Clear("ptu")
	u.operate(program, "reset", "ptu")
}

// knowsThrottle waits until an instance has read the row with the throttle, and then
// asked the table again: it adopts what it read before that.
func (u *upgrade) knowsThrottle(m *member, since time.Time) {
	u.t.Helper()
	throttled := func(r health.Record) bool {
		return slices.ContainsFunc(r.Windows.ByKind[:], func(w health.ThrottleWindow) bool { return w.Until > since.UnixMilli() })
	}
	read := -1 // exchanges answered when the row had been read
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		u.awake(m)
		u.seen.mu.Lock()
		c, written := u.seen.first(since, u.column("ptu"), throttled)
		_, known := u.seen.readAt(m.n, c.revision)
		answered := u.seen.counts[m.n].answered
		u.seen.mu.Unlock()
		switch {
		case read >= 0 && answered > read:
			return
		case read < 0 && written && known:
			read = answered
		}
	}
	u.t.Fatalf("%s (%s) did not read of the throttle", m.name, m.program)
}

// asked are the requests of an instance to the PTU.
func (u *upgrade) asked(m *member) (entries []simulator.Entry) {
	for _, e := range u.sim.JournalOf("ptu") {
		if memberOf(&e) == m.n {
			entries = append(entries, e)
		}
	}
	return entries
}

// wantDrainObeyed drains and restores by that program: instances of both versions obey.
func (u *upgrade) wantDrainObeyed(program string) {
	u.t.Helper()
	u.operate(program, "drain", "ptu")
	for _, m := range u.members {
		u.until(m, "drained", func(s *sample) bool { return s.backend != "ptu" })
	}
	u.operate(program, "restore", "ptu")
}

// operate runs an operator's command by that program.
func (u *upgrade) operate(program string, args ...string) {
	u.t.Helper()
	c := exec.Command(program, append([]string{"backends"}, args...)...)
	c.Env = append(append(os.Environ(), u.members[0].env...), "SPILLWAY_STATE="+u.desk.connection(), "AzureWebJobsStorage=", "FUNCTIONS_CUSTOMHANDLER_PORT=")
	if said, err := c.CombinedOutput(); err != nil {
		u.t.Fatalf("%s backends %v: %v\n%s", program, args, err, said)
	}
}

// wantUsage ends the instances and wants every request that was served in the usage.
func (u *upgrade) wantUsage() {
	u.t.Helper()
	for _, m := range u.members {
		m.terminate()
	}
	out, errs, code := command(u.t, []string{"SPILLWAY_STATE=" + u.desk.connection()}, "usage", "--from", "24h", "--by", "consumer", "--json")
	if code != 0 {
		u.t.Fatalf("usage: exit code %d: %s", code, errs)
	}
	var usage struct {
		Rows []struct {
			Consumer string
			Requests int
		}
	}
	if err := json.Unmarshal([]byte(out), &usage); err != nil {
		u.t.Fatalf("%v in %s", err, out)
	}
	counted := 0
	for _, row := range usage.Rows {
		counted += row.Requests
	}
	if served := u.served.Load(); int64(counted) != served {
		u.t.Errorf("%d requests are in the usage, %d were served:\n%s", counted, served, out)
	}
}
