package scripttest

import (
	"strconv"
	"strings"
	"testing"
)

// scenario is a run of a script that succeeds with this az.
type scenario struct {
	name, script string
	args         []string
	replies      []any
	status       int
}

// scenarios are runs that between them make every read call that the scripts make.
func scenarios(zip, parameters, address string) []scenario {
	pending := Reply("network private-endpoint-connection list", []any{map[string]any{"id": "/c/ours", "properties": map[string]any{
		"privateLinkServiceConnectionState": map[string]any{"status": "Pending", "description": "Front Door of Spillway"},
	}}})
	behindDoor := func(plan string) []any {
		replies := deployed(address, plan, 1)
		for _, r := range replies {
			if r, ok := r.(map[string]any); ok && strings.Join(r["words"].([]string), " ") == "deployment sub show" {
				outputs := r["json"].(map[string]any)["properties"].(map[string]any)["outputs"].(map[string]any)
				outputs["AZURE_FRONT_DOOR_ID"] = map[string]any{"value": "4444"}
				outputs["spillway"] = map[string]any{"value": map[string]any{"address": address}}
				outputs["SPILLWAY_CONFIG"].(map[string]any)["value"].(map[string]any)["consumers"] = []any{map[string]any{"keySetting": "EUROPE_KEY"}}
			}
		}
		return append(replies, pending, Reply("network private-endpoint-connection approve", nil),
			Reply("ad signed-in-user show", map[string]any{"id": "oid-ann"}))
	}
	refused := append([]any{
		Refusal("deployment sub create", "(InsufficientQuota) gpt-5.1"),
		Reply("deployment operation sub list", []any{map[string]any{"properties": map[string]any{
			"provisioningState": "Failed", "targetResource": map[string]any{"resourceName": "openai-sweden"}, "statusMessage": map[string]any{"error": map[string]any{"code": "InsufficientQuota"}},
		}}}),
		Reply("cognitiveservices account list", []any{account("aoai-sweden-tok", "swedencentral", "demo")}),
	}, behindDoor("flex")...)
	application := append([]any{
		Reply("account show", map[string]any{"name": "Contoso", "id": "0", "user": map[string]any{"type": "servicePrincipal", "name": "app-1"}}),
		Reply("ad sp show", map[string]any{"id": "oid-app"}, "--id", "app-1"),
	}, behindDoor("premium")...)
	return []scenario{
		{"status", "aoai-status.sh", []string{"--quota", "--deleted"}, accounts(), 3},
		{"purge", "aoai-purge.sh", []string{"--environment", "demo", "--yes"}, []any{signedIn(), deleted(), purged()}, 0},
		{"destroy", "destroy.sh", []string{"--environment", "demo", "--purge", "--yes"}, installation(), 0},
		{"publish to flex", "deploy.sh", []string{"--environment", "demo", "--publish-only", "--zip", zip, "--no-smoke", "--yes"}, behindDoor("flex"), 0},
		{"deploy to premium", "deploy.sh", []string{"--environment", "demo", "--location", "x", "--parameters", parameters, "--zip", zip, "--no-smoke", "--yes", "--wait", "0"}, behindDoor("premium"), 0},
		{"deploy to premium as an application", "deploy.sh", []string{"--environment", "demo", "--location", "x", "--parameters", parameters, "--zip", zip, "--no-smoke", "--yes", "--wait", "0"}, application, 0},
		{"a deployment that is refused", "deploy.sh", []string{"--environment", "demo", "--location", "x", "--parameters", parameters, "--principal", "oid", "--no-smoke", "--yes"}, refused, 1},
		{"show what would change", "deploy.sh", []string{"--environment", "demo", "--location", "x", "--parameters", parameters, "--what-if", "--yes"}, behindDoor("flex"), 0},
		{"smoke behind a front door", "smoke.sh", []string{"--environment", "demo", "--calls", "1"}, behindDoor("flex"), 0},
	}
}

// No script reports success, and none changes anything more, once a call of az has failed; whatever the call had printed before.
func TestEveryCallThatFailsEndsTheScript(t *testing.T) {
	t.Parallel()
	spillway := NewDouble(t)
	desk := func(t *testing.T, replies []any, env ...string) *Desk {
		t.Helper()
		d := NewDesk(t, fake, replies...)
		for _, v := range append(env, "EUROPE_KEY="+consumerKey, "SPILLWAY_OPERATOR_KEY="+operatorKey) {
			d.Set(v)
		}
		return d
	}
	files := NewDesk(t, fake)
	zip, parameters := files.File("z.zip", "zip"), files.File("p.bicepparam", "param plan = 'premium'")
	for _, s := range scenarios(zip, parameters, spillway.URL) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			whole := desk(t, s.replies).Script("", s.script, s.args...)
			wantStatus(t, whole, s.status)
			for i, call := range whole.Calls {
				if strings.HasPrefix(call, "az provider register") {
					continue // six of a kind
				}
				r := desk(t, s.replies, "FAKE_AZ_FAIL="+strconv.Itoa(i+1)).Script("", s.script, s.args...)
				if r.Status != 1 {
					t.Errorf("status %d although this failed: %s\n%s", r.Status, call, r.Words)
				}
				if s.status != 0 && strings.HasSuffix(strings.TrimSpace(r.Words), strings.TrimSpace(lastLine(whole.Words))) && !changes(call) {
					t.Errorf("it explains as if it had read everything although this failed: %s\n%s", call, r.Words)
				}
				if strings.HasSuffix(r.Words, "\ndone\n") {
					t.Errorf("it reports success although this failed: %s", call)
				}
				for _, after := range r.Calls[min(i+1, len(r.Calls)):] {
					if changes(after) {
						t.Errorf("it went on with %s although this failed: %s", after, call)
					}
				}
			}
		})
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
