package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/handler/internal/configstore"
)

// pool writes a variant of the environment's document into a file.
func pool(t *testing.T, replace ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pool.json")
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(os.Getenv("SPILLWAY_CONFIG"))), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// succeeds runs a command line that works.
func succeeds(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, err := spillway(t, args...)
	if err != nil || errOut != "" {
		t.Fatalf("%v: %v\n%s", args, err, errOut)
	}
	return out
}

func testConfigVersions(t *testing.T, state string) {
	setEnvironment(t, startSimulator(t), map[string]string{"SPILLWAY_STATE": state, "SPILLWAY_CONFIG_SOURCE": "table:func-a"})
	drained, renamed := pool(t, `"name":"near"`, `"name":"near","weight":0`), pool(t, `"team-a"`, `"team-b"`)
	if out := succeeds(t, "config", "history"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "SPILLWAY_CONFIG") {
		t.Errorf("before the first push:\n%s", out)
	}
	const change = "+ backends[\"near\"].weight: 0\n"
	if out := succeeds(t, "config", "push", drained, "--dry-run"); out != change+"version 1 would be the current one of func-a\n" {
		t.Errorf("dry run: %s", out)
	}
	large := pool(t, `"backends"`, strings.Repeat(" ", configstore.MaxSize)+`"backends"`)
	if _, _, err := spillway(t, "config", "push", large, "--dry-run"); !errors.Is(err, configstore.ErrTooLarge) {
		t.Errorf("dry run of what the table cannot hold: %v", err)
	}
	if out := succeeds(t, "config", "push", drained); out != change+"version 1 is the current one of func-a\n" {
		t.Errorf("push: %s", out)
	}
	if out := succeeds(t, "config", "push", drained); out != "version 1 is already the current one of func-a\n" {
		t.Errorf("the same again: %s", out)
	}
	if out := succeeds(t, "config", "diff"); out != change {
		t.Errorf("diff: %s", out)
	}
	if out := succeeds(t, "config", "diff", renamed); !strings.Contains(out, "- "+change[2:]) || !strings.Contains(out, `+ consumers["team-b"].name: "team-b"`) {
		t.Errorf("diff with a file: %s", out)
	}
	succeeds(t, "config", "push", renamed)
	if _, _, err := spillway(t, "keys", "add", "team-b"); err != nil {
		t.Errorf("a consumer of the pushed version: %v", err)
	}
	if _, _, err := spillway(t, "keys", "add", "team-a"); exitCode(err) != 1 {
		t.Errorf("a consumer that it does not have: %v", err)
	}
	if out := succeeds(t, "config", "rollback", "1"); !strings.HasSuffix(out, "version 3 is the current one of func-a\n") {
		t.Errorf("rollback: %s", out)
	}
	want, err := os.ReadFile(drained)
	if out := succeeds(t, "config", "show"); err != nil || out != string(want) {
		t.Errorf("show: %v\n%s", err, out)
	}
	var versions []struct {
		Number, Restores int
		Rollback         bool
		By               string
	}
	if out := succeeds(t, "config", "history", "--json"); json.Unmarshal([]byte(out), &versions) != nil || len(versions) != 3 || versions[0].Restores != 1 || !versions[0].Rollback || versions[0].By == "" {
		t.Errorf("history: %s", out)
	}
	if out := succeeds(t, "config", "rollback", "0", "--json"); !strings.Contains(out, `"written": true`) || !strings.Contains(out, `"number": 4`) {
		t.Errorf("rollback to the setting: %s", out)
	}
	if out := succeeds(t, "config", "diff", "1", "0", "--json"); !strings.Contains(out, `"before": "0"`) {
		t.Errorf("diff as JSON: %s", out)
	}
}

func testConfigMistakes(t *testing.T, state string) {
	setEnvironment(t, startSimulator(t), map[string]string{"SPILLWAY_STATE": state, "SPILLWAY_CONFIG_SOURCE": "table:func-b"})
	evil := pool(t, "http://127.0.0.1:", "https://attacker.example:", "LIVE_TEST_KEY", "AzureWebJobsStorage", `"team-a"`, `"team a"`)
	_, _, err := spillway(t, "config", "push", evil)
	for _, want := range []string{"backends[0].endpoint", "backends[1].endpoint", "backends[0].auth.setting", "consumers[0].name"} {
		if exitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for args, want := range map[string]string{
		"config rollback 7": "spillway config history", "config show 7": "spillway config history", "config push /not/here.json": "write the path",
	} {
		if _, _, err := spillway(t, strings.Fields(args)...); exitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	for _, args := range []string{"config", "config push", "config push a b", "config show x", "config show 1 2", "config diff 0 x", "config rollback", "config rollback x"} {
		if _, _, err := spillway(t, strings.Fields(args)...); exitCode(err) != 2 {
			t.Errorf("%s: %v", args, err)
		}
	}
	t.Setenv("SPILLWAY_CONFIG", "")
	if _, prose, err := spillway(t, "config", "push", evil, "--dry-run"); exitCode(err) != 1 || !strings.Contains(prose, "the instances check it") {
		t.Errorf("%v, %q", err, prose)
	}
	t.Setenv("SPILLWAY_CONFIG_SOURCE", "")
	if _, _, err := spillway(t, "config", "history"); exitCode(err) != 1 || !strings.Contains(err.Error(), "SPILLWAY_CONFIG_SOURCE names no table") {
		t.Errorf("without a source: %v", err)
	}
}
