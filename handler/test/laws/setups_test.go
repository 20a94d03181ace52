package laws_test

import (
	"os"
	"time"
)

func fleetOf(instances, backends int, rate float64) setup {
	return setup{size: instances, backends: backends, rate: rate, answers: usualAnswer}
}

func ptu(s setup) setup {
	s.provisionedFirst = true
	return s
}

// sizes are the fleets: 200 instances in the longer form.
func sizes() []int {
	if os.Getenv("SPILLWAY_SOAK") != "" {
		return []int{1, 5, 20, 200}
	}
	return []int{1, 5, 20}
}

// most is how many requests a second of a fleet are simulated.
const most = 1000

func grid(backends []int, rates []float64) (all []setup) {
	for _, n := range sizes() {
		for _, m := range backends {
			for _, rate := range rates {
				if float64(n)*rate <= most {
					all = append(all, fleetOf(n, m, rate))
				}
			}
		}
	}
	return all
}

func everyFleet() []setup { return grid([]int{1, 3}, []float64{.05, 5, 500}) }

func severalBackends() []setup {
	return append(grid([]int{2}, []float64{.05, .5, 40}), grid([]int{6}, []float64{5})...)
}

func thickFleets() []setup { return grid([]int{2, 3}, []float64{5, 40}) }

// everyKindOfAnswer has every duration of answers with every fleet in the longer form,
// else one of them, so that each meets each size, rate and number of backends.
func everyKindOfAnswer() (all []setup) {
	durations := []time.Duration{usualAnswer, time.Second, 4 * time.Second, 20 * time.Second}
	for k, s := range append(grid([]int{1, 3}, []float64{.5, 40}), grid([]int{2, 6}, []float64{.05, 5})...) {
		for i, answers := range durations {
			s.answers = answers
			if float64(s.size)*s.rate*answers.Seconds() <= most && (i == (k+k/4)%len(durations) || os.Getenv("SPILLWAY_SOAK") != "") {
				all = append(all, s)
			}
		}
	}
	return all
}

func slow(s setup) setup {
	s.answers = 20 * time.Second
	return s
}

func slowAnswers() (all []setup) {
	for _, s := range grid([]int{2, 3}, []float64{.5, 5, 40}) {
		if float64(s.size)*s.rate <= 200 {
			all = append(all, slow(s))
		}
	}
	return all
}

func provisioned() (all []setup) {
	for _, s := range everyKindOfAnswer() {
		if s.backends > 1 {
			all = append(all, ptu(s))
		}
	}
	return all
}

func pairs() []setup { return grid([]int{1, 3}, []float64{1, 5}) }

// long is for how long a world lives: for about so many requests, at least the time
// given, at most ten minutes, less for a large fleet.
func (w *world) long(requests float64, least time.Duration) time.Duration {
	d := time.Duration(requests / (w.rate * float64(w.size)) * float64(time.Second))
	return min(max(d, least), 10*time.Minute, max(50*time.Minute/time.Duration(w.size), 2*time.Minute))
}

// thinPairs are small fleets: what they are for does not depend on the size.
func thinPairs() (all []setup) {
	for _, s := range pairs() {
		if s.size <= 5 {
			all = append(all, s)
		}
	}
	return all
}

func floods() []setup { return []setup{fleetOf(1, 1, 5), fleetOf(1, 3, 5), fleetOf(5, 1, 2)} }

func fewFleets() []setup { return []setup{fleetOf(5, 2, 5), fleetOf(20, 3, 5)} }

// busyPairs are two backends of which each instance is served every few hundred milliseconds.
func busyPairs() []setup { return grid([]int{2}, []float64{5}) }
