package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// writes tells of each row that is written.
type writes struct {
	tablestore.Store
	done chan struct{}
}

func (s writes) Upsert(ctx context.Context, r tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	defer func() { s.done <- struct{}{} }()
	return s.Store.Upsert(ctx, r) //nolint:wrapcheck // the store's own
}

// The page of an instance that serves says that another one does not.
func TestInvalidConfigurationIsShownByOthers(t *testing.T) {
	now := time.Now()
	at := func() time.Time { return now }
	store := writes{new(memory.Store), make(chan struct{}, 10)}
	good, _ := sharing(store, "good", at)
	good.cfg.Open = true
	report := NewOutOfService(store, "bad", "1.2.3", now.Add(-time.Minute), []string{"backends[0].endpoint: is missing", strings.Repeat("x", 1000)})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); report.Run(ctx) }()
	<-store.done
	stop()
	<-ended

	// The first look shows it: what was read before, or never, would hide it.
	o := runHandler(t, good.cfg)
	w := httptest.NewRecorder()
	o.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/ops/api/status", http.NoBody))
	var s Status
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		t.Fatalf("%v: %d %s", err, w.Code, w.Body)
	}
	if want := "bad refuses every request: the configuration is not valid"; s.Headline.Text != want || s.Headline.Level != LevelCritical {
		t.Errorf("%+v, want %q", s.Headline, want)
	}
	if len(s.Conditions) != 1 || s.Conditions[0].Instance != "bad" || s.Conditions[0].Since.Unix() != now.Add(-time.Minute).Unix() ||
		!strings.HasPrefix(s.Conditions[0].Why, "backends[0].endpoint: is missing xxx") || len(s.Conditions[0].Why) > 400 {
		t.Errorf("%+v", s.Conditions)
	}
	if e := o.timeline(now); len(e) != 1 || e[0].Kind != ConfigChanged {
		t.Errorf("the events do not have it: %+v", e)
	}
	now = now.Add(time.Hour)
	if s := o.currentStatus(); s.Headline.Level != LevelOK {
		t.Errorf("an hour later: %+v", s.Headline)
	}
}
