package e2e_test

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

// The size of a plot, and of the place for its axes and names.
const (
	plotWidth, plotHeight = 640, 260
	plotLeft, plotRight   = 60, 150
	plotTop, plotBottom   = 34, 44
	innerWidth            = plotWidth - plotLeft - plotRight
	innerHeight           = plotHeight - plotTop - plotBottom
)

// style makes a plot legible in the light and in the dark, which a page that shows it as
// an image does not tell it.
const style = `<style>text{font:12px system-ui,sans-serif;fill:#555}.title{font-size:14px;fill:#333}.grid{stroke:#999;stroke-opacity:.3}
.s0{--c:#0b6bcb}.s1{--c:#c2410c}.s2{--c:#15803d}.s3{--c:#7e22ce}.s4{--c:#a16207}.s5{--c:#0e7490}polyline,.spread{fill:none;stroke:var(--c);stroke-width:2}.spread{stroke-width:1}circle,text.s0,text.s1,text.s2,text.s3,text.s4,text.s5{fill:var(--c)}
@media(prefers-color-scheme:dark){svg{background:#161616}text{fill:#bbb}.title{fill:#ddd}.s0{--c:#6cb6ff}.s1{--c:#fb923c}.s2{--c:#4ade80}.s3{--c:#c4a1ff}.s4{--c:#facc15}.s5{--c:#67e8f9}}</style>`

// plot draws the figure. What grows by factors has an axis of factors.
func (f *figure) plot() []byte {
	p := newPlane(f)
	var to bytes.Buffer
	fmt.Fprintf(&to, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img"><title>%s</title>%s<text class="title" x="8" y="18">%s</text>`,
		plotWidth, plotHeight, html.EscapeString(f.Title), style, html.EscapeString(f.Title))
	for i := range 5 {
		value := p.top * float64(i) / 4
		fmt.Fprintf(&to, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`,
			plotLeft, plotLeft+innerWidth, p.y(value), p.y(value), plotLeft-6, p.y(value)+4, value)
	}
	for _, s := range f.Series[:1] {
		for _, at := range s.Points {
			fmt.Fprintf(&to, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, p.x(at.At), plotTop+innerHeight+18, html.EscapeString(at.name()))
		}
	}
	fmt.Fprintf(&to, `<text x="%d" y="%d" text-anchor="middle">%s</text><text x="%d" y="%d">%s</text>`,
		plotLeft+innerWidth/2, plotHeight-6, html.EscapeString(f.Across), plotLeft+innerWidth+10, plotTop-4, html.EscapeString(f.Unit))
	for i, s := range f.Series {
		p.draw(&to, i, &s)
	}
	to.WriteString("</svg>\n")
	return to.Bytes()
}

// draw draws a series, its spread, and its name at its last point.
func (p *plane) draw(to *bytes.Buffer, i int, s *series) {
	class := fmt.Sprintf("s%d", i%6)
	fmt.Fprintf(to, `<polyline class="%s" points="`, class)
	for _, at := range s.Points {
		fmt.Fprintf(to, "%.1f,%.1f ", p.x(at.At), p.y(at.Value))
	}
	to.WriteString(`"/>`)
	for _, at := range s.Points {
		fmt.Fprintf(to, `<circle class="%s" cx="%.1f" cy="%.1f" r="3"/><line class="%s spread" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`,
			class, p.x(at.At), p.y(at.Value), class, p.x(at.At), p.x(at.At), p.y(at.Low), p.y(at.High))
	}
	fmt.Fprintf(to, `<text class="%s" x="%d" y="%.1f">%s</text>`, class, plotLeft+innerWidth+10, p.nameAt(p.y(s.Points[len(s.Points)-1].Value)), html.EscapeString(s.Name))
}

// plane is where values are in a plot.
type plane struct {
	top, first, last float64
	factors          bool
	names            []float64 // where names of series are
}

func newPlane(f *figure) *plane {
	p := &plane{first: math.Inf(1), last: math.Inf(-1)}
	for _, s := range f.Series {
		for _, at := range s.Points {
			p.first, p.last, p.top = math.Min(p.first, at.At), math.Max(p.last, at.At), math.Max(p.top, at.High)
		}
	}
	p.factors = p.first > 0 && p.last >= 20*p.first
	p.top = 4 * niceStep(math.Max(p.top, 1e-9)/4)
	return p
}

// niceStep is the least of 1, 2, 2.5, 3, 4, 5 and 10 times a power of ten that is not below.
func niceStep(value float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(value)))
	for _, times := range []float64{1, 2, 2.5, 3, 4, 5} {
		if value <= times*power {
			return times * power
		}
	}
	return 10 * power
}

func (p *plane) x(at float64) float64 {
	first, last := p.first, p.last
	if p.factors {
		at, first, last = math.Log(at), math.Log(first), math.Log(last)
	}
	return plotLeft + 12 + (innerWidth-24)*(at-first)/math.Max(last-first, 1e-9)
}

func (p *plane) y(value float64) float64 {
	return plotTop + innerHeight*(1-math.Min(value/p.top, 1))
}

// nameAt keeps names apart.
func (p *plane) nameAt(y float64) float64 {
	for i := 0; i < len(p.names); i++ {
		if math.Abs(p.names[i]-y) < 13 {
			y, i = p.names[i]+13, -1
		}
	}
	p.names = append(p.names, y)
	return y
}
