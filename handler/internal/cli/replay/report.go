package replay

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report is what a replay found, for people.
type Report struct {
	Log      Summary    `json:"log"`
	Outcomes []*Outcome `json:"outcomes"`
	Sizes    *Sizes     `json:"sizing,omitempty"`
	Notes    []string   `json:"notes"` // what was assumed
}

// Summary is what the log holds.
type Summary struct {
	Lines      int        `json:"lines"`
	Requests   int        `json:"requests"`
	Begin      time.Time  `json:"begin"`
	End        time.Time  `json:"end"`
	Sampled    int        `json:"sampled"`
	Unmeasured int        `json:"unmeasured"`
	Prompt     int64      `json:"promptTokens"`
	Cached     int64      `json:"cachedTokens"`
	Completion int64      `json:"completionTokens"`
	Busiest    int        `json:"busiestSecond"` // requests
	Omitted    []Omission `json:"omitted"`
	Reality    *Reality   `json:"reality,omitempty"` // what the program did, where the log tells
}

// Reality is what became of the requests, as the log tells.
type Reality struct {
	Served   map[string]int `json:"served"` // by backend
	Spilled  int            `json:"spilled"`
	Refused  int            `json:"refused"`
	Requests int            `json:"requests"`
}

// Summarize sums the log up.
func (l *Log) Summarize() Summary {
	s := Summary{Lines: l.Lines, Requests: len(l.Records), Begin: l.Begin(), End: l.End(), Sampled: l.Sampled, Unmeasured: l.Unmeasured(), Omitted: append([]Omission{}, l.Omitted...)}
	real := Reality{Served: map[string]int{}, Requests: len(l.Records)}
	second, inSecond := int64(0), 0
	for i := range l.Records {
		x := &l.Records[i]
		s.Prompt, s.Cached, s.Completion = s.Prompt+int64(x.Prompt), s.Cached+int64(x.Cached), s.Completion+int64(x.Completion)
		if at := x.At / int64(time.Second); at != second {
			second, inSecond = at, 0
		}
		inSecond++
		s.Busiest = max(s.Busiest, inSecond)
		if x.refused() {
			real.Refused++
		} else if x.Backend != 0 {
			real.Served[l.Backends.name(x.Backend)]++
		}
		if x.Spilled {
			real.Spilled++
		}
	}
	if len(real.Served) > 0 {
		s.Reality = &real
	}
	return s
}

// NewReport is the report of outcomes. What was assumed depends on the log and on what
// is known of times.
func NewReport(l *Log, times *Latency, outcomes []*Outcome, sizes *Sizes) *Report {
	r := &Report{Log: l.Summarize(), Outcomes: outcomes, Sizes: sizes, Notes: []string{
		"Requests arrive when the log says. Callers that were refused do not ask again.",
		"Backends have no failures. Prompt caches hit as in the log, wherever a request goes.",
		"An answer has the tokens that the log tells, and a backend charges exactly these when it admits the request.",
	}}
	if !times.known {
		r.Notes = append(r.Notes, "The log tells no times of answers: those of docs/replay.md#times are assumed.")
	}
	if r.Log.Unmeasured > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d requests were refused and have no tokens of their own: they have those of others of their model and consumer.", r.Log.Unmeasured))
	}
	if r.Log.Sampled > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("The log is sampled: %d requests are copies of those that were kept, spread over a minute around them.", r.Log.Sampled))
	}
	all := outcomes
	if sizes != nil {
		all = sizes.Outcomes[:1]
	}
	for _, o := range all {
		if len(o.Strangers) > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%s does not have these consumers of the log, which have no limits there: %s.", o.Name, strings.Join(o.Strangers, ", ")))
		}
		for _, model := range o.Unpriced {
			if note := "No price of " + model + " is known: its tokens count as free."; !slices.Contains(r.Notes, note) {
				r.Notes = append(r.Notes, note)
			}
		}
	}
	return r
}

// Sentence is what an architect takes from the sizes.
func (z *Sizes) Sentence() string {
	at := func(units int) *Size {
		return &z.All[slices.IndexFunc(z.All, func(s Size) bool { return s.Units == units })]
	}
	best := at(z.Cheapest)
	text := fmt.Sprintf("Of the sizes tried, %d units of %s cost least: %s %s in the %s hours of the log, %s of it for units", z.Cheapest, z.Model, number(best.Cost), z.Currency, number(z.Hours), number(best.PTUCost))
	if z.Cheapest == 0 {
		text += ", so pay-as-you-go alone is cheapest"
	} else {
		text += fmt.Sprintf("; they serve %s of its requests and are used to %s %%", percent(best.Provisioned), number(best.Utilization))
	}
	if z.All[0].Units == 0 && z.Cheapest != 0 {
		text += fmt.Sprintf(", and pay-as-you-go alone costs %s", number(z.All[0].Cost))
	}
	if text += z.priceSentence(); z.Knee >= 0 && z.Knee != z.Cheapest {
		knee := at(z.Knee)
		text += fmt.Sprintf(". From %d units on (%s of the requests, %s %s) more units serve little more", z.Knee, percent(knee.Provisioned), number(knee.Cost), z.Currency)
	}
	return strings.TrimSpace(text + ". " + z.Note)
}

// priceSentence is at which price units would pay.
func (z *Sizes) priceSentence() string {
	best := slices.MaxFunc(z.All, func(a, b Size) int { return cmp.Compare(a.BreakEven, b.BreakEven) })
	if best.BreakEven <= 0 {
		return ""
	}
	return fmt.Sprintf(". A unit pays up to %s %s an hour (%d units); %s was asked for", number(best.BreakEven), z.Currency, best.Units, number(z.PTUPrice))
}

//go:embed report.html
var reportPage string

// WriteHTML writes the report as one page that loads nothing.
func (r *Report) WriteHTML(w io.Writer) error {
	page, err := template.New("report").Funcs(template.FuncMap{
		"number": number, "percent": percent, "share": share, "count": count, "colour": colour, "requestsPlot": requestsPlot, "utilizationPlot": utilizationPlot,
		"sharePlot": sharePlot, "costPlot": sizeCostPlot, "instant": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") },
		"provisioned": func(o *Outcome) bool {
			return slices.ContainsFunc(o.Backends, func(b ByBackend) bool { return b.Provisioned })
		},
		"id": func(name string, i int) string { return fmt.Sprintf("%s-%d", name, i) },
	}).Parse(reportPage)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, r); err != nil {
		return err
	}
	_, err = b.WriteTo(w)
	return err
}

// StepName is how long an interval is.
func (o *Outcome) StepName() string {
	switch d := time.Duration(float64(o.Step)) * time.Millisecond; {
	case d >= 24*time.Hour:
		return "day"
	case d >= time.Hour:
		return "hour"
	case d > time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return "minute"
}

// number is a number with three significant digits, or all before the point.
func number(n float64) string {
	switch abs := math.Abs(n); {
	case abs >= 1e6:
		return strconv.FormatFloat(n/1e6, 'f', 2, 64) + " M"
	case abs >= 100:
		return strconv.FormatFloat(n, 'f', 0, 64)
	case abs >= 10:
		return strconv.FormatFloat(n, 'f', 1, 64)
	case n == math.Trunc(n):
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	return strconv.FormatFloat(n, 'f', 2, 64)
}

// count is a whole number with its thousands apart.
func count(n any) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "\u202f" + text[i:]
	}
	return text
}

// percent is a share in percent.
func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" }

// Colours numbers the colours of the page.
func (r *Report) Colours() []int { return []int{0, 1, 2, 3, 4, 5} }
