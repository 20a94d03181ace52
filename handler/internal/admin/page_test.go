package admin

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Where no key is needed, the page has the pools before any script runs.
func TestServerRenderedPageHasTheData(t *testing.T) {
	for name, w := range scenarios(loopingClock(time.Now())) {
		if name == "hostile" {
			continue
		}
		w.cfg.Open = true
		got := testRequest{path: "/ops/", header: map[string]string{"Accept": "text/html"}}.to(t, mount(w.cfg))
		body := got.Body.String()
		if got.Code != 200 || got.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %s", name, got.Code, got.Header().Get("Content-Type"))
		}
		painted, _, _ := strings.Cut(body, "<template")
		for _, p := range New(w.cfg).currentStatus().Pools {
			for _, want := range []string{p.Model, string(p.State), p.Summary, p.Groups[0].Backends[0].Name, p.Groups[0].Backends[0].Label} {
				if !strings.Contains(painted, want) {
					t.Errorf("%s: the rendered page lacks %q", name, want)
				}
			}
		}
	}
}

// Names that look like markup are text.
func TestServerRenderedPageEscapesNames(t *testing.T) {
	w := hostileScenario(time.Now)
	w.cfg.Open = true
	body := testRequest{path: "/ops/", header: map[string]string{"Accept": "text/html"}}.to(t, mount(w.cfg)).Body.String()
	for _, never := range []string{"<img", "<iframe", "<svg onload", "<script>", `href="javascript`, "onerror=alert(1)>"} {
		if strings.Contains(body, never) {
			t.Errorf("the page holds %q", never)
		}
	}
	if strings.Count(body, "<script") != 1 || strings.Count(body, "&lt;img src=x onerror=alert(1)&gt;") < 10 {
		t.Errorf("%d scripts, and the name %d times", strings.Count(body, "<script"), strings.Count(body, "&lt;img"))
	}
}

// sample is what a function of format.go returned for a value.
type sample struct {
	How  string
	Of   any
	Want string
}

func formatSamples() []sample {
	var samples []sample
	for _, n := range []int64{-5, 0, 1, 12, 999, 1000, 1234, 9949, 9950, 9999, 10_000, 119_499, 119_999, 120_000, 12_345_678} {
		samples = append(samples, sample{"ms", float64(n), formatMS(float64(n))}, sample{"left", n, formatCountdown(n)})
		if n >= 0 {
			samples = append(samples, sample{"count", n, formatCount(n)})
		}
	}
	for _, m := range []MinuteStatus{{}, {Requests: 1200, Throttled: 3}, {Requests: 5, Failed: 2}, {Requests: 5, Failed: 2, Throttled: 1000}} {
		samples = append(samples, sample{"traffic", m, trafficText(m)})
	}
	for _, l := range []LimitStatus{
		{Limit: "tokensPerMinute", Amount: 50_000, Remaining: 11_900},
		{Limit: "budgetPerMonth", Amount: 500, Remaining: 12.5, Model: "gpt-4o"},
		{Limit: "requestsPerMinute", Amount: 300},
		{Limit: "tokensPerMonth"},
	} {
		samples = append(samples, sample{"quota", l, quotaText(l)}, sample{"level", l, l.Level()})
	}
	for _, b := range []BackendStatus{
		{},
		{Why: "503", State: Open},
		{Why: "503", State: Available},
		{Why: "503", State: Open, Detail: "the open time is over"},
		{Detail: "one probe is running", State: HalfOpen},
		{Why: "x", State: Drained, Drained: &DrainStatus{By: "anna"}},
	} {
		samples = append(samples, sample{"why", b, changeText(b)})
	}
	return samples
}

// The script replaces what the server rendered: both must format alike.
func TestScriptAndServerFormatAlike(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("SPILLWAY_REQUIRE_TOOLS") != "" {
			t.Fatal("node is missing: install Node.js 20 or newer")
		}
		t.Skip("node is not installed")
	}
	samples := formatSamples()
	script, err := files.ReadFile("page/format.js")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	driver := `import * as format from "./format.mjs"; import { readFileSync } from "node:fs";
for (const s of JSON.parse(readFileSync(0))) { const got = format[s.How](s.Of); if (got !== s.Want) console.log(s.How, JSON.stringify(s.Of), "is", JSON.stringify(got), "want", JSON.stringify(s.Want)); }
console.log("compared");`
	for name, text := range map[string]string{"format.mjs": string(script), "driver.mjs": driver} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in, err := json.Marshal(samples)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, filepath.Join(folder, "driver.mjs"))
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "compared\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
