package simulator_test

import (
	"encoding/base64"
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

func TestCredentialsAreJudgedAsAzureDoes(t *testing.T) {
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

func TestAuthModesRefuseInTheirOwnWords(t *testing.T) {
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

func TestAnonymousResourceAsksForNoCredential(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Auth = simulator.AuthAnonymous
	s := simulator.Start(t, cfg)
	if r := post(t, s, "payg", chatPath, hello, "api-key", ""); r.status != 200 {
		t.Errorf("got %d %s, want 200", r.status, r.body)
	}
}
