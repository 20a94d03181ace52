package admin

import (
	"strings"
	"testing"
	"time"
)

// The page is the same for everybody and holds no data; it only knows whether it
// needs a key.
func TestPageHoldsNoData(t *testing.T) {
	for _, keyless := range []bool{true, false} {
		w := hostileScenario(time.Now)
		if w.cfg.Open = keyless; !keyless {
			w.cfg.Key = testKey
		}
		body := testRequest{path: "/ops/", header: map[string]string{"Accept": "text/html"}}.to(t, mount(w.cfg)).Body.String()
		if strings.Contains(body, "<body data-keyless>") != keyless || strings.Count(body, "<script") != 1 || strings.Contains(body, "onerror") {
			t.Errorf("keyless %v: %.200s", keyless, body)
		}
	}
}
