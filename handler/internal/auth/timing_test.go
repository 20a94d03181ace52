package auth

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"
)

// Wrong keys that share all but their end with a valid one must take as long as
// others (docs/security.md#credentials). There are many keys of each kind, so
// that the map's cost of one digest averages out; the fastest of many tries
// counts for each, which load disturbs least; a failed round is repeated.
func TestKeyComparisonTime(t *testing.T) {
	if os.Getenv("SPILLWAY_SOAK") == "" {
		t.Skip("it measures real time: SPILLWAY_SOAK=1m go test ./handler/internal/auth -run TestKeyComparisonTime")
	}
	auth := keysOnly(t)
	var worst float64
	for try := range 6 {
		var near, far []http.Header
		for i := range 400 {
			end := fmt.Sprintf("%02d%04d", try, i)
			near = append(near, header("api-key", keyA[:len(keyA)-6]+end))
			far = append(far, header("api-key", "zzzzzzzzzzzzzzzzzzzzzzzzzz"[:len(keyA)-6]+end))
		}
		worst = welchT(fastestTimes(t, auth, near, far))
		if math.Abs(worst) < 4.5 {
			return
		}
	}
	t.Errorf("|t| = %.1f between near and far keys, want < 4.5", worst)
}

// fastestTimes returns the least time of each key, of tries in random order.
func fastestTimes(t *testing.T, auth *Authenticator, kinds ...[]http.Header) (times [2][]float64) {
	t.Helper()
	for k := range kinds {
		times[k] = slices.Repeat([]float64{math.Inf(1)}, len(kinds[k]))
	}
	for range 60 * len(kinds[0]) {
		k, i := rand.IntN(2), rand.IntN(len(kinds[0]))
		before := time.Now()
		_, err := auth.Authenticate(t.Context(), kinds[k][i], "")
		took := time.Since(before)
		if err == nil {
			t.Fatal("a wrong key was accepted")
		}
		times[k][i] = min(times[k][i], float64(took))
	}
	return times
}

// welchT returns Welch's t of two samples, without the slowest tenth of each.
func welchT(samples [2][]float64) float64 {
	var mean, variance [2]float64
	for k := range samples {
		slices.Sort(samples[k])
		kept := samples[k][:len(samples[k])*9/10]
		for _, x := range kept {
			mean[k] += x / float64(len(kept))
		}
		for _, x := range kept {
			variance[k] += (x - mean[k]) * (x - mean[k]) / float64(len(kept)-1)
		}
		variance[k] /= float64(len(kept))
	}
	return (mean[0] - mean[1]) / math.Sqrt(max(1e-9, variance[0]+variance[1]))
}
