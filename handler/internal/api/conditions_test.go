package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/telemetry/condition"
)

// An instance whose callers cannot be authenticated is not ready, and says which
// part fails to whoever may know.
func TestReadinessKnowsTheCredentialsAndTheParts(t *testing.T) {
	g := newGateway(t)
	s := g.Server
	var keys error
	s.CredentialsReady = func() error { return keys }
	s.Conditions = condition.New(
		condition.Part{Name: "entra-keys", Works: "keys", Fix: "check DNS", Check: func(time.Time) (condition.State, error) {
			if keys == nil {
				return condition.OK, nil
			}
			return condition.Failing, keys
		}},
		condition.Part{Name: "usage", Check: func(time.Time) (condition.State, error) { return condition.OK, nil }})
	s.Operator = func(r *http.Request) bool { return r.Header.Get("X-Spillway-Operator-Key") == "op" }
	get := func(key, value string) (int, string, []condition.JSON) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health/ready?verbose", http.NoBody)
		r.Header.Set(key, value)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		var body struct{ Parts []condition.JSON }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		return w.Code, w.Body.String(), body.Parts
	}
	s.Conditions.Check(time.Now())
	if code, body, parts := get("X-Spillway-Operator-Key", "op"); code != http.StatusOK || len(parts) != 2 || parts[0] != (condition.JSON{Part: "entra-keys", State: "ok"}) {
		t.Errorf("%d %s", code, body)
	}
	keys = errors.New("fetch https://login: status 502")
	s.Conditions.Check(time.Now())
	if code, body, parts := get("X-Spillway-Operator-Key", "op"); code != http.StatusServiceUnavailable || parts[0].State != "failing" || parts[0].Why != keys.Error() || parts[0].Since.IsZero() || parts[0].Fix == "" || parts[0].Works == "" {
		t.Errorf("%d %s", code, body)
	}
	if code, body, parts := get("X", "y"); code != http.StatusServiceUnavailable || len(parts) != 2 || strings.Contains(body, "502") {
		t.Errorf("a caller: %d %s", code, body)
	}
	g.authenticate = func() (*consumer.Consumer, error) { return nil, auth.ErrMissing }
	if code, body, parts := get("X", "y"); code != http.StatusServiceUnavailable || parts != nil || strings.Contains(body, "entra") {
		t.Errorf("anybody: %d %s", code, body)
	}
}
