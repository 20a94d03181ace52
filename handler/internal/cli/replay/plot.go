package replay

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
	"time"
)

// The size of a plot, and of the place for its axes.
const (
	plotWidth, plotHeight    = 720, 240
	plotLeft, plotRight      = 56, 12
	plotTop, plotBottom      = 12, 34
	innerWidth, innerHeight  = plotWidth - plotLeft - plotRight, plotHeight - plotTop - plotBottom
	mostXLabels, mostYLabels = 6, 4
)

// plot is a drawing in SVG, which needs no script: the tables of the report have its
// figures.
type plot struct {
	strings.Builder
	top float64 // the value at the upper edge
}

// begin begins a plot whose values reach so far. The texts are for those who do not see
// it.
func (p *plot) begin(id, title, description string, most float64, unit string) {
	p.top = niceCeiling(most)
	fmt.Fprintf(p, `<svg viewBox="0 0 %d %d" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`,
		plotWidth, plotHeight, id, id, id, html.EscapeString(title), id, html.EscapeString(description))
	for i := range mostYLabels + 1 {
		value := p.top * float64(i) / mostYLabels
		y := p.y(value)
		fmt.Fprintf(p, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, plotLeft, plotWidth-plotRight, y, y)
		fmt.Fprintf(p, `<text x="%d" y="%.1f" text-anchor="end">%s%s</text>`, plotLeft-6, y+4, number(value), unit)
	}
}

// niceCeiling is the least of 1, 2, 4, 6, 8 and 10 times a power of ten that is not below.
func niceCeiling(value float64) float64 {
	if value <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(value)))
	for _, times := range []float64{1, 2, 4, 6, 8, 10} {
		if value <= times*power*(1+1e-9) {
			return times * power
		}
	}
	return 10 * power
}

func (p *plot) y(value float64) float64 {
	return plotTop + innerHeight*(1-math.Min(value/p.top, 1))
}

// x is the place of a share of the width.
func x(share float64) float64 { return plotLeft + innerWidth*share }

// label writes a text below the axis.
func (p *plot) label(share float64, text string) {
	anchor := "middle"
	if share > .95 {
		anchor = "end"
	}
	fmt.Fprintf(p, `<text x="%.1f" y="%d" text-anchor="%s">%s</text>`, x(share), plotHeight-plotBottom+18, anchor, html.EscapeString(text))
}

// line draws points, which are shares of the width and values.
func (p *plot) line(class string, shares, values []float64) {
	var points strings.Builder
	for i := range shares {
		fmt.Fprintf(&points, "%.1f,%.1f ", x(shares[i]), p.y(values[i]))
	}
	fmt.Fprintf(p, `<polyline class="%s" points="%s"/>`, class, strings.TrimSpace(points.String()))
}

// mark draws a vertical line with a name.
func (p *plot) mark(share float64, name string, row int) {
	anchor, dx := "start", 4.0
	if share > .5 {
		anchor, dx = "end", -4
	}
	fmt.Fprintf(p, `<line class="mark" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="name" x="%.1f" y="%d" text-anchor="%s">%s</text>`,
		x(share), x(share), plotTop, plotTop+innerHeight, x(share)+dx, plotTop+12+14*row, anchor, html.EscapeString(name))
}

func (p *plot) end() template.HTML {
	p.WriteString("</svg>")
	return template.HTML(p.String()) //nolint:gosec // every text in it is escaped, and the rest are numbers
}

// requestsPlot is the requests over time, by who served them.
func requestsPlot(id string, o *Outcome) template.HTML {
	most := 0
	for i := range o.Intervals {
		most = max(most, o.Intervals[i].Requests)
	}
	var p plot
	p.begin(id, "Requests over time: "+o.Name, fmt.Sprintf("Bars for each %s, stacked by who served the requests; the busiest has %d. The tables above have the sums.", o.StepName(), most), float64(most), "")
	width := innerWidth / float64(len(o.Intervals))
	for i := range o.Intervals {
		base := 0.0
		bar := func(class string, n int) {
			if n > 0 {
				fmt.Fprintf(&p, `<rect class="%s" x="%.2f" y="%.1f" width="%.2f" height="%.1f"/>`, class, plotLeft+width*float64(i), p.y(base+float64(n)), math.Max(width-.4, .6), p.y(base)-p.y(base+float64(n)))
				base += float64(n)
			}
		}
		for b, n := range o.Intervals[i].Served {
			bar(colour(b), n)
		}
		bar("refused", o.Intervals[i].Refused)
	}
	p.times(o)
	return p.end()
}

// colours is how many colours the report has for backends.
const colours = 6

func colour(backend int) string { return fmt.Sprintf("b%d", backend%colours) }

// times labels the axis with times.
func (p *plot) times(o *Outcome) {
	layout := "15:04"
	if o.End.Sub(o.Begin) > 48*time.Hour {
		layout = "2 Jan"
	}
	n := len(o.Intervals)
	for i := range min(mostXLabels, n) {
		at := i * n / min(mostXLabels, n)
		p.label(float64(at)/float64(n), o.Intervals[at].Start.Format(layout))
	}
}

// utilizationPlot is how much of its provisioned capacity is used over time.
func utilizationPlot(id string, o *Outcome) template.HTML {
	var p plot
	p.begin(id, "Provisioned capacity in use: "+o.Name, fmt.Sprintf("A line for each provisioned deployment, in percent, for each %s. The table of backends has the mean and the busiest.", o.StepName()), 100, "%")
	for b := range o.Backends {
		if !o.Backends[b].Provisioned {
			continue
		}
		var shares, values []float64
		for i := range o.Intervals {
			shares = append(shares, (float64(i)+.5)/float64(len(o.Intervals)))
			values = append(values, o.Intervals[i].Utilization[b])
		}
		p.line("line s"+colour(b), shares, values)
	}
	p.times(o)
	return p.end()
}

// sharePlot is the share that each size serves, and sizeCostPlot what it costs.
func sharePlot(z *Sizes) template.HTML {
	var p plot
	p.begin("share", "Share of requests served by provisioned units", "A line over the number of units. The table below has the figures.", 100, "%")
	shares, values := z.curve(func(s *Size) float64 { return 100 * s.Provisioned })
	p.line("line sb0", shares, values)
	p.units(z)
	return p.end()
}

func sizeCostPlot(z *Sizes) template.HTML {
	most := 0.0
	for i := range z.All {
		most = math.Max(most, z.All[i].Cost)
	}
	var p plot
	p.begin("cost", "Cost of the log's time by number of units", "Three lines over the number of units: all costs, those of the units, and those of pay-as-you-go tokens. The table below has the figures.", most, "")
	for class, of := range map[string]func(*Size) float64{
		"line sb0": func(s *Size) float64 { return s.Cost }, "line sb1 dashed": func(s *Size) float64 { return s.PTUCost }, "line sb2 dotted": func(s *Size) float64 { return s.TokenCost },
	} {
		shares, values := z.curve(of)
		p.line(class, shares, values)
	}
	p.units(z)
	return p.end()
}

func (z *Sizes) curve(of func(*Size) float64) (shares, values []float64) {
	for i := range z.All {
		shares, values = append(shares, z.place(z.All[i].Units)), append(values, of(&z.All[i]))
	}
	return shares, values
}

// place is where a number of units is, as a share of the width.
func (z *Sizes) place(units int) float64 {
	first, last := z.All[0].Units, z.All[len(z.All)-1].Units
	return float64(units-first) / math.Max(float64(last-first), 1)
}

// units labels the axis with units, and marks the knee and the least cost.
func (p *plot) units(z *Sizes) {
	step := (len(z.All) + mostXLabels - 1) / mostXLabels
	for i := 0; i < len(z.All); i += step {
		p.label(z.place(z.All[i].Units), fmt.Sprintf("%d PTU", z.All[i].Units))
	}
	p.mark(z.place(z.Cheapest), fmt.Sprintf("least cost: %d", z.Cheapest), 0)
	if z.Knee >= 0 {
		p.mark(z.place(z.Knee), fmt.Sprintf("knee: %d", z.Knee), 1)
	}
}
