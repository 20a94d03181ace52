package scripttest

import (
	"strings"
	"testing"
)

func accounts() []any {
	account := func(name, kind, state, environment string) map[string]any {
		return map[string]any{
			"name": name, "kind": kind, "resourceGroup": "rg-demo", "location": "swedencentral",
			"properties": map[string]any{"provisioningState": state}, "tags": map[string]any{"azd-env-name": environment},
		}
	}
	deployment := func(name, state string) map[string]any {
		return map[string]any{
			"name": name, "sku": map[string]any{"name": "GlobalStandard", "capacity": 50},
			"properties": map[string]any{"provisioningState": state, "model": map[string]any{"name": "gpt-4o", "version": "2024-11-20"}},
		}
	}
	return []any{
		signedIn(),
		Reply("cognitiveservices account list", []any{
			account("aoai-one", "OpenAI", "Succeeded", "demo"), account("aoai-two", "AIServices", "Succeeded", "other"),
			account("speech", "SpeechServices", "Failed", "demo"),
		}),
		Reply("cognitiveservices account deployment list", []any{deployment("gpt-4o", "Succeeded"), deployment("gpt-4o-ptu", "Creating")}, "--name", "aoai-one"),
		Reply("cognitiveservices account deployment list", []any{deployment("gpt-4o", "Succeeded")}, "--name", "aoai-two"),
		Reply("cognitiveservices usage list", []any{
			map[string]any{"name": map[string]any{"value": "OpenAI.GlobalStandard.gpt-4o"}, "currentValue": 100, "limit": 450},
			map[string]any{"name": map[string]any{"value": "OpenAI.Standard.gpt-4o"}, "currentValue": 0, "limit": 150},
		}),
		deleted()[1],
	}
}

func TestStatusShowsEveryDeploymentAndItsState(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, accounts()...)
	r := d.Script("", "aoai-status.sh")
	wantStatus(t, r, 3) // one is still being created
	wantWords(t, r, "aoai-one", "gpt-4o-ptu", "Creating", "aoai-two", "GlobalStandard", "2024-11-20")
	if strings.Contains(r.Out, "speech") {
		t.Error("it shows an account that is not for Azure OpenAI")
	}
	wantCalls(t, r.changing(), nil)
}

func TestStatusOfOneInstallation(t *testing.T) {
	t.Parallel()
	d := NewDesk(t, fake, accounts()...)
	r := d.Script("", "aoai-status.sh", "--environment", "other", "--quota", "--deleted", "--resource-group", "rg-demo")
	wantStatus(t, r, 0)
	wantWords(t, r, "aoai-two", "OpenAI.GlobalStandard.gpt-4o", "100", "450", "aoai-prod")
	if strings.Contains(r.Out, "aoai-one") || strings.Contains(r.Out, "OpenAI.Standard.gpt-4o") {
		t.Errorf("it shows more than was asked for:\n%s", r.Out)
	}
}
