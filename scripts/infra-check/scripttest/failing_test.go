package scripttest

import (
	"os"
	"path/filepath"
	"regexp"
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
		"privateLinkServiceConnectionState": map[string]any{"status": "Pending", "description": "Front Door of Spillway 4444"},
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
		Reply("cognitiveservices account list", []any{account("aoai-sweden-tok0123456789", "swedencentral", "demo")}),
	}, behindDoor("flex")...)
	application := append([]any{
		Reply("account show", map[string]any{"name": "Contoso", "id": "0", "user": map[string]any{"type": "servicePrincipal", "name": "app-1"}}),
		Reply("ad sp show", map[string]any{"id": "oid-app"}, "--id", "app-1"),
	}, behindDoor("premium")...)
	return []scenario{
		{"status", "aoai-status.sh", []string{"--quota", "--deleted"}, accounts(), 3},
		{"purge", "aoai-purge.sh", []string{"--environment", "demo", "--yes"}, deleted(), 0},
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
				how := "fails after its answer"
				if i%2 == 1 {
					how = "fails without a word"
				}
				r := desk(t, s.replies, "FAKE_AZ_FAIL="+strconv.Itoa(i+1), "FAKE_AZ_HOW="+how).Script("", s.script, s.args...)
				endedBy(t, r, i, how+": "+call)
				if s.status != 0 && !changes(call) && lastLine(r.Words) == lastLine(whole.Words) {
					t.Errorf("it explains as if it had read everything although this %s: %s\n%s", how, call, r.Words)
				}
			}
		})
	}
}

// endedBy checks that a script ended with its call of this number, which went wrong.
func endedBy(t *testing.T, r Run, call int, what string) {
	t.Helper()
	if r.Status != 1 {
		t.Errorf("status %d although this %s\n%s", r.Status, what, r.Words)
	}
	if strings.HasSuffix(r.Words, "\ndone\n") {
		t.Errorf("it reports success although this %s", what)
	}
	for _, after := range r.Calls[min(call+1, len(r.Calls)):] {
		if changes(after) {
			t.Errorf("it went on with %s although this %s", after, what)
		}
	}
}

// An answer that did not come, is cut off, or is a proxy's page is no short list, although az ended well: what it leaves out may be
// somebody else's. Each script reads az by rows_of and text_of alone, so that a deletion stands for all.
func TestAnAnswerThatIsNotWholeEndsTheScript(t *testing.T) {
	t.Parallel()
	run := func(i int, how string) Run {
		d := NewDesk(t, fake, installation()...)
		d.Set("FAKE_AZ_FAIL=" + strconv.Itoa(i+1))
		d.Set("FAKE_AZ_HOW=" + how)
		return d.Script("", "destroy.sh", "--environment", "demo", "--purge", "--yes")
	}
	ways := []string{"prints nothing", "prints a page", "prints a part"}
	whole := run(-1, "")
	wantStatus(t, whole, 0)
	for i, call := range whole.Calls {
		for n, how := range ways {
			// Each list goes wrong in one of the ways, that of what a group holds in all of them.
			if strings.Contains(call, "resource list") || strings.Contains(call, " list ") && i%len(ways) == n {
				endedBy(t, run(i, how), i, how+": "+call)
			}
		}
	}
	// az warns on its standard error, of extensions and of previews: that is neither an answer nor a failure.
	warned := run(2, "warns")
	wantStatus(t, warned, 0)
	wantCalls(t, warned.Calls, whole.Calls)
}

// reading is a command of az in a script, at the beginning of a command or behind the name of a function.
var reading = regexp.MustCompile(`(?m)^(?:.*[({;|] *|.*\b(?:of|act) (?:\w+ )?| *)(?:ask_az|az) [a-z].*$`)

func TestScriptsReadAzInOneWay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(Root, "scripts", "*.sh"))
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range reading.FindAllString(string(b), -1) {
			if !strings.HasPrefix(line, "#") && !strings.Contains(line, "text_of ") && !strings.Contains(line, "act az rest") && !strings.Contains(line, "sub what-if") {
				t.Errorf("%s: az is read by neither rows_of nor text_of: %s", filepath.Base(file), line)
			}
		}
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
