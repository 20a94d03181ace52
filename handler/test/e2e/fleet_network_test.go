package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// networkPath is what is between a fleet's instances and one of its backends. It
// can be broken for a single instance, at the same address for all.
type networkPath struct {
	url    string
	broken atomic.Int64 // bit n: instance n gets 503 instead
}

// open begins to forward to the backend, until the test ends.
func (p *networkPath) open(t *testing.T, backend string) {
	t.Helper()
	target, err := url.Parse(backend)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := memberOfKey(r.Header.Get("Api-Key")); n >= 0 && p.broken.Load()>>n&1 == 1 {
			azureError(w, http.StatusServiceUnavailable, "ServiceUnavailable")
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.url = strings.TrimSuffix(server.URL, "/")
}

// breakFor breaks it for these instances, and mends it for all others.
func (p *networkPath) breakFor(members ...*member) {
	var broken int64
	for _, m := range members {
		broken |= 1 << m.n
	}
	p.broken.Store(broken)
}
