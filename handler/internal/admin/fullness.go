package admin

import (
	"math"
	"sync/atomic"
	"time"

	"spillway/handler/internal/health"
)

// fullFor is for how long a backend's word on how full it is is worth showing:
// a counter is reset each minute (facts/azure-openai.md §3.5).
const fullFor = time.Minute

// fullness is how full a backend last said it was: the utilization of a
// provisioned deployment, or the part of its tokens per minute that is used.
// The zero fullness is unknown. Two at once may lose one.
type fullness struct {
	at      atomic.Int64  // Unix nanoseconds; 0 = never
	percent atomic.Uint64 // bits of a float64
}

func (f *fullness) saw(at time.Time, s health.Signals) {
	percent := s.Utilization
	if percent < 0 && s.LimitTokens > 0 && s.RemainingTokens >= 0 {
		percent = 100 * (1 - min(float64(s.RemainingTokens)/float64(s.LimitTokens), 1))
	}
	if percent < 0 || s == (health.Signals{}) || math.IsNaN(percent) {
		return
	}
	f.percent.Store(math.Float64bits(percent))
	f.at.Store(at.UnixNano())
}

// look is the percentage, and whether it is known and fresh.
func (f *fullness) look(now time.Time) (float64, bool) {
	at := f.at.Load()
	if at == 0 || now.UnixNano()-at > int64(fullFor) {
		return 0, false
	}
	return math.Float64frombits(f.percent.Load()), true
}
