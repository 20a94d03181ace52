package admin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/configstore"
	"spillway/handler/internal/tablestore"
)

// fakeVersions has versions 1 and 2, of which 2 is current and cannot be served.
type fakeVersions struct {
	err    error
	rolled []string
}

func (f *fakeVersions) Status() (string, int) { return "behind", 1 }
func (f *fakeVersions) Problem() error        { return fmt.Errorf("%w: MISSING_KEY", ErrUnusable) }

func (f *fakeVersions) History(context.Context) (configstore.Version, []configstore.Version, error) {
	return configstore.Version{Number: 2}, []configstore.Version{{Number: 2, By: "alice"}, {Number: 1}}, f.err
}

func (f *fakeVersions) Text(_ context.Context, number int) (string, error) {
	if number > 2 {
		return "", fmt.Errorf("%w: %d", configstore.ErrNoVersion, number)
	}
	return fmt.Sprintf(`{"version": %d}`, number), f.err
}

func (f *fakeVersions) Diff(_ context.Context, from, to int) ([]document.Change, error) {
	return []document.Change{{Path: "weight", Before: fmt.Sprint(from), After: fmt.Sprint(to)}}, f.err
}

func (f *fakeVersions) Rollback(_ context.Context, number int, who string) (configstore.Version, error) {
	if f.err == nil {
		f.rolled = append(f.rolled, fmt.Sprint(number, " by ", who))
	}
	return configstore.Version{Number: 3, Restores: number, Rollback: true, By: who}, f.err
}

func TestVersionsAreShownAndRolledBack(t *testing.T) {
	w, versions := keyedScenario(), new(fakeVersions)
	w.cfg.Versions = versions
	h := mount(w.cfg)
	key := map[string]string{keyHeader: testKey, nameHeader: "ana"}
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{http.MethodGet, "", 200, `"status":"behind","serving":1,"problem":"this instance cannot serve the version: MISSING_KEY","current":{"number":2`},
		{http.MethodGet, "/document?version=1", 200, `{"version": 1}`},
		{http.MethodGet, "/document?version=9", 404, "no_such_version"},
		{http.MethodGet, "/document", 400, "invalid_version"},
		{http.MethodGet, "/diff?from=1&to=2", 200, `"changes":[{"path":"weight","before":"1","after":"2"}]`},
		{http.MethodGet, "/diff?from=1&to=-2", 400, "invalid_version"},
		{http.MethodGet, "/rollback?version=1", 405, "method_not_allowed"},
		{http.MethodPost, "/rollback?version=x", 400, "invalid_version"},
		{http.MethodPost, "/rollback?version=1", 200, `"restores":1,"rollback":true,"written":true`},
	} {
		got := testRequest{method: c.method, path: "/ops/api/config" + c.path, header: key}.to(t, h)
		if got.Code != c.status || !strings.Contains(got.Body.String(), c.body) {
			t.Errorf("%s %s: %d %s", c.method, c.path, got.Code, got.Body)
		}
	}
	if len(versions.rolled) != 1 || versions.rolled[0] != "1 by ana" {
		t.Errorf("rolled back: %q", versions.rolled)
	}
	if a := w.actions[len(w.actions)-1]; len(w.actions) != 1 || a.Verb != "rollback" || a.Backend != "configuration version 1" || a.Who != "ana" || a.Err != nil {
		t.Errorf("audited %+v", w.actions)
	}
	for _, header := range []map[string]string{nil, {keyHeader: "wrong"}} {
		for _, path := range []string{"", "/document?version=1", "/diff?from=1&to=2"} {
			if got := (testRequest{path: "/ops/api/config" + path, header: header}).to(t, h); got.Code != 401 || strings.Contains(got.Body.String(), "version\": 1") {
				t.Errorf("without the key, %s: %d %s", path, got.Code, got.Body)
			}
		}
	}
}

func TestRollbacksThatFailAreAudited(t *testing.T) {
	for code, c := range map[string]struct {
		err    error
		status int
	}{
		"version_conflict": {configstore.ErrConflict, 409}, "version_unusable": {fmt.Errorf("%w: backends[0].endpoint", ErrUnusable), 422}, "not_available": {tablestore.ErrUnknown, 503},
		"no_such_version": {configstore.ErrNoVersion, 404}, "version_damaged": {configstore.ErrDamaged, 409},
	} {
		w := keyedScenario()
		w.cfg.Versions = &fakeVersions{err: c.err}
		got := testRequest{method: http.MethodPost, path: "/ops/api/config/rollback?version=1", header: map[string]string{keyHeader: testKey}}.to(t, mount(w.cfg))
		if is, _ := errorOf(t, got); got.Code != c.status || is != code || len(w.actions) != 1 || w.actions[0].Err == nil {
			t.Errorf("%s: %d %s, audited %+v", code, got.Code, got.Body, w.actions)
		}
	}
	w := keyedScenario()
	if got := (testRequest{path: "/ops/api/config", header: map[string]string{keyHeader: testKey}}).to(t, mount(w.cfg)); got.Code != 404 {
		t.Errorf("without a table: %d", got.Code)
	}
}
