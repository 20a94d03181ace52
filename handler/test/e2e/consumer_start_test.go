package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"spillway/handler/test/funchost"
)

// misconfigured is a policy that would admit everybody or nobody, and the fault
// that the program reports.
type misconfigured struct {
	consumers []map[string]any
	env       []string
	says      []string
}

func misconfigurations() map[string]misconfigured {
	team := []map[string]any{{"name": "team", "keySetting": "TEAM_KEY"}}
	app := []map[string]any{{"name": "team", "entra": map[string]any{"appId": appID}}}
	key, audience, tenant := "TEAM_KEY="+teamKey, "SPILLWAY_ENTRA_AUDIENCE=api://x", "SPILLWAY_ENTRA_TENANT="+tenantID
	auth := func(value string, more ...string) []string {
		return append([]string{"SPILLWAY_AUTH=" + value}, more...)
	}
	return map[string]misconfigured{
		"nothing said, nobody there":    {nil, nil, []string{"SPILLWAY_AUTH", "none"}},
		"keys, nobody there":            {nil, auth("key"), []string{"consumers"}},
		"keys, and nobody can have one": {[]map[string]any{{"name": "team"}}, auth("key"), []string{"keySetting", "SPILLWAY_STATE"}},
		"key that is not there":         {team, auth("key"), []string{"TEAM_KEY"}},
		"key that is empty":             {team, auth("key", "TEAM_KEY="), []string{"TEAM_KEY"}},
		"key that can be guessed":       {team, auth("key", "TEAM_KEY=secret"), []string{"TEAM_KEY", "16"}},
		"one key of two":                {append(team, map[string]any{"name": "other", "keySetting": "OTHER_KEY"}), auth("key", key, "OTHER_KEY="+teamKey), []string{"OTHER_KEY", `"team"`}},
		"none, misspelt":                {team, auth("non", key), []string{"SPILLWAY_AUTH", `"none"`}},
		"None, in capitals":             {team, auth("None", key), []string{"SPILLWAY_AUTH"}},
		"off":                           {team, auth("off", key), []string{"SPILLWAY_AUTH"}},
		"false":                         {team, auth("false", key), []string{"SPILLWAY_AUTH"}},
		"none with keys":                {team, auth("key,none", key), []string{"SPILLWAY_AUTH", "none"}},
		"an empty word":                 {team, auth("key,", key), []string{"SPILLWAY_AUTH"}},
		"a semicolon":                   {app, auth("key;entra", audience, tenant), []string{"SPILLWAY_AUTH"}},
		"tokens for anybody":            {app, auth("entra", tenant), []string{"SPILLWAY_ENTRA_AUDIENCE"}},
		"tokens of anybody":             {app, auth("entra", audience), []string{"SPILLWAY_ENTRA_TENANT"}},
		"tokens of every tenant":        {app, auth("entra", audience, "SPILLWAY_ENTRA_TENANT=common"), []string{"SPILLWAY_ENTRA_TENANT", "every tenant"}},
		"tokens of the organizations":   {app, auth("entra", audience, "SPILLWAY_ENTRA_TENANT=Organizations"), []string{"SPILLWAY_ENTRA_TENANT"}},
		"issuer in the clear":           {app, auth("entra", audience, tenant, "SPILLWAY_ENTRA_ISSUER=http://issuer.example"), []string{"SPILLWAY_ENTRA_ISSUER", "https"}},
		"tokens, and nobody has one":    {team, auth("key,entra", key, audience, tenant), []string{"entra"}},
		"tokens that fit all":           {[]map[string]any{{"name": "team", "entra": map[string]any{}}}, auth("entra", audience, tenant), []string{"entra", "appId"}},
		"two of one application":        {append(app, map[string]any{"name": "other", "entra": map[string]any{"appId": strings.ToUpper(appID)}}), auth("entra", audience, tenant), []string{"team"}},
		"consumers in both":             {append(team, app[0]), auth("key", key), []string{"team"}},
		"a rule misspelt":               {[]map[string]any{{"name": "team", "keySetting": "TEAM_KEY", "tokensPerMinutes": 5}}, auth("key", key), []string{"tokensPerMinutes", "tokensPerMinute"}},
		"a money limit without prices":  {[]map[string]any{{"name": "team", "keySetting": "TEAM_KEY", "budgetPerMonth": 5}}, auth("key", key), []string{"budgetPerMonth", "price"}},
		"a model that nobody serves":    {[]map[string]any{{"name": "team", "keySetting": "TEAM_KEY", "models": []string{"gpt-40"}}}, auth("key", key), []string{"gpt-40", "gpt-4o"}},
		"a short operators' key":        {team, auth("key", key, "SPILLWAY_OPERATOR_KEY=short"), []string{"SPILLWAY_OPERATOR_KEY"}},
	}
}

func (m *misconfigured) document() string {
	doc, _ := json.Marshal(map[string]any{"consumers": m.consumers, "backends": []map[string]any{{
		"name": "a", "endpoint": "http://127.0.0.1:1", "deployments": []string{"gpt-4o"}, "auth": map[string]any{"mode": "none"},
	}}})
	return string(doc)
}

// A policy that never fires, or that lets everybody in by mistake, does not
// start: the command names the setting and ends with 1.
func TestUnsatisfiablePolicyIsAConfigurationFault(t *testing.T) {
	t.Parallel()
	for name, m := range misconfigurations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := append([]string{"SPILLWAY_CONFIG=" + m.document(), "SPILLWAY_LISTEN=127.0.0.1:0"}, m.env...)
			stderr, code := started(t, env)
			if code != 1 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			for _, word := range m.says {
				if !strings.Contains(stderr, word) {
					t.Errorf("%q is not named in: %s", word, stderr)
				}
			}
			if strings.Contains(stderr, teamKey) {
				t.Errorf("a key is in: %s", stderr)
			}
		})
	}
}

// started starts the program and waits for its end; a program that goes on is
// ended, with the code -1.
func started(t *testing.T, env []string) (stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, stagedProgram())
	cmd.Env = append(append(os.Environ(), "FUNCTIONS_CUSTOMHANDLER_PORT=", "SPILLWAY_STATE=", "AzureWebJobsStorage="), env...)
	var said strings.Builder
	cmd.Stderr = &said
	_ = cmd.Run() // the exit code is checked
	return said.String(), cmd.ProcessState.ExitCode()
}

// Under the host such a policy answers 503 to everybody. SPILLWAY_AUTH=none
// admits everybody and logs a warning at start.
func TestAuthNoneMustBeExplicit(t *testing.T) {
	t.Parallel()
	m := misconfigurations()["none, misspelt"]
	host := funchost.Start(t, funchost.Options{Root: staged, Env: append([]string{"SPILLWAY_CONFIG=" + m.document(), "SPILLWAY_STATE=", "AzureWebJobsStorage="}, m.env...)})
	for _, header := range [][]string{nil, {"api-key", teamKey}, {"Authorization", "Bearer " + teamKey}} {
		wantConfigInvalid(t, ask(t.Context(), t, http.MethodPost, host.URL+chatPath, hello, header...))
	}
	r := start(t, setup{env: []string{"SPILLWAY_AUTH=none"}})
	r.wantServedBy("ptu")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.host.WaitLine(ctx, `"auth":"everyone"`); err != nil {
		t.Errorf("that everybody is let in is not said at the start: %v", err)
	}
}
