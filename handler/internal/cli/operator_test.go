package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/admin"
	"spillway/handler/internal/app"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/storetest"
)

const loggedLines = `{"time":"2026-11-21T12:00:00.250Z","level":"INFO","msg":"request","request_id":"req_OTHER","status":200}
2026-11-21 handler: {"time":"2026-11-21T12:00:00.250Z","level":"WARN","msg":"request","request_id":"req_ONE","instance":"i-1","consumer":"team-a","operation":"chat","model":"gpt-4o","status":200,"stream":true,"backend":"spare","spilled":true,"attempts":[{"backend":"payg","verdict":"failed","why":"503","status":503,"ms":20},{"backend":"spare","verdict":"served","status":200,"probe":true,"ms":700}],"skipped":[{"backend":"ptu","why":"throttled","for_ms":4200},{"backend":"far","why":"circuit open","cause":"eof","scope":"instance"}],"finish":"stop","prompt_tokens":12,"completion_tokens":8,"cost":0.02,"currency":"USD","total_ms":812.5}
{"time":"2026-11-21T12:00:01.250Z","level":"INFO","msg":"request","request_id":"req_NONE","instance":"i-1","status":401,"code":"invalid_api_key","rule":"credential","total_ms":0.03,"cause":"credential refused: unknown key"}
`

func TestExplainARequestByItsLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "spillway.log")
	long := "of another program: " + strings.Repeat("req_ONE ", 200_000) + "\n" // it has a length of its own
	if err := os.WriteFile(file, []byte(long+loggedLines), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := spillway(t, "explain", "--request", "req_ONE", file)
	want := "req_ONE at 2026-11-21T12:00:00.250Z on i-1: chat gpt-4o of team-a, streamed -> 200 in 813ms\n" +
		"  1. payg                     failed 503 after 20ms\n" +
		"  2. spare                    served after 700ms, probe\n" +
		"   - ptu                      throttled for 4.2s\n" +
		"   - far                      circuit open (eof) on this instance alone\n" +
		"served by spare; spilled; finished: stop; 12 prompt and 8 completion tokens; 0.02 USD\n"
	if err != nil || out != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
	out, _, err = spillway(t, "explain", "--request", "req_NONE", file)
	if err != nil || !strings.Contains(out, "refused by credential: credential refused: unknown key\n") {
		t.Errorf("%v\n%s", err, out)
	}
	out, _, err = spillway(t, "explain", "--request", "req_NONE", "--json", file)
	var line map[string]any
	if err2 := json.Unmarshal([]byte(out), &line); err != nil || err2 != nil || line["rule"] != "credential" {
		t.Errorf("%v, %v\n%s", err, err2, out)
	}
	for _, args := range [][]string{{"req_ABSENT", file}, {"req_ONE", file + "x"}} {
		_, _, err := spillway(t, append([]string{"explain", "--request"}, args...)...)
		if exitCode(err) != 1 || !strings.Contains(err.Error(), "\nfix: ") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// What the commands do with a table, on one emulator.
func TestCommandsOnATable(t *testing.T) {
	state := storetest.Azurite(t)
	for name, test := range map[string]func(t *testing.T, state string){
		"no other secret": testTableCommandsNeedNoOtherSecret, "adopted ids": testAdoptedIDs, "rotate": testRotateKeepsTheOldKeyForAWhile, "status and watch": testStatusAndWatch, "what instances see": testWhatSingleInstancesSee,
		"contexts": testContextsNameTheSettings, "mistakes": testMistakesHaveAFix,
		"versions": testConfigVersions, "mistakes with versions": testConfigMistakes,
	} {
		t.Run(name, func(t *testing.T) { test(t, state) })
	}
}

// Errors of the table say what happened, why, and what helps; not what the SDK calls
// it.
func TestErrorsHaveACauseAndAFix(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Ms-Error-Code", "AuthorizationFailure")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer refusing.Close()
	const (
		account     = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint="
		unreachable = account + "http://127.0.0.1:1/a"
	)
	for state, want := range map[string]string{
		unreachable:                   "does not answer: dial 127.0.0.1:1: connect: connection refused\nfix: ",
		account + refusing.URL + "/a": "refuses the request: status 403 AuthorizationFailure\nfix: ",
	} {
		setEnvironment(t, startSimulator(t), map[string]string{"SPILLWAY_STATE": state})
		for _, args := range []string{"backends list", "backends drain near", "keys list", "usage", "explain --model gpt-4o", "status"} {
			if args == "backends drain near" && state == unreachable {
				continue // it tries for some seconds
			}
			out, _, err := spillway(t, strings.Fields(args)...)
			if exitCode(err) != 1 || out != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "table:") || strings.Contains(err.Error(), "http://") {
				t.Errorf("%s: %v\n%s", args, err, out)
			}
		}
	}
}

func testMistakesHaveAFix(t *testing.T, state string) {
	setEnvironment(t, startSimulator(t), map[string]string{"SPILLWAY_STATE": state})
	for args, want := range map[string]string{
		"keys add nobody": "use one of: team-a", "keys rotate nobody": "use one of: team-a", "keys revoke 00": "keys list", "backends drain nowhere": "\nfix: ",
	} {
		if _, _, err := spillway(t, strings.Fields(args)...); exitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func testRotateKeepsTheOldKeyForAWhile(t *testing.T, state string) {
	setEnvironment(t, startSimulator(t), map[string]string{"SPILLWAY_STATE": state, "SPILLWAY_STATE_TABLE": "rotate"})
	first, _, err := spillway(t, "keys", "add", "team-a")
	if err != nil {
		t.Fatal(err)
	}
	second, prose, err := spillway(t, "keys", "rotate", "team-a", "--overlap", "1h")
	if err != nil || !strings.HasPrefix(second, "spw_") || strings.Count(second, "\n") != 1 || second == first || strings.Contains(prose, "spw_") || !strings.Contains(prose, "is valid until") {
		t.Fatalf("%q, %q, %v", second, prose, err)
	}
	list := func() (all []keyJSON) {
		t.Helper()
		out, _, err := spillway(t, "keys", "list", "--json")
		if err != nil || json.Unmarshal([]byte(out), &all) != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return all
	}
	all := list()
	if left := time.Until(all[0].Expires); len(all) != 2 || left > time.Hour || left < 50*time.Minute || !all[1].Expires.IsZero() {
		t.Errorf("%+v", all)
	}
	if _, _, err := spillway(t, "keys", "rotate", "team-a"); exitCode(err) != 1 || !strings.Contains(err.Error(), "keys revoke") {
		t.Errorf("a third key: %v", err)
	}
	if _, _, err := spillway(t, "keys", "rotate", "team-a", "--overlap", "0"); err != nil {
		t.Error(err)
	}
	if all := list(); len(all) != 1 || !all[0].Expires.IsZero() {
		t.Errorf("after a rotation without overlap: %+v", all)
	}
	out, prose, err := spillway(t, "keys", "rotate", "team-a", "--json")
	var issued secretJSON
	if err2 := json.Unmarshal([]byte(out), &issued); err != nil || err2 != nil || prose != "" {
		t.Fatalf("%v, %v: %s, %q", err, err2, out, prose)
	}
	all = list()
	if len(all) != 2 || issued.ID != all[1].ID || !strings.HasPrefix(issued.Key, "spw_") || len(issued.Replaces) != 1 || issued.Replaces[0].ID != all[0].ID || issued.Replaces[0].Expires.IsZero() {
		t.Errorf("%s\nbut %+v", out, all)
	}
}

// Whoever has neither the settings of the app nor a context is told how to name one.
func TestCommandsAskWhichDeploymentIsMeant(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, args := range [][]string{{"status"}, {"backends", "list"}, {"keys", "list"}, {"explain", "--model", "gpt-4o"}} {
		if _, _, err := spillway(t, args...); exitCode(err) != 1 || !strings.Contains(err.Error(), "\nfix: ") || !strings.Contains(err.Error(), "--app NAME") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func testStatusAndWatch(t *testing.T, state string) {
	setEnvironment(t, startSimulator(t), map[string]string{"SPILLWAY_STATE": state, "SPILLWAY_STATE_TABLE": "status"})
	if out, _, err := spillway(t, "status"); err != nil || !strings.HasPrefix(out, "The model is served normally · 0 instances\n") {
		t.Errorf("%v\n%s", err, out)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	lines := make(lineWriter, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"backends", "watch", "--interval", "100ms", "--json"}, lines, lines)
	}()
	for range 2 {
		<-lines
	}
	if _, _, err := spillway(t, "backends", "drain", "near"); err != nil {
		t.Fatal(err)
	}
	var got struct{ Name, Was, DrainedBy string }
	if line := <-lines; json.Unmarshal([]byte(line), &got) != nil || got.Name != "near/gpt-4o" || got.Was != "closed" || got.DrainedBy == "" {
		t.Errorf("%s", line)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("interrupted: %v", err)
	}
	if out, _, err := spillway(t, "status"); err != nil || !strings.HasPrefix(out, "gpt-4o is degraded · ") || !strings.Contains(out, "degraded  1 of 2") || !strings.Contains(out, "near: drained by ") || !strings.Contains(out, "1 of 2") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, _, err := spillway(t, "backends", "drain", "far"); err != nil {
		t.Fatal(err)
	}
	out, _, err := spillway(t, "status", "--json")
	var status fleetStatus
	if err2 := json.Unmarshal([]byte(out), &status); err != nil || err2 != nil || status.Models[0].State != admin.Down || len(status.Models[0].Out) != 2 || status.Models[0].Since.IsZero() {
		t.Errorf("%v, %v\n%s", err, err2, out)
	}
}

// What an instance found out by itself is shown by every command that shows the state
// of the backends, and so is the last change of one whose record is gone.
func testWhatSingleInstancesSee(t *testing.T, state string) {
	setEnvironment(t, startSimulator(t), map[string]string{"SPILLWAY_STATE": state, "SPILLWAY_STATE_TABLE": "seen"})
	cfg, err := config.LoadForTable()
	if err != nil {
		t.Fatal(err)
	}
	store, err := app.NewTraffic(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(zip).Encode(map[string]any{
		"i": "i-1", "t": now.UnixMilli(),
		"r": []admin.Refusal{{Slot: "near/gpt-4o", Operation: "chat", Reason: "deployment not found", Since: now, Until: now.Add(time.Hour)}},
		"x": []map[string]any{{"part": "entra-keys", "state": "failing", "since": now, "why": "no route", "works": "keys", "fix": "check", "instance": "i-1"}},
		"e": []admin.Event{{At: now, Last: now, Kind: admin.DrainEnded, Subject: "far/gpt-4o", Text: "restored by anna", By: "i-1", Times: 1}},
	}), zip.Close()); err != nil {
		t.Fatal(err)
	}
	row := tablestore.Row{Partition: "traffic", Key: "i-1", Columns: map[string]string{"t": "0", "n": "1", "p0": base64.StdEncoding.EncodeToString(packed.Bytes())}}
	if _, _, err := store.Upsert(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string][]string{
		"status":                 {"gpt-4o is degraded; entra-keys: failing · 0 instances", "near: refuses chat (deployment not found)", "entra-keys: failing on i-1 since", "fix: check"},
		"status --json":          {`"state": "refusing"`, `"reason": "refuses chat (deployment not found)"`, `"part": "entra-keys"`},
		"backends list":          {"refuses chat (deployment not found), as i-1 found  none in 12 hours\n", "by i-1: restored by anna\n"},
		"backends list --json":   {`"operation": "chat"`, `"reason": "restored by anna"`, `"refusedByAll": []`},
		"explain --model gpt-4o": {"first of its group for ", "! near ", "refuses chat (deployment not found), as i-1 found: such requests go elsewhere\n"},
	} {
		out, errOut, err := spillway(t, strings.Fields(args)...)
		for _, text := range want {
			if err != nil || errOut != "" || !strings.Contains(out, text) {
				t.Errorf("%s: %v, %s: no %q in\n%s", args, err, errOut, text, out)
			}
		}
	}
}

// lineWriter receives what is written, a line at a time.
type lineWriter chan string

func (l lineWriter) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

func testContextsNameTheSettings(t *testing.T, state string) {
	setEnvironment(t, startSimulator(t), nil)
	document := os.Getenv("SPILLWAY_CONFIG")
	base := t.TempDir()
	folder := filepath.Join(base, "spillway")
	t.Setenv("XDG_CONFIG_HOME", base)
	t.Setenv("SPILLWAY_CONFIG", "")
	pool := filepath.Join(base, "pool.json")
	text := "# production\nSPILLWAY_STATE = '" + state + "'\nSPILLWAY_CONFIG=@" + pool + "\n"
	for file, content := range map[string]string{pool: document, filepath.Join(folder, "prod.env"): text, filepath.Join(folder, "bad.env"): "x\n", filepath.Join(folder, "binary.env"): "# \xff\n\xff\x00=\x00\n"} {
		if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := spillway(t, "keys", "list"); exitCode(err) != 1 {
		t.Errorf("without a context: %v", err)
	}
	for args, want := range map[string]string{"keys list --context absent": "absent.env", "keys list --context bad": "bad.env:1 is no setting", "keys list --context binary": "binary.env:2 is no setting", "keys list --context ../prod": "is no name of a context"} {
		if _, _, err := spillway(t, strings.Fields(args)...); exitCode(err) != 1 || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "\nfix: ") {
			t.Errorf("%s: %v", args, err)
		}
	}
	if out, _, err := spillway(t, "backends", "list", "--context", "prod"); err != nil || !strings.Contains(out, "near/gpt-4o") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What the app has is read as who is signed in: its connection and its document,
// and none of its other secrets.
func TestAppSettingsAreRead(t *testing.T) {
	const id = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Web/sites/func-a"
	names := map[string]string{"func-a": `{"data":[{"id":"` + id + `"}]}`, "func-b": `{"data":[]}`}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var query struct{ Query string }
		_ = json.NewDecoder(r.Body).Decode(&query)
		switch {
		case r.Header.Get("Authorization") != "Bearer token" || r.Method != http.MethodPost:
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == id+"/config/appsettings/list":
			_, _ = w.Write([]byte(`{"properties":{"SPILLWAY_STATE__accountName":"st","SPILLWAY_STATE__credential":"managedidentity","SPILLWAY_STATE__clientId":"c",
				"SPILLWAY_CONFIG":"{}","TEAM_A_KEY":"secret","SPILLWAY_OPERATOR_KEY":"secret","BACKEND_1_URL":"https://a","BACKEND_1_APIKEY":"secret"}}`))
		default:
			for name, answer := range names {
				if strings.Contains(query.Query, "'"+name+"'") {
					_, _ = w.Write([]byte(answer))
				}
			}
		}
	}))
	defer server.Close()
	token := "token"
	arm := &resourceManager{address: server.URL, token: func(context.Context) (string, error) { return token, nil }}
	all, err := arm.appSettings(t.Context(), "func-a")
	if err != nil {
		t.Fatal(err)
	}
	got := ofTable(all)
	if len(got) != 3 || got["SPILLWAY_STATE__accountName"] != "st" || got["SPILLWAY_CONFIG"] != "{}" || got["BACKEND_1_URL"] == "" {
		t.Errorf("%v", got)
	}
	if got := ofTable(map[string]string{"SPILLWAY_CONFIG": "@pool.json"}); len(got) != 0 {
		t.Errorf("a document in a file of the app: %v", got)
	}
	for _, name := range []string{"func-b", "a'b"} {
		if _, err := arm.appSettings(t.Context(), name); err == nil || !strings.Contains(err.Error(), "\nfix: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	token = "other"
	if _, err := arm.appSettings(t.Context(), "func-a"); err == nil || !strings.Contains(err.Error(), "Website Contributor") {
		t.Errorf("forbidden: %v", err)
	}
}

// An open circuit gets no share, whatever it would get as it recovers.
func TestShareIsWhatTheBackendGets(t *testing.T) {
	for want, s := range map[int]fleet.SlotState{
		100: {},
		30:  {Share: 30},
		0:   {Share: 30, Record: health.Record{Circuit: health.Circuit{State: health.Open}, LastChange: health.Change{At: 1, Evidence: "5 of 7"}}},
	} {
		v := &view{}
		if got := v.slotOf(&s); got.SharePercent != want || got.Evidence != s.Record.LastChange.Evidence || !strings.Contains(v.slotRow(&s), fmt.Sprintf("\t%d %%", want)) {
			t.Errorf("%+v prints %q", got, v.slotRow(&s))
		}
	}
	drained := fleet.SlotState{Record: health.Record{Override: health.OperatorOverride{Drained: true}}}
	if got := sharePercent(&drained); got != 0 {
		t.Errorf("a drained backend gets %d %%", got)
	}
}

// What the Azure CLI said is the problem, or what stopped the search before it.
func TestTokenProblemIsWhatTheLastCredentialSaid(t *testing.T) {
	const chain = "DefaultAzureCredential: failed to acquire a token.\nAttempted credentials:\n\tEnvironmentCredential: missing environment variable AZURE_TENANT_ID\n"
	for want, text := range map[string]string{
		": AzureCLICredential: ERROR: Please run az login":   chain + "\tAzureCLICredential: ERROR: Please run az login\n\tAzureDeveloperCLICredential: azd is not installed\n",
		": ManagedIdentityCredential authentication failed.": chain + "\tManagedIdentityCredential authentication failed.\n\t\tRESPONSE 403: 403 Forbidden\n",
		"": "context canceled",
	} {
		if got := tokenProblem(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
