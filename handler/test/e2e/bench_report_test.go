package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// measured is what the benchmarks of this run measured. SPILLWAY_BENCH names the folder
// that gets it: bench.json, in which other figures stay, and a plot of each figure.
var measured []*figure

// figure is one measurement: series of values with their spread over something that grows,
// or, without a title of that, over names.
type figure struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Taken   time.Time `json:"taken"`
	Machine string    `json:"machine"`
	Load    string    `json:"load"`   // /proc/loadavg at the end: other work on the machine
	Across  string    `json:"across"` // what grows
	Unit    string    `json:"unit"`   // of the values
	Series  []series  `json:"series"`
}

type series struct {
	Name   string  `json:"name"`
	Points []point `json:"points"`
}

// point is a median with the quartiles of its rounds.
type point struct {
	At    float64 `json:"at"`
	Label string  `json:"label,omitempty"`
	Low   float64 `json:"low"`
	Value float64 `json:"value"`
	High  float64 `json:"high"`
}

// pointOf is the point of these rounds.
func pointOf(at float64, label string, rounds []float64) point {
	return point{At: at, Label: label, Low: percentile(rounds, .25), Value: percentile(rounds, .5), High: percentile(rounds, .75)}
}

// add adds a point to the series with this name.
func (f *figure) add(name string, p point) {
	for i := range f.Series {
		if f.Series[i].Name == name {
			f.Series[i].Points = append(f.Series[i].Points, p)
			return
		}
	}
	f.Series = append(f.Series, series{name, []point{p}})
}

// publish adds the figure to the report, and prints it as metrics of the benchmark.
func publish(b *testing.B, f *figure) {
	b.Helper()
	load, _ := os.ReadFile("/proc/loadavg")
	f.Taken, f.Load = time.Now().UTC().Truncate(time.Second), strings.TrimSpace(string(load))
	f.Machine = fmt.Sprintf("%s/%s, %d cores, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	measured = append(measured, f)
	var text strings.Builder
	for _, s := range f.Series {
		for _, p := range s.Points {
			fmt.Fprintf(&text, "\n    %-28s %-14s %9.3g  (%.3g to %.3g) %s", s.Name, p.name(), p.Value, p.Low, p.High, f.Unit)
		}
	}
	b.Logf("%s%s", f.Title, text.String())
}

func (p *point) name() string {
	if p.Label != "" {
		return p.Label
	}
	return fmt.Sprintf("%g", p.At)
}

// writeReport writes what was measured.
func writeReport() error {
	folder := os.Getenv("SPILLWAY_BENCH")
	if folder == "" || len(measured) == 0 {
		return nil
	}
	files := map[string][]byte{}
	for _, f := range measured {
		files[f.Name+".svg"] = f.plot()
	}
	var report struct {
		Figures []*figure `json:"figures"`
	}
	if text, err := os.ReadFile(filepath.Join(folder, "bench.json")); err == nil {
		if err := json.Unmarshal(text, &report); err != nil {
			return fmt.Errorf("the report in %s: %w", folder, err)
		}
	}
	report.Figures = slices.DeleteFunc(report.Figures, func(f *figure) bool { return files[f.Name+".svg"] != nil })
	report.Figures = append(report.Figures, measured...)
	var text bytes.Buffer
	to := json.NewEncoder(&text)
	to.SetIndent("", "  ")
	if err := to.Encode(&report); err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("the report: %w", err)
	}
	files["bench.json"] = text.Bytes()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return fmt.Errorf("the report: %w", err)
		}
	}
	return nil
}
