package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// written is one request that the blob service received.
type written struct{ method, path, authorization, body string }

// TestTranscriptsByManagedIdentity runs with the app settings
// that infra/ emits for transcripts: the addresses as Azure gives them, with a
// that of blobs without, the identity by its client id. The table is out of
// reach, which holds nothing up.
func TestTranscriptsByManagedIdentity(t *testing.T) {
	t.Parallel()
	const client, callersKey = "22222222-3333-4444-5555-666666666666", "callers-key-0123456789-0123456789-0123456789"
	blobs, tokens := make(chan written, 16), make(chan string, 16)
	storage := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		blobs <- written{r.Method, r.URL.EscapedPath(), r.Header.Get("Authorization"), string(body)}
		w.WriteHeader(http.StatusCreated)
	})
	identity := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Header.Get("X-Identity-Header") != "canary" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		select { // more than anybody reads are of no interest
		case tokens <- q.Get("resource") + " for " + q.Get("client_id"):
		default:
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"access_token": "token-canary", "expires_on": "4102444800", "resource": q.Get("resource"), "token_type": "Bearer"})
	})
	r := start(t, setup{
		document: map[string]any{"consumers": []any{map[string]any{"name": "team-a", "keySetting": "TEAM_A_KEY", "transcripts": true}}},
		env: []string{
			"SPILLWAY_AUTH=key", "TEAM_A_KEY=" + callersKey, "SPILLWAY_TRANSCRIPTS=transcripts", `SPILLWAY_TRANSCRIPTS_REDACT=["patient-[0-9]+"]`,
			"SPILLWAY_STATE__tableServiceUri=http://127.0.0.1:1/", "SPILLWAY_STATE__blobServiceUri=" + storage + "/",
			"SPILLWAY_STATE__credential=managedidentity", "SPILLWAY_STATE__clientId=" + client,
			"IDENTITY_ENDPOINT=" + identity + "/msi/token", "IDENTITY_HEADER=canary",
		},
	})
	a := r.post(chatPath, `{"model":"gpt-4o","messages":[{"role":"user","content":"About patient-4711"}]}`, "api-key", callersKey)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	wantTranscript(t, blobs)
	wantToken(t, tokens, "https://storage.azure.com", client)
}

// wantTranscript waits for the request, which is stored with its answer.
func wantTranscript(t *testing.T, blobs <-chan written) {
	t.Helper()
	for deadline := time.After(time.Minute); ; {
		select {
		case b := <-blobs:
			if b.method != http.MethodPut || !strings.HasPrefix(b.path, "/transcripts/") || b.authorization != "Bearer token-canary" {
				t.Errorf("the blob service received %s %s with %q", b.method, b.path, b.authorization)
			}
			if strings.HasSuffix(b.path, ".answer") {
				continue
			}
			if !strings.Contains(b.body, "About [redacted]") || strings.Contains(b.body, "4711") {
				t.Errorf("kept in %s: %s", b.path, b.body)
			}
			return
		case <-deadline:
			t.Fatal("no request was kept")
		}
	}
}

// wantToken looks for a token that was asked for, for that resource and identity.
func wantToken(t *testing.T, tokens <-chan string, resource, client string) {
	t.Helper()
	for {
		select {
		case got := <-tokens:
			if strings.ReplaceAll(got, "/ for ", " for ") == resource+" for "+client {
				return
			}
		default:
			t.Fatalf("no token was asked for %s", resource)
		}
	}
}
