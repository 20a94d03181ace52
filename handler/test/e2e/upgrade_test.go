package e2e_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// upgradeFrom is the version that is upgraded from, the first with one shared row: a commit or a tag of this
// repository, unless SPILLWAY_UPGRADE_FROM names another one.
const upgradeFrom = "62be8d9"

// TestUpgradeAndRollback runs two versions on one table: first the earlier one alone,
// then both, then this one alone, and back. In each state every instance serves,
// obeys what the other one saw or was told, and no request is lost in the usage.
func TestUpgradeAndRollback(t *testing.T) {
	soakOnly(t)
	f := startFleet(t, fleetSetup{
		members: 2, backends: threeBackends(), env: []string{"SPILLWAY_AUTH=key", "TEAM_KEY=" + teamKey},
		document: map[string]any{"consumers": []map[string]any{{"name": "team", "keySetting": "TEAM_KEY"}}},
	})
	u := &upgrade{fleet: f, t: t, now: stagedProgram(), before: earlierProgram(t)}
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
	now, before string // the programs
	served      int    // requests that had an answer
}

// earlierProgram builds the earlier version in a clone of this repository.
func earlierProgram(t *testing.T) string {
	t.Helper()
	version := upgradeFrom
	if named := os.Getenv("SPILLWAY_UPGRADE_FROM"); named != "" {
		version = named
	}
	clone := t.TempDir()
	for _, args := range [][]string{{"git", "clone", "-q", "--no-checkout", "../../..", clone}, {"git", "-C", clone, "checkout", "-q", version}, {clone + "/scripts/stage.sh", clone + "/build/app"}} {
		step := exec.Command(args[0], args[1:]...)
		if said, err := step.CombinedOutput(); err != nil {
			t.Fatalf("build version %s: %v: %v\n%s", version, args, err, said)
		}
	}
	return filepath.Join(clone, "build", "app", "spillway")
}

// run gives each instance its program and looks at what they do together.
func (u *upgrade) run(what string, programs ...string) {
	u.t.Helper()
	for i, m := range u.members {
		if m.program != programs[i] {
			m.terminate()
			m.program = programs[i]
			m.start()
		}
	}
	u.awake(u.members...)
	u.settle("ptu")
	u.wantDrainObeyed(programs[0])
	u.settle("ptu")
	for i, m := range u.members {
		u.wantThrottleObeyed(m, u.members[1-i])
		u.settle("ptu")
	}
	u.t.Logf("%s: %d requests so far", what, u.served)
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
	u.served++
	return s
}

// wantThrottleObeyed has one instance see a 429, and wants the other to leave the
// backend without a request to it.
func (u *upgrade) wantThrottleObeyed(sees, obeys *member) {
	u.t.Helper()
	u.sim.Throttle("ptu", 10*time.Second)
	if s := u.send(sees); s.backend == "ptu" {
		u.t.Fatalf("%s was served by a throttled backend", sees.name)
	}
	u.exchanged(sees)
	u.exchanged(obeys)
	before := len(u.asked(obeys))
	if s := u.send(obeys); s.backend == "ptu" {
		u.t.Errorf("%s (%s) was served by a throttled backend", obeys.name, obeys.program)
	}
	if n := len(u.asked(obeys)) - before; n > 0 {
		u.t.Errorf("%s (%s) asked the backend that %s (%s) was throttled by", obeys.name, obeys.program, sees.name, sees.program)
	}
	u.sim.Clear("ptu")
}

// exchanged waits until an instance has written what it saw to the table, and read
// what others wrote: its exchange that is under way now may be older.
func (u *upgrade) exchanged(m *member) {
	u.t.Helper()
	u.awake(m)
	u.seen.mu.Lock()
	before := u.seen.counts[m.n].answered
	u.seen.mu.Unlock()
	u.within(time.Minute, m.name+" has met the table", func() bool { return u.seen.counts[m.n].answered >= before+3 })
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
	if counted != u.served {
		u.t.Errorf("%d requests are in the usage, %d were served:\n%s", counted, u.served, out)
	}
}
