package meter

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// ContentType is that of WriteText.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// WriteText writes the readings as Prometheus reads them, each series with the
// common labels besides its own. Names follow OpenTelemetry's rules for
// Prometheus: dots become underscores, the unit and _total are appended.
func WriteText(w io.Writer, all []Reading, common ...Label) error {
	t := text{Writer: bufio.NewWriter(w), common: common}
	for i := range all {
		t.family(&all[i])
	}
	return t.Flush() //nolint:wrapcheck // the caller knows its writer
}

type text struct {
	*bufio.Writer
	common []Label
}

func (t *text) family(r *Reading) {
	name := PromName(&r.Desc)
	kind := [...]string{Counter: "counter", Gauge: "gauge", Histogram: "histogram"}[r.Kind]
	t.put("# HELP ", name, " ", strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(r.Help), "\n# TYPE ", name, " ", kind, "\n")
	for i := range r.Points {
		p := &r.Points[i]
		if r.Kind != Histogram {
			t.line(name, p.Labels, "", number(p.Value))
			continue
		}
		t.histogram(name, r.Bounds, p)
	}
}

func (t *text) histogram(name string, bounds []float64, p *Point) {
	var sum uint64
	for i, n := range p.Buckets {
		sum += n
		le := "+Inf"
		if i < len(bounds) {
			le = number(bounds[i])
		}
		t.line(name+"_bucket", p.Labels, le, strconv.FormatUint(sum, 10))
	}
	t.line(name+"_sum", p.Labels, "", number(p.Value))
	t.line(name+"_count", p.Labels, "", strconv.FormatUint(sum, 10))
}

func (t *text) line(name string, labels []Label, le, value string) {
	t.put(name)
	sep := "{"
	for _, list := range [...][]Label{labels, t.common} {
		for _, l := range list {
			t.put(sep, underscored(l.Name), `="`, escapeLabel(l.Value), `"`)
			sep = ","
		}
	}
	if le != "" {
		t.put(sep, `le="`, le, `"`)
		sep = ","
	}
	if sep == "," {
		t.put("}")
	}
	t.put(" ", value, "\n")
}

func (t *text) put(parts ...string) {
	for _, p := range parts {
		_, _ = t.WriteString(p) // Flush tells
	}
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// escapeLabel makes a value fit to stand in quotes.
func escapeLabel(s string) string {
	if !strings.ContainsAny(s, "\\\"\n") {
		return s
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}

func underscored(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, s)
}

// PromName is what Prometheus calls the family.
func PromName(d *Desc) string {
	name := underscored(d.Name)
	switch d.Unit {
	case "s":
		name += "_seconds"
	case "By":
		name += "_bytes"
	case "%":
		name += "_percent"
	}
	if d.Kind == Counter {
		name += "_total"
	}
	return name
}
