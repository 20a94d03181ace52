package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// configSource has the instances read the versions of an app.
const configSource = "SPILLWAY_CONFIG_SOURCE=table:func-e2e"

// configCommand runs `spillway config` as an operator would, who knows what the app
// setting allows.
func (f *fleet) configCommand(args ...string) (out, errs string, code int) {
	f.t.Helper()
	return command(f.t, []string{"SPILLWAY_CONFIG=" + f.document(), configSource, f.allowed(), "SPILLWAY_STATE=" + f.desk.connection()}, append([]string{"config"}, args...)...)
}

// push pushes the document of the setting with replacements, which must work.
func (f *fleet) push(replace ...string) {
	f.t.Helper()
	file := f.file(replace...)
	if out, errs, code := f.configCommand("push", file); code != 0 {
		f.t.Fatalf("push: %d\n%s%s", code, out, errs)
	}
}

// readyConfig is what readiness says of the configuration.
func (m *member) readyConfig() (status string, version int) {
	m.t.Helper()
	var body struct {
		Config        string
		ConfigVersion int
	}
	if got := ask(m.t.Context(), m.t, "GET", m.url("/health/ready"), ""); got.err != nil || json.Unmarshal([]byte(got.body), &body) != nil {
		m.t.Fatalf("readiness: %+v", got)
	}
	return body.Config, body.ConfigVersion
}

// adopted waits until the members serve that version in that status.
func (f *fleet) adopted(status string, version int, members ...*member) {
	f.t.Helper()
	for _, m := range members {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			f.awake(m)
			if s, v := m.readyConfig(); s == status && v == version {
				break
			}
			if time.Now().After(deadline) {
				s, v := m.readyConfig()
				f.t.Fatalf("%s is %s at version %d, want %s at %d; it said %s", m.name, s, v, status, version, m.log.troubles())
			}
		}
	}
}

// adoption is how long each instance took to adopt a version after the desk wrote it,
// which is bounded (docs/shared-state.md#versions-of-the-configuration): by 1.2
// refreshes and two exchanges, which have a second.
func (f *fleet) adoption(version int) {
	f.t.Helper()
	wrote := time.Unix(0, f.desk.wrote.Load())
	f.adopted("current", version, f.members...)
	const bound = 1200*500*time.Microsecond + time.Second
	for _, m := range f.members {
		took := m.adoptedAt(version).Sub(wrote)
		f.t.Logf("version %d: %s adopted it after %v", version, m.name, took.Round(time.Millisecond))
		if tooLate(f.t, took, bound) {
			f.t.Errorf("that is above %v", bound)
		}
	}
}

// adoptedAt is when the member adopted the version, by its log, of which the line may
// still be under way.
func (m *member) adoptedAt(version int) time.Time {
	m.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		m.log.mu.Lock()
		at, ok := m.log.adopted[version]
		m.log.mu.Unlock()
		if ok {
			return at
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("the log of %s has no version %d", m.name, version)
		}
	}
}

// servedBy is which backend serves a request of the member.
func (m *member) servedBy() string {
	m.t.Helper()
	got := ask(m.t.Context(), m.t, "POST", m.url("/v1/chat/completions"), chatBody(false))
	if got.status != http.StatusOK {
		m.t.Fatalf("%+v", got)
	}
	return got.header.Get("X-Spillway-Backend")
}

func chatBody(stream bool) string {
	return fmt.Sprintf(`{"model":"gpt-4o","stream":%v,"messages":[{"role":"user","content":"hello"}]}`, stream)
}

// openStream starts a stream and returns its end: nil when it was whole.
func (m *member) openStream(begun *sync.WaitGroup) <-chan error {
	ended := make(chan error, 1)
	go func() {
		ended <- func() error {
			first := true
			defer func() {
				if first {
					begun.Done()
				}
			}()
			req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, m.url("/v1/chat/completions"), strings.NewReader(chatBody(true)))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", "application/json")
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			lines, last := bufio.NewScanner(res.Body), ""
			for lines.Scan() {
				if line := lines.Text(); strings.HasPrefix(line, "data: ") {
					last = line
					if first {
						first = false
						begun.Done()
					}
				}
			}
			if lines.Err() != nil || last != "data: [DONE]" || res.StatusCode != http.StatusOK {
				return fmt.Errorf("status %d, last %q, %w", res.StatusCode, last, lines.Err())
			}
			return nil
		}()
	}()
	return ended
}

// A push reaches all instances while they serve: no request is lost and no stream is
// cut, by a push or a rollback.
func TestConfigurationIsAdoptedWithoutLosingARequest(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{
		members:  sized(t, 5, 2),
		backends: []backend{{name: "ptu", priority: 1, capacity: "provisioned"}, {name: "payg", priority: 2}},
		document: map[string]any{"models": map[string]any{"gpt-4o": map[string]any{"aliases": []string{"gpt"}}}},
		env:      []string{configSource},
	})
	streams := true
	f.sim.Fault("ptu", simulator.Fault{Action: "drip-stream", Stream: &streams, Pause: 2 * time.Millisecond})
	var begun, asking sync.WaitGroup
	var open []<-chan error
	for i := range sized(t, 100, 6) {
		begun.Add(1)
		open = append(open, f.members[i%len(f.members)].openStream(&begun))
	}
	begun.Wait()
	var sent, lost atomic.Int64
	stop := make(chan struct{})
	for _, m := range f.members {
		for range sized(t, 8, 1) {
			asking.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(sized(t, 200, 20)) * time.Millisecond):
					}
					sent.Add(1)
					if got := ask(t.Context(), t, "POST", m.url("/v1/chat/completions"), chatBody(false)); got.status != http.StatusOK {
						lost.Add(1)
						t.Errorf("%+v", got)
					}
				}
			})
		}
	}
	f.push(`"name":"ptu"`, `"name":"ptu","weight":0`)
	f.adoption(1)
	for _, m := range f.members {
		if got := m.servedBy(); got != "payg" {
			t.Errorf("after the push %s serves", got)
		}
	}
	f.push(`"aliases":["gpt"]`, `"aliases":["gpt","best"]`)
	f.adoption(2)
	if out, errs, code := f.configCommand("diff", "1", "2"); code != 0 || !strings.Contains(out, "best") {
		t.Errorf("diff: %d\n%s%s", code, out, errs)
	}
	if _, errs, code := f.configCommand("rollback", "1"); code != 0 {
		t.Fatal(errs)
	}
	f.adoption(3)
	close(stop)
	asking.Wait()
	for _, ended := range open {
		if err := <-ended; err != nil {
			t.Errorf("a stream: %v", err)
		}
	}
	t.Logf("%d requests, %d lost, %d streams", sent.Load(), lost.Load(), len(open))
}

// A version that one instance cannot use is served by the others; that one stays at
// what it had, says so, and adopts the next. An instance that starts meanwhile serves
// by the app setting.
func TestInstancesThatCannotUseAVersionStay(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{
		members: 2, backends: []backend{{name: "ptu", priority: 1}, {name: "payg", priority: 2}},
		env: []string{configSource},
	})
	able, unable := f.members[0], f.members[1]
	able.env = append(able.env, "TEAM_KEY=0123456789abcdef0123", f.allowed())
	unable.env = append(unable.env, f.allowed())
	for _, m := range f.members {
		m.kill()
		m.start()
	}
	f.push(`"name":"ptu"`, `"name":"ptu","weight":0`)
	f.adopted("current", 1, able, unable)
	f.push(`"backends":`, `"consumers":[{"name":"team-a","keySetting":"TEAM_KEY"}],"backends":`)
	f.adopted("current", 2, able)
	f.adopted("behind", 1, unable)
	if got := unable.servedBy(); got != "payg" {
		t.Errorf("the instance that stayed serves by %s", got)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(unable.log.troubles(), "configuration not adopted"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has %s", unable.log.troubles())
		}
	}
	unable.awaitPart(`"part":"configuration","state":"degraded"`, "TEAM_KEY")
	unable.kill()
	unable.start()
	f.adopted("fallback", 0, unable)
	if got := unable.servedBy(); got != "ptu" {
		t.Errorf("the instance that started serves by %s", got)
	}
	if _, errs, code := f.configCommand("rollback", "1"); code != 0 {
		t.Fatal(errs)
	}
	f.adopted("current", 3, able, unable)
}

// awaitPart waits until readiness has these texts among its parts, which are looked at
// once a second.
func (m *member) awaitPart(texts ...string) {
	m.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		got := ask(m.t.Context(), m.t, "GET", m.url("/health/ready?verbose"), "")
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(got.body, text) }) {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("readiness has no %q: %s", texts, got.body)
		}
	}
}

// allowed lists what the document of the setting names, and TEAM_KEY.
func (f *fleet) allowed() string {
	list := "SPILLWAY_CONFIG_ALLOW=TEAM_KEY"
	for _, b := range f.setup.backends {
		u, err := url.Parse(f.endpoint(b.name))
		if err != nil {
			f.t.Fatal(err)
		}
		list += " " + u.Scheme + "://" + u.Host + "=BACKEND_KEY"
	}
	return list
}

// An instance that starts while the table is away serves by the app setting, says so,
// and adopts the version when the table is back.
func TestColdStartWithoutTheTableOfTheConfiguration(t *testing.T) {
	t.Parallel()
	f := startFleet(t, fleetSetup{
		members: 1, backends: []backend{{name: "ptu", priority: 1}, {name: "payg", priority: 2}}, env: []string{configSource},
	})
	m := f.members[0]
	f.push(`"name":"ptu"`, `"name":"ptu","weight":0`)
	f.adopted("current", 1, m)
	m.kill()
	m.way.set(tableFaults{lost: 1})
	m.start()
	if status, version := m.readyConfig(); status != "fallback" || version != 0 {
		t.Errorf("without the table: %s at %d", status, version)
	}
	if got := m.servedBy(); got != "ptu" {
		t.Errorf("without the table %s serves", got)
	}
	m.way.set(tableFaults{})
	f.adopted("current", 1, m)
	if got := m.servedBy(); got != "payg" {
		t.Errorf("with the table %s serves", got)
	}
}
