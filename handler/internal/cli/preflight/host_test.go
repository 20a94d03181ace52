package preflight_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/handler/internal/cli/preflight"
)

const goodHost = `{"version":"2.0","extensions":{"http":{"routePrefix":""}},
"customHandler":{"description":{"defaultExecutablePath":"spillway"},"enableProxyingHttpRequest":true}}`

func TestHostFile(t *testing.T) {
	swap := func(old, replacement string) string { return strings.Replace(goodHost, old, replacement, 1) }
	for name, c := range map[string]struct {
		text string
		mode os.FileMode // 0 = no executable
		want string
	}{
		"right":          {goodHost, 0o755, "ok: "},
		"our own":        {read(t, "../../../../host.json"), 0o755, "ok: "},
		"buffered":       {swap(`,"enableProxyingHttpRequest":true`, ""), 0o755, "error: HOST: customHandler.enableProxyingHttpRequest is not true"},
		"prefix":         {swap(`"routePrefix":""`, `"routePrefix":"api"`), 0o755, "error: HOST: extensions.http.routePrefix is not empty"},
		"no prefix":      {swap(`"routePrefix":""`, ``), 0o755, "error: HOST: extensions.http.routePrefix is not empty"},
		"bundle":         {swap(`{`, `{"extensionBundle":{"id":"x"},`), 0o755, "warning: HOST: there is an extensionBundle"},
		"not built":      {goodHost, 0, "warning: HOST: the executable spillway is not in the same folder"},
		"not executable": {goodHost, 0o644, "error: HOST: the executable spillway may not be executed. chmod 0755"},
		"dot":            {swap(`"spillway"`, `"./spillway"`), 0o755, "error: HOST: defaultExecutablePath begins with ./"},
		"nameless":       {swap(`"spillway"`, `""`), 0o755, "error: HOST: customHandler.description.defaultExecutablePath is empty"},
		"no handler":     {`{"version":"2.0"}`, 0o755, "error: HOST: customHandler is missing"},
		"no JSON":        {`{`, 0o755, "error: HOST: it is no valid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			write(t, filepath.Join(folder, "host.json"), c.text, 0o600)
			if c.mode != 0 {
				write(t, filepath.Join(folder, "spillway"), "binary", c.mode)
			}
			text, report := print(t, &preflight.Input{Host: preflight.Host{Folders: []string{t.TempDir(), folder, "."}}})
			text = strings.ReplaceAll(text, filepath.Join(folder, "host.json"), "HOST")
			lines := strings.Split(text, "\n")
			if found := report.Findings[1:]; len(found) != 1 || !strings.HasPrefix(lines[1], c.want) {
				t.Errorf("want %q alone:\n%s", c.want, text)
			}
		})
	}
}

func TestRuntimeIsCheckedOnlyBehindAHost(t *testing.T) {
	for _, c := range []struct {
		host preflight.Host
		want string
	}{
		{preflight.Host{Runtime: "node"}, "live: 0 errors, 0 warnings;"},
		{preflight.Host{Hosted: true, Runtime: "Custom"}, "live: 0 errors, 0 warnings;"},
		{preflight.Host{Hosted: true, Runtime: "node"}, "error: FUNCTIONS_WORKER_RUNTIME: it is \"node\". Set it to \"custom\""},
		{preflight.Host{Hosted: true}, "warning: FUNCTIONS_WORKER_RUNTIME: it is \"\"."},
	} {
		if text, _ := print(t, &preflight.Input{Host: c.host}); !strings.Contains(text, c.want) {
			t.Errorf("%+v: want %q:\n%s", c.host, c.want, text)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
