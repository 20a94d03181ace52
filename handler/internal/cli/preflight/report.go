package preflight

import (
	"fmt"
	"io"
)

// Severity is how much a finding matters.
type Severity uint8

// The severities. The zero Severity is OK: something was found to be right.
const (
	OK Severity = iota
	Warning
	Error
)

// String is the first word of a finding's line.
func (l Severity) String() string { return [...]string{"ok", "warning", "error"}[l] }

// Finding is the result of one check. Fix is "" when there is nothing to do.
type Finding struct {
	Severity Severity
	Place    string
	Problem  string
	Fix      string
}

// String is the finding in one line.
func (f Finding) String() string {
	line := f.Severity.String() + ": " + f.Place + ": " + f.Problem + "."
	if f.Fix != "" {
		line += " " + f.Fix
	}
	return line
}

// Report is the result of a run.
type Report struct {
	Findings []Finding
	Backends int
	Requests int // sent to backends
	Paid     int // of these, for one token or one word's embedding
}

// Count is the number of findings of one severity.
func (r *Report) Count(l Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == l {
			n++
		}
	}
	return n
}

// Print writes the findings, one a line, and a summary.
func (r *Report) Print(w io.Writer) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintln(w, f); err != nil {
			return fmt.Errorf("print findings: %w", err)
		}
	}
	_, err := fmt.Fprintf(w, "live: %s, %s; %s to %s, %s\n",
		plural(r.Count(Error), "error"), plural(r.Count(Warning), "warning"), plural(r.Requests, "request"), plural(r.Backends, "backend"), r.cost())
	if err != nil {
		return fmt.Errorf("print findings: %w", err)
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (r *Report) cost() string {
	if r.Paid == 0 {
		return "all of them free"
	}
	return fmt.Sprintf("%d of them for a single token or word, the others free", r.Paid)
}

// findings collects findings.
type findings []Finding

func (n *findings) ok(place, format string, args ...any) {
	*n = append(*n, Finding{OK, place, fmt.Sprintf(format, args...), ""})
}

func (n *findings) report(l Severity, place string, d diagnosis) {
	*n = append(*n, Finding{l, place, d.problem, d.remedy})
}

// diagnosis is a problem, without a full stop, and a sentence with its remedy.
type diagnosis struct{ problem, remedy string }

func place(index int, name string) string { return fmt.Sprintf("backends[%d] %s", index, name) }

// maxSeverity is the highest severity among them.
func (n findings) maxSeverity() Severity {
	worst := OK
	for _, f := range n {
		worst = max(worst, f.Severity)
	}
	return worst
}
