package simulator_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

const (
	body401Key   = `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}}`
	body401Token = `{ "statusCode": 401, "message": "Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired." }`
	v1ChatPath   = "/openai/v1/chat/completions"
	v1Hello      = `{"model":"gpt-4o","messages":[{"role":"user","content":"Hello."}]}`
)

// token is an unsigned JWT with these claims.
func token(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + part([]byte(claims)) + ".c2lnbmF0dXJl"
}

func TestCredentials(t *testing.T) {
	good := token(`{"aud":"https://cognitiveservices.azure.com","exp":4102444800}`)
	tests := []struct {
		name, path string
		headers    []string
		status     int
		body       string // "" accepts any
	}{
		{"key on the classic path", chatPath, []string{"api-key", "key-payg"}, 200, ""},
		{"key on the v1 path", v1ChatPath, []string{"api-key", "key-payg"}, 200, ""},
		{"key as bearer on v1", v1ChatPath, []string{"api-key", "", "Authorization", "Bearer key-payg"}, 200, ""},
		{"key as bearer on classic is no token", chatPath, []string{"api-key", "", "Authorization", "Bearer key-payg"}, 401, body401Token},
		{"wrong key", chatPath, []string{"api-key", "key-ptu"}, 401, body401Key},
		{"wrong key as bearer on v1", v1ChatPath, []string{"api-key", "", "Authorization", "Bearer wrong"}, 401, body401Key},
		{"no credential", chatPath, []string{"api-key", ""}, 401, body401Key},
		{"token", chatPath, []string{"api-key", "", "Authorization", "Bearer " + good}, 200, ""},
		{"token for the newer audience", v1ChatPath, []string{"api-key", "", "Authorization", "Bearer " + token(`{"aud":"https://ai.azure.com"}`)}, 200, ""},
		{"token for another audience", chatPath, []string{"api-key", "", "Authorization", "Bearer " + token(`{"aud":"https://management.azure.com"}`)}, 401, body401Token},
		{"expired token", chatPath, []string{"api-key", "", "Authorization", "Bearer " + token(`{"aud":"https://ai.azure.com","exp":1}`)}, 401, body401Token},
		{"a bearer overrides a good key", chatPath, []string{"Authorization", "Bearer " + token(`{"exp":1}`)}, 401, body401Token},
	}
	s := simulator.Start(t, pool())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := post(t, s, "payg", tt.path, v1Hello, tt.headers...)
			if r.status != tt.status || (tt.body != "" && r.body != tt.body) {
				t.Errorf("got %d %s, want %d %s", r.status, r.body, tt.status, tt.body)
			}
		})
	}
}

func TestAuthModeErrors(t *testing.T) {
	good := "Bearer " + token(`{"aud":"https://ai.azure.com"}`)
	tests := []struct {
		mode   simulator.AuthMode
		bearer string
		status int
		holds  string
	}{
		{simulator.AuthKeysDisabled, "", 403, `{"error":{"code":"AuthenticationTypeDisabled","message":"Key based authentication is disabled for this resource."}}`},
		{simulator.AuthKeysDisabled, good, 200, ``},
		{simulator.AuthNoRole, good, 401, "lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action` to perform `POST /openai/deployments/{deployment-id}/chat/completions` operation."},
		{simulator.AuthNoRole, "", 200, ``},
		{simulator.AuthNetwork, good, 403, `{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}`},
		{simulator.AuthPrivate, "", 403, `{"error":{"code":"403","message":"Public access is disabled. Please configure private endpoint."}}`},
		{simulator.AuthBlocked, good, 403, `has been temporarily blocked`},
	}
	for _, tt := range tests {
		t.Run(string(tt.mode)+tt.bearer[:min(6, len(tt.bearer))], func(t *testing.T) {
			cfg := pool()
			cfg.Resources[1].Auth = tt.mode
			s := simulator.Start(t, cfg)
			headers := []string{}
			if tt.bearer != "" {
				headers = []string{"api-key", "", "Authorization", tt.bearer}
			}
			r := post(t, s, "payg", chatPath, hello, headers...)
			if r.status != tt.status || !strings.Contains(r.body, tt.holds) {
				t.Errorf("got %d %s, want %d with %s", r.status, r.body, tt.status, tt.holds)
			}
		})
	}
}

func TestAnonymousResourceNeedsNoCredential(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Auth = simulator.AuthAnonymous
	s := simulator.Start(t, cfg)
	if r := post(t, s, "payg", chatPath, hello, "api-key", ""); r.status != 200 {
		t.Errorf("got %d %s, want 200", r.status, r.body)
	}
}

func TestStrictRecordsViolations(t *testing.T) {
	sum := sha256.Sum256([]byte(hello))
	strict := simulator.Strict{
		Secrets: []string{"caller-secret"}, OneCredential: true, NoHopByHop: true, NoStainless: true,
		Bodies: []string{hex.EncodeToString(sum[:])},
	}
	tests := []struct {
		name, path, body string
		headers          []string
		want             []string
	}{
		{"nothing", chatPath, hello, nil, nil},
		{"secret in a header", chatPath, hello, []string{"X-Custom", "my caller-secret"}, []string{"secret"}},
		{"secret in the query", chatPath + "&code=caller-secret", hello, nil, []string{"secret"}},
		{"secret in the body", chatPath, `{"messages":[{"role":"user","content":"caller-secret"}]}`, nil, []string{"secret", "body"}},
		{"two credentials", chatPath, hello, []string{"Authorization", "Bearer " + token(`{}`)}, []string{"credentials"}},
		{"no credential", chatPath, hello, []string{"api-key", ""}, []string{"credentials"}},
		{"forwarding header", chatPath, hello, []string{"X-Forwarded-For", "10.0.0.1"}, []string{"hop-by-hop"}},
		{"cookie", chatPath, hello, []string{"Cookie", "a=b"}, []string{"hop-by-hop"}},
		{"SDK header", chatPath, hello, []string{"X-Stainless-Lang", "go"}, []string{"stainless"}},
		{"changed body", chatPath, hello + " ", nil, []string{"body"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := pool()
			cfg.Strict = strict
			s := simulator.Start(t, cfg)
			r, err := sendWith(t, s, tt.path, tt.body, tt.headers)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range s.Violations() {
				got = append(got, v.Rule)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v (status %d), want %v", s.Violations(), r.status, tt.want)
			}
		})
	}
}

func TestStrictRejectsViolations(t *testing.T) {
	cfg := pool()
	cfg.Strict = simulator.Strict{Secrets: []string{"caller-secret"}, Reject: true}
	s := simulator.Start(t, cfg)
	r, err := sendWith(t, s, chatPath, hello, []string{"X-Custom", "caller-secret"})
	if err != nil || r.status != 400 {
		t.Errorf("got %d, %v; want 400", r.status, err)
	}
}

func TestMoreThanTenCustomHeadersAre431(t *testing.T) {
	cfg := pool()
	cfg.MaxCustomHeaders = 10
	s := simulator.Start(t, cfg)
	headers := []string{"X-Stainless-Lang", "go", "X-Ms-Client-Request-Id", "1"}
	for i := range 10 {
		headers = append(headers, "X-Own-"+string(rune('A'+i)), "1")
	}
	if r := post(t, s, "payg", chatPath, hello, headers...); r.status != 200 {
		t.Errorf("ten: got %d %s", r.status, r.body)
	}
	if r := post(t, s, "payg", chatPath, hello, append(headers, "X-Own-K", "1")...); r.status != 431 {
		t.Errorf("eleven: got %d, want 431", r.status)
	}
}

func newSpillover(property string) (*simulator.Service, *clock) {
	c := newClock()
	return simulator.New(simulator.Config{Now: c.Now, Resources: []simulator.Resource{{
		Name: "one", Region: "uksouth", Auth: simulator.AuthAnonymous, Deployments: []simulator.Deployment{
			{Name: "gpt-4o", Model: "gpt-4o", SKU: simulator.Provisioned, ProvisionedTokensPerMinute: 60, ContextWindow: 500, Spillover: property},
			{Name: "standard", Model: "gpt-4o", TokensPerMinute: 100000},
			{Name: "tiny", Model: "gpt-4o", TokensPerMinute: 1},
		},
	}}}), c
}

func callWithSpillover(t *testing.T, s *simulator.Service, body, header string) reply {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/one"+chatPath, strings.NewReader(body))
	if header != "" {
		r.Header.Set("X-Ms-Spillover-Deployment", header)
	}
	s.ServeHTTP(w, r)
	return reply{status: w.Code, header: w.Header(), body: w.Body.String()}
}

func TestSpilloverToStandard(t *testing.T) {
	full := costing(100)
	tests := []struct {
		name, property, header string
		fault                  string
		body                   string
		status                 int
		servedBy, cause        string
	}{
		{"429, by property", "standard", "", "", full, 200, "standard", "429"},
		{"429, by header", "", "standard", "", full, 200, "standard", "429"},
		{"the property wins", "standard", "tiny", "", full, 200, "standard", "429"},
		{"no spillover", "", "", "", full, 429, "gpt-4o", ""},
		{"unknown target", "", "nobody", "", full, 429, "gpt-4o", ""},
		{"target refuses too", "tiny", "", "", full, 429, "gpt-4o", ""},
		{"500", "standard", "", "500", full, 200, "standard", "500"},
		{"503", "standard", "", "503", full, 200, "standard", "503"},
		{"401 stays", "standard", "", "401-key", full, 401, "gpt-4o", ""},
		{"long context", "standard", "", "", costing(600), 200, "standard", "400"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newSpillover(tt.property)
			if tt.fault == "" {
				callWithSpillover(t, s, full, "") // fills the bucket
			} else {
				s.Next("one", simulator.Fault{Action: tt.fault})
			}
			r := callWithSpillover(t, s, tt.body, tt.header)
			if r.status != tt.status || r.header.Get("x-ms-deployment-name") != tt.servedBy || r.header.Get("x-ms-spillover-error") != tt.cause {
				t.Fatalf("got %d by %s for %q: %s", r.status, r.header.Get("x-ms-deployment-name"), r.header.Get("x-ms-spillover-error"), r.body)
			}
			if r.status == 429 && !strings.Contains(r.body, "provisioned throughput") {
				t.Errorf("the error is not the provisioned deployment's: %s", r.body)
			}
			from, spilled := "", "false"
			if tt.cause != "" {
				from, spilled = "gpt-4o", "true"
			}
			if r.header.Get("x-ms-spillover-from-deployment") != from || r.header.Get("x-ms-is-spilled-over") != spilled {
				t.Errorf("from %q, spilled %q", r.header.Get("x-ms-spillover-from-deployment"), r.header.Get("x-ms-is-spilled-over"))
			}
		})
	}
}
