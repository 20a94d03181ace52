package replay

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Synthetic is traffic for those who have no log (docs/replay.md#synthetic-traffic).
type Synthetic struct {
	Shape      string  // office-hours, constant or bursts
	Peak       float64 // requests per second at the busiest time
	Days       float64
	Prompt     float64 // median tokens
	Completion float64 // median tokens
	Cached     float64 // share of the prompts' tokens
	Streams    float64 // share of the requests
	Consumers  int
	Requests   int // stop after so many; 0 = when the days are over
	Model      string
	Seed       uint64
	Start      time.Time
}

// shapes are the shares of the peak rate at a time.
var shapes = map[string]func(at time.Time, r *rand.Rand) float64{
	"constant":     func(time.Time, *rand.Rand) float64 { return 1 },
	"office-hours": func(at time.Time, _ *rand.Rand) float64 { return officeHours(at) },
	"bursts":       func(at time.Time, _ *rand.Rand) float64 { return bursts(at) },
}

// officeHours is 3 % of the peak at night, and on weekdays a hill in the morning and one
// in the afternoon, with a dip at noon; 10 % of it at weekends.
func officeHours(at time.Time) float64 {
	hour := float64(at.Hour()) + float64(at.Minute())/60
	hill := func(middle, width float64) float64 {
		return math.Exp(-(hour - middle) * (hour - middle) / (2 * width * width))
	}
	day := .97 * math.Min(1, hill(10.5, 1.6)+.9*hill(15, 1.8))
	if d := at.Weekday(); d == time.Saturday || d == time.Sunday {
		day *= .1
	}
	return .03 + day
}

// bursts is 10 % of the peak, and the peak for 10 s of every two minutes.
func bursts(at time.Time) float64 {
	if at.Unix()%120 < 10 {
		return 1
	}
	return .1
}

// ParseSynthetic reads a text such as "office-hours,peak=40rps,days=1".
func ParseSynthetic(text string) (*Synthetic, error) {
	shape, rest, _ := strings.Cut(text, ",")
	s := &Synthetic{
		Shape: shape, Peak: 10, Days: 1, Prompt: 900, Completion: 180, Streams: .7, Consumers: 1, Seed: 1, Model: "",
		Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), // a Monday
	}
	if shapes[shape] == nil {
		return nil, fmt.Errorf("%q is no shape of traffic: write %s", shape, strings.Join(slices.Sorted(maps.Keys(shapes)), ", "))
	}
	for part := range strings.SplitSeq(rest, ",") {
		if part == "" {
			continue
		}
		if err := s.set(part); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Synthetic) set(part string) error {
	name, text, _ := strings.Cut(part, "=")
	if name == "model" && text != "" {
		s.Model = text
		return nil
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, "rps"), 64)
	for key, p := range map[string]struct {
		least, most float64
		set         func()
	}{
		"peak": {.001, 100_000, func() { s.Peak = n }}, "days": {.001, 400, func() { s.Days = n }},
		"prompt": {1, 1e6, func() { s.Prompt = n }}, "completion": {1, 1e5, func() { s.Completion = n }},
		"cached": {0, 1, func() { s.Cached = n }}, "streams": {0, 1, func() { s.Streams = n }},
		"consumers": {1, 1000, func() { s.Consumers = int(n) }}, "requests": {1, 1e8, func() { s.Requests = int(n) }},
		"seed": {0, 1 << 32, func() { s.Seed = uint64(n) }},
	} {
		if key == name && err == nil && n >= p.least && n <= p.most {
			p.set()
			return nil
		}
	}
	return fmt.Errorf("%q is nothing that synthetic traffic has: write peak=40rps, days=1, prompt=900, completion=180, cached=0.3, streams=0.7, consumers=5, requests=1000000, seed=1 or model=gpt-4o", part)
}

// Log generates the traffic: arrivals at random (Poisson) at the rate of the shape.
func (s *Synthetic) Log() *Log {
	l := new(Log)
	r := random(s.Seed)
	model := l.Models.number(s.Model)
	names := make([]uint16, s.Consumers)
	for i := range names {
		names[i] = l.Consumers.number(fmt.Sprintf("team-%d", i+1))
	}
	end := s.Start.Add(time.Duration(s.Days * 24 * float64(time.Hour)))
	for at := s.Start; at.Before(end) && (s.Requests == 0 || len(l.Records) < s.Requests); {
		at = at.Add(time.Duration(r.ExpFloat64() / s.Peak * float64(time.Second)))
		if r.Float64() >= shapes[s.Shape](at, r) {
			continue // thinned to the rate of the time
		}
		prompt := logNormal(s.Prompt, 1, r)
		l.Records = append(l.Records, Record{
			At: at.UnixNano(), Model: model, Consumer: names[int(float64(len(names))*r.Float64()*r.Float64())],
			Prompt: prompt, Cached: int32(float64(prompt) * s.Cached), Completion: logNormal(s.Completion, .9, r), Stream: r.Float64() < s.Streams,
		})
	}
	l.Lines = len(l.Records)
	return l
}

// logNormal is a number of tokens with this median.
func logNormal(median, spread float64, r *rand.Rand) int32 {
	return int32(math.Min(math.Max(1, math.Round(median*math.Exp(spread*r.NormFloat64()))), 120_000))
}
