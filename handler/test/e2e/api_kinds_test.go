package e2e_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// serveHTTP serves until the test ends, and returns the address.
func serveHTTP(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// A model of one's own as the last resort, behind an OpenAI-compatible address.
func TestOpenAICompatibleBackendServesLast(t *testing.T) {
	t.Parallel()
	r := api{resources: []simulator.Resource{deployed("azure", everyModel...), deployed("own", everyModel...)}}.start(t)
	a := api{resources: []simulator.Resource{deployed("azure", everyModel...), deployed("own", everyModel...)}, entry: func(name string, entry map[string]any) {
		withPriorities("azure", "own")(name, entry)
		if name == "own" {
			entry["kind"], entry["endpoint"] = "openai", r.sim.URL("own")+"/openai/v1"
		}
	}}
	r.host = a.handler(r)
	form, formType := multipartForm(t, []byte("sound"))
	for _, c := range []struct{ path, body, contentType string }{
		{chatPath, hello, ""},
		{"/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", `{"messages":[{"role":"user","content":"Hello"}],"stream":true}`, ""},
		{"/openai/deployments/whisper-1/audio/transcriptions?api-version=2024-10-21", form, formType},
		{"/openai/responses?api-version=2025-04-01-preview", `{"model":"gpt-4o","input":"Hello"}`, ""},
	} {
		r.sim.Next("azure", simulator.Fault{Action: "503"})
		if a := r.post(c.path, c.body, "Content-Type", contentTypeOrJSON(c.contentType)); a.status != 200 || a.backend() != "own" {
			t.Errorf("%s: %d by %q: %s", c.path, a.status, a.backend(), a.body)
		}
	}
	for _, e := range r.sim.JournalOf("own") {
		if e.Header.Get("Authorization") != "Bearer "+backendKey || e.Header.Get("Api-Key") != "" || strings.Contains(e.RawQuery, "api-version") ||
			!strings.HasPrefix(e.Path, "/openai/v1/") || !strings.HasSuffix(e.Deployment, "-at-own") {
			t.Errorf("it received %s?%s for %q with %q", e.Path, e.RawQuery, e.Deployment, e.Header.Get("Authorization"))
		}
	}
}

// jwt is a token as Entra ID makes them, but for its signature.
func jwt(audience string) string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	return part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(fmt.Sprintf(`{"aud":%q,"exp":%d}`, audience, time.Now().Add(time.Hour).Unix())) + "." + part("signature")
}

// The callers hold the role themselves: their own token goes through, and
// nothing of ours.
func TestPassThroughForwardsTheCallersToken(t *testing.T) {
	t.Parallel()
	res := deployed("a", "gpt-4o")
	res.Auth = simulator.AuthKeysDisabled
	r := api{resources: []simulator.Resource{res}, entry: func(_ string, entry map[string]any) { entry["auth"] = map[string]any{"mode": "pass-through"} }}.start(t)
	token := jwt("https://cognitiveservices.azure.com")
	if a := r.post(chatPath, hello, "Authorization", "Bearer "+token); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, e := range r.sim.Journal() {
		if e.Header.Get("Authorization") != "Bearer "+token || e.Header.Get("Api-Key") != "" {
			t.Errorf("the backend received %v", e.Header)
		}
	}
	for name, header := range map[string][]string{
		"no token":        {},
		"a key":           {"Api-Key", "some-key"},
		"a key as bearer": {"Authorization", "Bearer some-key"},
	} {
		a := r.post(chatPath, hello, header...)
		if a.status != 401 || !strings.Contains(a.body, "Entra token") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if n := len(r.sim.Journal()); n != 1 {
		t.Errorf("%d requests reached the backend, want 1", n)
	}
	// A token that the resource refuses is the caller's own matter: it closes nothing.
	for range 12 {
		if a := r.post(chatPath, hello, "Authorization", "Bearer "+jwt("https://elsewhere")); a.status != 401 {
			t.Errorf("a foreign token: %d %s", a.status, a.body)
		}
	}
	if a := r.post(chatPath, hello, "Authorization", "Bearer "+token); a.status != 200 {
		t.Errorf("after refused tokens: %d %s", a.status, a.body)
	}
}

func TestHTTP2IsUsedWhenOffered(t *testing.T) {
	t.Parallel()
	a := api{resources: []simulator.Resource{deployed("two", "gpt-4o"), deployed("one", "gpt-4o")}, tls: true, entry: func(name string, entry map[string]any) {
		withPriorities("two", "one")(name, entry)
		entry["http2"] = name == "two"
	}}
	r := &rig{t: t, sim: simulator.StartTLS(t, simulator.Config{Resources: a.resources})}
	r.host = a.handler(r, "SSL_CERT_FILE="+certificates(t, r.sim, "two", "one"))
	for range 3 {
		for _, body := range []string{hello, helloSSE} {
			if a := r.post(chatPath, body); a.status != 200 || a.backend() != "two" || a.err != nil {
				t.Errorf("%d by %q, %v: %s", a.status, a.backend(), a.err, a.body)
			}
		}
	}
	r.sim.Next("two", simulator.Fault{Action: "503"})
	r.wantServedBy("one")
	connections := map[string]bool{}
	for _, e := range r.sim.Journal() {
		if want := map[string]string{"two": "HTTP/2.0", "one": "HTTP/1.1"}[e.Resource]; e.Proto != want {
			t.Errorf("%s was spoken to in %s, want %s", e.Resource, e.Proto, want)
		}
		connections[e.Remote] = true
	}
	if len(connections) != 2 {
		t.Errorf("%d connections, want one each", len(connections))
	}
}

// certificates writes those of the resources into a file of trusted ones.
func certificates(t *testing.T, sim *simulator.Service, resources ...string) string {
	t.Helper()
	var text []byte
	for _, name := range resources {
		u, err := url.Parse(sim.URL(name))
		if err != nil {
			t.Fatal(err)
		}
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: &tls.Config{RootCAs: sim.CAPool()}}
		conn, err := dialer.DialContext(t.Context(), "tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		for _, cert := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
		}
		conn.Close()
	}
	file := filepath.Join(t.TempDir(), "trusted.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
