package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"spillway/handler/internal/simulator"
)

// spillway runs a command line and returns what it printed.
func spillway(t *testing.T, args ...string) (out, errOut string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err = run(t.Context(), args, &stdout, &stderr)
	return stdout.String(), stderr.String(), err
}

// setEnvironment configures two backends of the simulator, and a consumer.
func setEnvironment(t *testing.T, sim *simulator.Service, settings map[string]string) {
	t.Helper()
	var backends []map[string]any
	for _, name := range []string{"near", "far"} {
		backends = append(backends, map[string]any{
			"name": name, "endpoint": sim.URL(name), "deployments": []string{"gpt-4o"},
			"auth": map[string]string{"mode": "api-key", "setting": "LIVE_TEST_KEY"},
		})
	}
	document, err := json.Marshal(map[string]any{"backends": backends, "consumers": []map[string]any{{"name": "team-a", "keySetting": "TEAM_A_KEY"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"SPILLWAY_CONFIG": string(document), "LIVE_TEST_KEY": "the-key-of-both", "TEAM_A_KEY": "the-key-of-team-a", "SPILLWAY_AUTH": "none",
		"SPILLWAY_STATE": "", "SPILLWAY_STATE_TABLE": "", "SPILLWAY_CONFIG_SOURCE": "", "SPILLWAY_CONFIG_ALLOW": "", "AzureWebJobsStorage": "", "FUNCTIONS_CUSTOMHANDLER_PORT": "", "XDG_CONFIG_HOME": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
	if settings["SPILLWAY_STATE"] != "" {
		h := fnv.New32a()
		h.Write([]byte(t.Name()))
		t.Setenv("SPILLWAY_STATE_TABLE", fmt.Sprintf("cli%x", h.Sum32())) // of this test alone
	}
	for name, value := range settings {
		t.Setenv(name, value)
	}
}

func startSimulator(t *testing.T) *simulator.Service {
	t.Helper()
	gpt := []simulator.Deployment{{Name: "gpt-4o", Model: "gpt-4o"}}
	return simulator.Start(t, simulator.Config{Resources: []simulator.Resource{
		{Name: "near", Keys: []string{"the-key-of-both"}, Deployments: gpt},
		{Name: "far", Keys: []string{"the-key-of-both"}, Deployments: gpt},
	}})
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				visit(sub)
			}
		}
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		out, errOut, err := spillway(t, args...)
		if err != nil || errOut != "" || !strings.Contains(out, "Examples:\n  ") || !strings.Contains(out, "spillway ") {
			t.Errorf("%v: %v\n%s%s", args, err, out, errOut)
		}
	}
	visit(newRoot())
}

func TestWrongUsageHasItsOwnExitCode(t *testing.T) {
	for _, args := range [][]string{
		{"nonsense"},
		{"valdate"},
		{"--nonsense"},
		{"serve", "x"},
		{"validate", "--life"},
		{"validate", "x"},
		{"explain"},
		{"explain", "--model"},
		{"schema", "x"},
		{"backends"},
		{"backends", "stop"},
		{"backends", "drain"},
		{"backends", "drain", "a", "b"},
		{"keys"},
		{"keys", "add"},
		{"keys", "add", "a", "--expires", "-1h"},
		{"keys", "revoke"},
		{"usage", "--by", "price"},
		{"usage", "--from", "yesterday"},
		{"usage", "--from", "1h", "--to", "2h"},
		{"usage", "x"},
		{"usage", "--csv", "--json"},
		{"replay", "--config", "x", "log", "--csv", "--json"},
		{"import", "nothing", "x"},
		{"import", "litellm"},
		{"simulate", "--nonsense"},
		{"version", "x"},
		{"completion", "tcsh"},
		{"completion"},
		{"help", "nosuch"},
		{"nosuch", "--help"},
		{"keys", "nosuch", "-h"},
		{"help", "keys", "nosuch"},
		{"keys", "rotate"},
		{"keys", "rotate", "a", "--overlap", "-1h"},
		{"backends", "watch", "--interval", "1ms"},
		{"status", "x"},
		{"explain", "--request", "r", "--model", "m"},
		{"explain", "--model", "m", "file"},
	} {
		out, _, err := spillway(t, args...)
		if exitCode(err) != 2 || out != "" || !strings.Contains(err.Error(), "--help") {
			t.Errorf("%v: exit code %d, %v, printed %q", args, exitCode(err), err, out)
		}
	}
	for says, args := range map[string][]string{
		`did you mean "validate"?`:                                             {"valdate"},
		`"nothing" is no source: write one of openai-apim-lb`:                  {"import", "nothing", "x"},
		"spillway: wrong usage: flag provided but not defined: -nonsense; see": {"simulate", "--nonsense"},
	} {
		if _, _, err := spillway(t, args...); !strings.Contains("spillway: "+err.Error(), says) {
			t.Errorf("%v: %v, want %q", args, err, says)
		}
	}
}

func TestVersionAndCompletion(t *testing.T) {
	flag, _, err := spillway(t, "--version")
	command, _, err2 := spillway(t, "version")
	if err != nil || err2 != nil || flag != command || !strings.HasPrefix(flag, "spillway dev go") {
		t.Errorf("%q, %q, %v, %v", flag, command, err, err2)
	}
	for shell, want := range map[string]string{"bash": "bash completion", "zsh": "#compdef", "fish": "fish completion", "powershell": "Register-ArgumentCompleter"} {
		if out, _, err := spillway(t, "completion", shell); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v: %.200s", shell, err, out)
		}
	}
	out, _, err := spillway(t, "version", "--json")
	var got versionJSON
	if err2 := json.Unmarshal([]byte(out), &got); err != nil || err2 != nil || got != versionOf() {
		t.Errorf("%v, %v: %s", err, err2, out)
	}
	for _, args := range [][]string{{"help"}, {"help", "keys", "add"}, {"keys", "add", "-h"}} {
		if out, _, err := spillway(t, args...); err != nil || !strings.Contains(out, "Usage:") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

func TestValidateLiveReportsFailingBackends(t *testing.T) {
	sim := startSimulator(t)
	setEnvironment(t, sim, nil)
	if _, _, err := spillway(t, "validate"); err != nil || len(sim.Journal()) > 0 {
		t.Fatalf("without --live no backend is asked: %v, %d requests", err, len(sim.Journal()))
	}
	if out, _, err := spillway(t, "validate", "--live"); err != nil || !strings.Contains(out, "live: 0 errors") {
		t.Fatalf("%v\n%s", err, out)
	}
	sim.Fault("far", simulator.Fault{Action: "403-network"})
	out, _, err := spillway(t, "validate", "--live")
	if exitCode(err) != 1 || !strings.Contains(out, "error: backends[1] far: its network rules") {
		t.Errorf("%v\n%s", err, out)
	}
	if strings.Contains(out, "the-key-of-both") {
		t.Error("the key is shown")
	}
}

func TestExplainShowsTheFencesOfAConsumer(t *testing.T) {
	setEnvironment(t, startSimulator(t), nil)
	t.Setenv("SPILLWAY_AUTH", "key")
	t.Setenv("EU_KEY", "key-of-the-consumer-eu")
	t.Setenv("SPILLWAY_CONFIG", `{"backends": [
		{"name": "us1", "endpoint": "https://a.openai.azure.com", "geography": "us", "priority": 1, "deployments": ["gpt-4o", "gpt-4o-mini"]},
		{"name": "eu1", "endpoint": "https://b.openai.azure.com", "geography": "eu", "priority": 1, "deployments": ["gpt-4o", "gpt-4o-mini"]},
		{"name": "eu2", "endpoint": "https://c.openai.azure.com", "geography": "eu", "priority": 2, "deployments": ["gpt-4o", "o3"]}],
		"models": {"gpt-4o": {"fallbacks": ["gpt-4o-mini"]}},
		"consumers": [{"name": "eu", "keySetting": "EU_KEY", "geographies": ["eu"], "minPriority": 2, "models": ["gpt-4o"], "concurrency": 3}]}`)
	out, _, err := spillway(t, "explain", "--model", "GPT-4o", "--consumer", "eu")
	for _, want := range []string{
		"consumer eu: models gpt-4o; geographies eu; priority groups from 2 on; at most 3 at once on each instance\n",
		"1. eu2 ", "us1 ", "outside the consumer's geographies", "eu1 ", "priority group reserved for other consumers", "none: gpt-4o-mini is not among the consumer's models",
	} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: no %q in\n%s", err, want, out)
		}
	}
	if out, _, err := spillway(t, "explain", "--model", "o3", "--consumer", "eu"); err != nil || !strings.Contains(out, "none: o3 is not among") || strings.Contains(out, "eu2 ") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, _, err := spillway(t, "explain", "--model", "gpt-4o", "--consumer", "eu", "--json"); err != nil || !strings.Contains(out, `"minPriority": 2`) {
		t.Errorf("%v\n%s", err, out)
	}
	if _, _, err := spillway(t, "explain", "--model", "gpt-4o", "--consumer", "nobody"); err == nil || !strings.Contains(err.Error(), "use one of: eu") {
		t.Errorf("an unknown consumer: %v", err)
	}
}

func TestValidateAndExplainPrintJSON(t *testing.T) {
	setEnvironment(t, startSimulator(t), nil)
	out, _, err := spillway(t, "validate", "--json")
	var valid struct {
		Valid    bool
		Backends int
		Faults   []faultJSON
	}
	if err2 := json.Unmarshal([]byte(out), &valid); err != nil || err2 != nil || !valid.Valid || valid.Backends != 2 || len(valid.Faults) > 0 {
		t.Errorf("%v, %v\n%s", err, err2, out)
	}
	out, _, err = spillway(t, "explain", "--model", "gpt-4o", "--json")
	var explained struct{ Pools []poolJSON }
	if err2 := json.Unmarshal([]byte(out), &explained); err != nil || err2 != nil || len(explained.Pools) != 1 || len(explained.Pools[0].Candidates) != 2 {
		t.Errorf("%v, %v\n%s", err, err2, out)
	}
	t.Setenv("LIVE_TEST_KEY", "")
	out, _, err = spillway(t, "validate", "--json")
	if err2 := json.Unmarshal([]byte(out), &valid); exitCode(err) != 1 || err2 != nil || valid.Valid || len(valid.Faults) != 2 || valid.Faults[0].Path != "backends[0].auth.setting" {
		t.Errorf("%v, %v\n%s", err, err2, out)
	}
}

// The commands that use the table alone work on a machine that has no secret
// but the table's.
func testTableCommandsNeedNoOtherSecret(t *testing.T, azurite string) {
	setEnvironment(t, startSimulator(t), map[string]string{
		"SPILLWAY_STATE": azurite, "LIVE_TEST_KEY": "", "TEAM_A_KEY": "", "SPILLWAY_AUTH": "key,entra", "SPILLWAY_OPERATOR_KEY": "short",
	})
	key, prose, err := spillway(t, "keys", "add", "team-a", "--expires", "1h")
	if err != nil || !strings.HasPrefix(key, "spw_") || strings.Count(key, "\n") != 1 || strings.Contains(prose, "spw_") {
		t.Fatalf("%q, %q, %v", key, prose, err)
	}
	out, _, err := spillway(t, "keys", "list", "--json")
	var listed []keyJSON
	if err2 := json.Unmarshal([]byte(out), &listed); err != nil || err2 != nil || len(listed) != 1 || listed[0].Consumer != "team-a" || listed[0].Expires.IsZero() {
		t.Fatalf("%v, %v\n%s", err, err2, out)
	}
	for _, args := range [][]string{
		{"keys", "list"}, {"keys", "revoke", listed[0].ID}, {"backends", "drain", "near"}, {"backends", "list"}, {"usage"}, {"usage", "--json"}, {"explain", "--model", "gpt-4o"}, {"status"},
	} {
		if out, _, err := spillway(t, args...); err != nil || out == "" || strings.Contains(out, strings.TrimSpace(key)) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	out, _, err = spillway(t, "backends", "list", "--json")
	var state struct{ Backends []slotJSON }
	if err2 := json.Unmarshal([]byte(out), &state); err != nil || err2 != nil || len(state.Backends) != 2 || state.Backends[0].DrainedBy == "" || state.Backends[1].DrainedBy != "" {
		t.Errorf("%v, %v\n%s", err, err2, out)
	}
}

// Usage needs the table, and no document.
func TestTableCommandsNameTheMissingSetting(t *testing.T) {
	setEnvironment(t, startSimulator(t), map[string]string{"SPILLWAY_CONFIG": ""})
	for args, want := range map[string]string{"usage": "SPILLWAY_STATE", "keys list": "SPILLWAY_CONFIG", "backends list": "SPILLWAY_CONFIG"} {
		if _, _, err := spillway(t, strings.Fields(args)...); exitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// An operator gives what was made without the gateway to a consumer, and nothing that
// has an owner.
func testAdoptedIDs(t *testing.T, azurite string) {
	sim := startSimulator(t)
	setEnvironment(t, sim, map[string]string{"SPILLWAY_STATE": azurite, "SPILLWAY_AUTH": "key", "TEAM_B_KEY": "the-key-of-team-b", "SPILLWAY_CONFIG": `{
		"backends": [{"name": "near", "endpoint": "` + sim.URL("near") + `", "deployments": ["gpt-4o"], "auth": {"mode": "api-key", "setting": "LIVE_TEST_KEY"}}],
		"consumers": [{"name": "team-a", "keySetting": "TEAM_A_KEY"}, {"name": "team-b", "keySetting": "TEAM_B_KEY"}]}`})
	for _, step := range []struct{ args, want, fault string }{
		{"--dry-run --consumer team-a --backend near file-1", "file file-1 would belong to team-a", ""},
		{"--dry-run --consumer team-b --backend near file-1", "file file-1 would belong to team-b", ""}, // the first one recorded nothing
		{"--consumer team-a --backend near file-1 vs_1", "file file-1 belongs to team-a\nvector store vs_1 belongs to team-a", ""},
		{"--consumer team-a --backend near file-1", "file file-1 belongs to team-a", ""},
		{"--dry-run --consumer team-a --backend near file-1", "file file-1 belongs already to team-a", ""},
		{"--dry-run --consumer team-b --backend near file-1", "", "adopt file-1: the id belongs to another consumer"},
		{"--consumer team-b --backend near file-1 file-2", "file file-2 belongs to team-b", "adopt file-1: the id belongs to another consumer"},
		{"--consumer team-a --backend near 1234", "", "name it with --kind"},
		{"--consumer team-a --backend near --kind prompt 1234", "prompt 1234 belongs to team-a", ""},
		{"--consumer team-a --backend near --kind nonsense 1234", "", `no kind "nonsense"`},
		{"--consumer nobody --backend near file-3", "", `no consumer "nobody"`},
		{"--consumer team-a --backend nowhere file-3", "", `no backend "nowhere"`},
	} {
		out, _, err := spillway(t, append([]string{"ids", "adopt"}, strings.Fields(step.args)...)...)
		if strings.TrimSpace(out) != step.want || (err == nil) != (step.fault == "") || err != nil && !strings.Contains(err.Error(), step.fault) {
			t.Errorf("%s: %q, %v, want %q and %q", step.args, out, err, step.want, step.fault)
		}
	}
	for _, args := range []string{"", "--consumer team-a", "--backend near file-1", "--consumer team-a --backend near"} {
		if _, _, err := spillway(t, append([]string{"ids", "adopt"}, strings.Fields(args)...)...); exitCode(err) != 2 {
			t.Errorf("ids adopt %s: %v, want wrong usage", args, err)
		}
	}
}
