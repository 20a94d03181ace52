package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spillway/handler/test/funchost"
)

// command runs the staged binary to its end.
func command(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(staged, "spillway"), args...)
	cmd.Env = append(os.Environ(), "FUNCTIONS_CUSTOMHANDLER_PORT=", "SPILLWAY_STATE=", "AzureWebJobsStorage=")
	cmd.Env = append(cmd.Env, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out.String(), errs.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), 0
}

const brokenDocument = `{"backends":[{"nme":"a","endpoint":"contoso"},{"name":"b","endpoint":"https://b.openai.azure.com","auth":{"mode":"api-key","setting":"NOT_SET"}}]}`

func wantEveryFault(t *testing.T, text string) {
	t.Helper()
	for _, part := range []string{"backends[0].nme", `"name"`, "backends[0].endpoint", "backends[1].auth.setting", "NOT_SET"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not named in:\n%s", part, text)
		}
	}
}

func TestStandaloneProcessExitsOnBadConfiguration(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // a process that listened would fail on this, with another error
	_, stderr, code := command(t, []string{"SPILLWAY_CONFIG=" + brokenDocument, "SPILLWAY_AUTH=none", "SPILLWAY_LISTEN=" + l.Addr().String()})
	if code != 1 || strings.Contains(stderr, "in use") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	wantEveryFault(t, stderr)
	_, stderr, code = command(t, []string{"SPILLWAY_CONFIG=" + brokenDocument, "SPILLWAY_AUTH=none"}, "validate")
	if code != 1 {
		t.Errorf("validate: exit code %d", code)
	}
	wantEveryFault(t, stderr)
}

func TestBadConfigurationUnderTheHostAnswers503(t *testing.T) {
	t.Parallel()
	host := funchost.Start(t, funchost.Options{Root: staged, Env: []string{"SPILLWAY_CONFIG=" + brokenDocument, "SPILLWAY_AUTH=none", "SPILLWAY_STATE=", "AzureWebJobsStorage="}})
	a := ask(t.Context(), t, http.MethodPost, host.URL+chatPath, hello)
	wantConfigInvalid(t, a)
	ready := ask(t.Context(), t, http.MethodGet, host.URL+"/health/ready", "")
	if ready.status != http.StatusServiceUnavailable {
		t.Errorf("ready: %d", ready.status)
	}
	wantEveryFault(t, strings.ReplaceAll(ready.body, `\"`, `"`))
	if live := ask(t.Context(), t, http.MethodGet, host.URL+"/health/live", ""); live.status != http.StatusOK {
		t.Errorf("live: %d", live.status)
	}
	for _, e := range host.Events() {
		if e.Kind == "exited" {
			t.Errorf("the handler ended: %+v", e)
		}
	}
}

func wantConfigInvalid(t *testing.T, a answer) {
	t.Helper()
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, `"code":"config_invalid"`) || strings.Contains(a.body, "backends[") {
		t.Errorf("%d %s, want 503 config_invalid without the reasons", a.status, a.body)
	}
}

func TestNumberedSettings(t *testing.T) {
	t.Parallel()
	r := start(t, setup{env: []string{"SPILLWAY_CONFIG=unused"}, document: map[string]any{}})
	host := funchost.Start(t, funchost.Options{Root: staged, Env: []string{
		"SPILLWAY_CONFIG=", "SPILLWAY_AUTH=none", "SPILLWAY_EXPOSE=true", "SPILLWAY_STATE=", "AzureWebJobsStorage=",
		"BACKEND_1_URL=" + r.sim.URL("ptu"), "BACKEND_1_PRIORITY=1", "BACKEND_1_APIKEY=" + backendKey, "BACKEND_1_DEPLOYMENT_NAME=gpt-4o",
		"BACKEND_2_URL=" + r.sim.URL("payg1"), "BACKEND_2_PRIORITY=2", "BACKEND_2_APIKEY=" + backendKey,
	}})
	a := ask(t.Context(), t, http.MethodPost, host.URL+"/openai/deployments/anything/chat/completions?api-version=2024-10-21", hello)
	if a.status != http.StatusOK || r.sim.Journal()[0].Resource != "ptu" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestWrongUsageExitsTwo(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"nonsense"}, {"validate", "x"}, {"explain"}, {"explain", "--model"}, {"backends"}, {"backends", "drain"}, {"keys", "add"}, {"import", "x"}, {"simulate", "--nonsense"}} {
		if _, stderr, code := command(t, nil, args...); code != 2 || !strings.Contains(stderr, "spillway") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
}

func TestCommandOutput(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	env := []string{"SPILLWAY_CONFIG=" + document(t, r.sim, setup{backends: threeBackends()}), "BACKEND_KEY=" + backendKey, "SPILLWAY_AUTH=none"}
	for want, args := range map[string][]string{
		"spillway ":         {"version"},
		"valid: 3 backends": {"validate"},
		"1. ptu ":           {"explain", "--model", "gpt-4o", "--tokens", "100", "--stream"},
		`"$schema":`:        {"schema"},
		"SPILLWAY_LISTEN":   {"help"},
	} {
		out, stderr, code := command(t, env, args...)
		if code != 0 || !strings.Contains(out, want) || strings.Contains(out, backendKey) {
			t.Errorf("%v: exit code %d\n%s\n%s", args, code, out, stderr)
		}
	}
}

// On SIGTERM readiness turns red, streams finish, and the code is not 0: the
// host never restarts a handler that ends with 0.
func TestTermFinishesStreamsAndExitsNonZero(t *testing.T) {
	t.Parallel()
	backends := threeBackends()
	backends[0].deployment.PerToken, backends[0].deployment.AnswerTokens = 50*time.Millisecond, 40
	r := start(t, setup{backends: backends})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.host.WaitEvent(ctx, "ready", 1); err != nil {
		t.Fatal(err)
	}
	done := make(chan answer)
	go func() {
		done <- ask(context.WithoutCancel(t.Context()), t, http.MethodPost, r.host.HandlerURL()+chatPath, helloSSE)
	}()
	if _, err := r.sim.WaitArrival(ctx, "ptu", 1); err != nil {
		t.Fatal(err)
	}
	code := r.host.Terminate(20 * time.Second)
	a := <-done
	if a.err != nil || !strings.HasSuffix(a.body, "data: [DONE]\n\n") {
		t.Errorf("the stream was not finished: %v, %q", a.err, a.body[max(0, len(a.body)-60):])
	}
	if code <= 0 {
		t.Errorf("exit code %d, want one that the host restarts after", code)
	}
}

func TestKilledHandlerIsRestarted(t *testing.T) {
	t.Parallel()
	r := start(t, setup{})
	r.wantServedBy("ptu")
	r.host.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.host.WaitEvent(ctx, "ready", 2); err != nil {
		t.Fatal(err)
	}
	r.wantServedBy("ptu")
}
