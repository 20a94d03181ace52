package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/fleet"
)

func TestActionsAreWrittenAndAudited(t *testing.T) {
	w := keyedScenario()
	w.cfg.NewID = func() string { return "req_operator" }
	h := mount(w.cfg)
	for _, verb := range []string{"drain", "restore", "reset"} {
		for _, path := range []string{"ptu-uksouth", "ptu-uksouth/gpt-4o", "ptu-uksouth%2Fgpt-4o"} {
			got := testRequest{
				method: http.MethodPost, path: "/ops/api/backends/" + path + "/" + verb,
				header: map[string]string{keyHeader: testKey, nameHeader: "Ana%20%C3%93%C3%B0inn"},
			}.to(t, h)
			var done ActionResult
			if err := json.Unmarshal(got.Body.Bytes(), &done); err != nil || got.Code != 200 {
				t.Fatalf("%s %s: %d %s", verb, path, got.Code, got.Body)
			}
			backend := strings.ReplaceAll(path, "%2F", "/")
			if done.Verb != verb || done.Backend != backend || done.By != "Ana Óðinn" || done.EffectiveWithinMS != 500 || done.Instance != "flex-7c41-a" {
				t.Errorf("%s %s: %+v", verb, path, done)
			}
			if said, want := w.written(), verb+" "+backend+" by Ana Óðinn"; said[len(said)-1] != want {
				t.Errorf("written %q, want %q", said[len(said)-1], want)
			}
			a := w.actions[len(w.actions)-1]
			if a.Verb != verb || a.Backend != backend || a.Who != "Ana Óðinn" || a.Err != nil || a.Request != "req_operator" || a.From == "" || a.At.IsZero() {
				t.Errorf("audited %+v", a)
			}
			if len(a.Key) != 8 || strings.Contains(testKey, a.Key) || got.Header().Get("X-Request-Id") != "req_operator" {
				t.Errorf("the key is logged as %q", a.Key)
			}
		}
	}
}

func TestFailedActionIsReported(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		target string
		status int
		code   string
		says   string
	}{
		"no such backend": {nil, "ptu-nowhere", 404, "no_such_backend", `known are ptu-uksouth`},
		"the table is unreachable": {
			fmt.Errorf("%w: its clock is unknown", fleet.ErrNotWritten), "ptu-uksouth", 503, "not_written", "Try again when the table answers",
		},
		"something else": {errors.New("broken"), "ptu-uksouth", 503, "not_written", "broken"},
	} {
		w := keyedScenario()
		w.overrideErr = c.err
		got := testRequest{method: http.MethodPost, path: "/ops/api/backends/" + c.target + "/drain", header: map[string]string{keyHeader: testKey}}.to(t, mount(w.cfg))
		code, says := errorOf(t, got)
		if got.Code != c.status || code != c.code || !strings.Contains(says, c.says) || strings.Contains(says, "fleet: ") {
			t.Errorf("%s: %d %s %q", name, got.Code, code, says)
		}
		if len(w.actions) != 1 || w.actions[0].Err == nil {
			t.Errorf("%s: audited %+v", name, w.actions)
		}
	}
}

func TestUnknownActionsAreNotFound(t *testing.T) {
	w := keyedScenario()
	h := mount(w.cfg)
	for _, path := range []string{"ptu-uksouth/delete", "ptu-uksouth/", "ptu-uksouth", "/drain", "drain", "ptu-uksouth/Drain", "ptu-uksouth/drain/"} {
		got := testRequest{method: http.MethodPost, path: "/ops/api/backends/" + path, header: map[string]string{keyHeader: testKey}}.to(t, h)
		if got.Code != 404 {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
	if said := w.written(); len(said) > 0 {
		t.Errorf("written: %q", said)
	}
}

func TestOperatorNameIsSanitized(t *testing.T) {
	for sentName, want := range map[string]string{
		"": "operator", "   ": "operator", "ana": "ana", "Ana%20B.": "Ana B.", "%zz": "operator", "a%0d%0ab": "ab", "%e2%80%aeevil": "evil",
		"%1b[31mred": "[31mred", "%ff%fe": "operator", strings.Repeat("x", 100): strings.Repeat("x", 40), "%3Cb%3E": "<b>",
	} {
		w := keyedScenario()
		testRequest{method: http.MethodPost, path: "/ops/api/backends/ptu-uksouth/drain", header: map[string]string{keyHeader: testKey, nameHeader: sentName}}.to(t, mount(w.cfg))
		if said := w.written(); !slices.Equal(said, []string{"drain ptu-uksouth by " + want}) {
			t.Errorf("%q: written %q", sentName, said)
		}
	}
}

func TestStatusShowsWhoDrained(t *testing.T) {
	w := healthyScenario(loopingClock(time.Now()))
	w.cfg.Key = testKey
	o := New(w.cfg)
	if err := w.Drain(t.Context(), "payg-sweden", "anna"); err != nil {
		t.Fatal(err)
	}
	o.fleet.refresh(t.Context())
	s := o.currentStatus()
	for _, p := range s.Pools {
		b := p.Groups[1].Backends[0]
		if b.State != Drained || b.Drained == nil || b.Drained.By != "anna" || b.Drained.At == nil || b.Since != b.Drained.At || p.Summary != "payg-sweden: drained by anna" || p.State != Reduced {
			t.Errorf("%s of %s: %+v", b.Name, p.Model, b)
		}
	}
	if len(s.Changes) < 2 || s.Changes[0].Text != "drained by anna" || s.Changes[0].By != "flex-7c41-a" {
		t.Errorf("changes: %+v", s.Changes)
	}
}
