package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/configstore"
	"spillway/handler/internal/tablestore"
)

// Whoever may write the table of the configuration, past the checks of `config push`,
// gets no request, no key and no prompt sent to a place of theirs: instances stay at the
// version that they have, say why, and adopt the next one that they may.
func TestWriterOfTheConfigurationReachesNothing(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	attacker := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer attacker.Close()
	f := startFleet(t, fleetSetup{members: 1, backends: []backend{{name: "ptu", priority: 1}, {name: "payg", priority: 2}}, env: []string{
		configSource, "UNRELATED_SECRET=of-the-app", "SPILLWAY_STATE_REFRESH=50ms",
	}})
	m, s, own := f.members[0], f.configStore(), f.endpoint("ptu")
	f.push(`"name":"ptu"`, `"name":"ptu","weight":0`)
	f.adopted("current", 1, m)
	at, err := url.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	number := 1
	for _, a := range []struct{ name, old, new, why string }{
		{"another host", own, attacker.URL, "no place that a pushed document may send to"},
		{"another port", own, "http://" + at.Hostname() + ":1", "no place"},
		{"a host behind an @", own, strings.Replace(attacker.URL, "http://", "http://"+at.Host+"@", 1), "endpoint"},
		{"an address of IPv6", own, "http://[::1]:" + at.Port(), "no place"},
		{"a file", own, "file:///proc/self/environ", "endpoint"},
		{"the storage account as a key", "BACKEND_KEY", "SPILLWAY_STATE", "no pushed document may use"},
		{"a secret of the app as a key", "BACKEND_KEY", "UNRELATED_SECRET", "may not be sent"},
		{"another mode of auth", `"auth":{"mode":"api-key","setting":"BACKEND_KEY"}`, `"auth":{"mode":"pass-through"}`, "may not be sent"},
		{"a key of a caller that they know", `"backends":`, `"consumers":[{"name":"me","keySetting":"WEBSITE_POD_NAME"}],"backends":`, "no pushed document may use"},
		{"a secret under its other name", "BACKEND_KEY", "APPSETTING_BACKEND_KEY", "may not be sent"},
		{"a secret that is a caller's key as well", `"backends":`, `"consumers":[{"name":"me","keySetting":"BACKEND_KEY"}],"backends":`, "BACKEND_KEY"},
		{"no JSON", "{", "", "version"},
	} {
		number++
		head, err := s.Head(t.Context())
		if err == nil {
			_, err = s.Push(t.Context(), &head, strings.Replace(f.document(), a.old, a.new, 1), "attacker")
		}
		if err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		t.Logf("%s: %s", a.name, f.refused(fmt.Sprintf("version %d", number), a.why, m))
		if got := m.servedBy(); got != "payg" {
			t.Errorf("%s: %s serves", a.name, got)
		}
	}
	number = f.breakRows(s, m, number)
	if n := reached.Load(); n != 0 {
		t.Errorf("the attacker got %d requests", n)
	}
	if _, errs, code := f.configCommand("rollback", "0"); code != 0 {
		t.Fatal(errs)
	}
	f.adopted("current", number+1, m)
	if got := m.servedBy(); got != "ptu" {
		t.Errorf("after the rollback %s serves", got)
	}
}

// breakRows writes rows that no program writes, and puts an old one back.
func (f *fleet) breakRows(s *configstore.Store, m *member, number int) int {
	f.t.Helper()
	rows, _, err := s.Table.List(f.t.Context(), "", "", "")
	if err != nil {
		f.t.Fatal(err)
	}
	var current tablestore.Row
	for _, row := range rows {
		if row.Key == "current" {
			current = row
		}
	}
	for name, column := range map[string]string{
		"no JSON": "{", "a document that is not there": strings.Replace(current.Columns["version"], `"document":"`, `"document":"00`, 1), "a huge value": strings.Repeat("x", 32<<10),
	} {
		f.overwrite(s, current, map[string]string{"version": column})
		f.t.Logf("a row with %s: %s", name, f.refused("", "no version that this program wrote", m))
		if got := m.servedBy(); got != "payg" {
			f.t.Errorf("%s: %s serves", name, got)
		}
	}
	f.overwrite(s, current, current.Columns) // the last version that was refused
	f.refused(fmt.Sprintf("version %d", number), "", m)
	return number
}

func (f *fleet) overwrite(s *configstore.Store, row tablestore.Row, columns map[string]string) {
	f.t.Helper()
	row.Columns = columns
	if _, _, err := s.Table.Upsert(f.t.Context(), row); err != nil {
		f.t.Fatal(err)
	}
}

// refused waits until readiness says why the member stays at the version before, and
// returns that.
func (f *fleet) refused(version, why string, m *member) string {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		f.awake(m)
		got := ask(f.t.Context(), f.t, "GET", m.url("/health/ready?verbose"), "")
		if status, served := m.readyConfig(); status == "behind" && served == 1 && strings.Contains(got.body, version) && strings.Contains(got.body, why) {
			_, said, _ := strings.Cut(got.body, `"why":"`)
			said, _, _ = strings.Cut(said, `","`)
			return said
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("want %q and %q in %s", version, why, got.body)
		}
	}
}
