package migrate

import (
	"maps"
	"math"
	"slices"
)

// scaled makes whole numbers of shares, so that the document takes them: 0.7 and 0.3
// become 7 and 3. The largest is at most 1000; 0 and less stay 0, others are at
// least 1.
func scaled(shares []float64) []int {
	most := slices.Max(shares)
	factor := 1000 / max(most, math.SmallestNonzeroFloat32)
	for _, f := range []float64{1000, 100, 10, 1} {
		whole := !slices.ContainsFunc(shares, func(s float64) bool { return math.Abs(s*f-math.Round(s*f)) > 1e-6 })
		if whole && most*f <= 1000 {
			factor = f
		}
	}
	numbers := make([]int, len(shares))
	for i, s := range shares {
		if s > 0 {
			numbers[i] = max(1, int(math.Round(s*factor)))
		}
	}
	return numbers
}

// weigh gives backends their weights, by their index, whole numbers within each
// priority.
func (r *Result) weigh(shares map[int]float64) {
	groups := map[int][]int{}
	for _, i := range slices.Sorted(maps.Keys(shares)) {
		groups[r.Document.Backends[i].Priority] = append(groups[r.Document.Backends[i].Priority], i)
	}
	for _, group := range groups {
		given := make([]float64, len(group))
		for n, i := range group {
			given[n] = shares[i]
		}
		for n, weight := range scaled(given) {
			b := &r.Document.Backends[group[n]]
			b.Weight = weight
			if float64(weight) != given[n] {
				r.changed("backend %q has the weight %d now, for its %v among those of priority %d", b.Name, weight, given[n], b.Priority)
			}
		}
	}
}
