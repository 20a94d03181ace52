package consumer

import (
	"math"
	"slices"
	"testing"
	"time"
)

// Three kinds of wrong keys must take the same time: nothing about a key may be
// learnt by asking (facts/reliability.md T21). Outliers are cut off, as dudect
// does, and a noisy machine has three tries.
func TestWrongKeysTakeTheSameTimeHoweverNearTheyAre(t *testing.T) {
	auth := keysOnly(t)
	near := header("api-key", keyA[:len(keyA)-1]+"?")
	far := header("api-key", "zzzzzzzzzzzzzzzzzzzzzzz"[:len(keyA)])
	var worst float64
	for range 3 {
		worst = welch(t, auth, near, far)
		if math.Abs(worst) < 4.5 {
			return
		}
	}
	t.Errorf("|t| = %.1f between near and far guesses, want < 4.5", worst)
}

func welch(t *testing.T, auth *Authenticator, kinds ...map[string][]string) float64 {
	t.Helper()
	var samples [2][]float64
	for i := range 20_000 {
		kind := (i * 7919 / 3) % 2
		before := time.Now()
		_, err := auth.Authenticate(t.Context(), kinds[kind], "")
		took := time.Since(before)
		if err == nil {
			t.Fatal("a wrong key was let in")
		}
		samples[kind] = append(samples[kind], float64(took))
	}
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
	return (mean[0] - mean[1]) / math.Sqrt(variance[0]+variance[1])
}
