package simulator

import (
	"io"
	"math"
	"net/http"
	"time"
)

// sleep waits and tells whether the caller is still there afterwards.
func (c *call) sleep(d time.Duration) bool {
	ctx := c.r.Context()
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// firstTokenDelay is the time to the first token: a base, more for each prompt
// token that was not cached, more under load, spread by jitter.
func (c *call) firstTokenDelay() time.Duration {
	fresh := max(0, c.promptTokens-c.cached)
	share := 1.0
	if c.promptTokens > 0 {
		// Half of the base is reading the prompt; what is cached is not read.
		share = 0.5 + 0.5*float64(fresh)/float64(c.promptTokens)
	}
	base := time.Duration(float64(c.spec.TimeToFirstToken)*share) + time.Duration(fresh)*c.spec.PerPromptToken
	return c.latency + c.scaleDelay(base, 0)
}

// tokenDelay is the time to the i-th token after the first.
func (c *call) tokenDelay(i int) time.Duration { return c.scaleDelay(c.spec.PerToken, i+1) }

// scaleDelay applies load, brown-out and seeded jitter to a duration.
func (c *call) scaleDelay(d time.Duration, i int) time.Duration {
	if d <= 0 {
		return 0
	}
	factor := c.factor
	if c.spec.LoadFactor > 0 && c.dep != nil {
		factor *= 1 + c.spec.LoadFactor*float64(max(0, c.dep.inFlight.Load()-1))
	}
	if c.spec.Jitter > 0 {
		factor *= math.Max(0.1, 1+c.spec.Jitter*c.svc.normal(c.seq, i))
	}
	return time.Duration(float64(d) * factor)
}

// answerDelay is how long an answer that is not streamed takes.
func (c *call) answerDelay(tokens int) time.Duration {
	d := c.firstTokenDelay()
	if c.spec.PerToken > 0 {
		d += c.scaleDelay(c.spec.PerToken*time.Duration(max(0, tokens-1)), 1)
	}
	return d
}

func (c *call) flush() { _ = http.NewResponseController(c.w).Flush() }

// slowReader takes the caller's body in slowly.
type slowReader struct {
	call  *call
	from  io.Reader
	pause time.Duration
}

// Read waits before each kilobyte.
func (s *slowReader) Read(p []byte) (int, error) {
	pause := s.pause
	if pause <= 0 {
		pause = 10 * time.Millisecond
	}
	if !s.call.sleep(pause) {
		return 0, s.call.r.Context().Err()
	}
	return s.from.Read(p[:min(len(p), 1024)])
}

// burstDelay is the time to the next burst of tokens, which begins at the i-th.
func (c *call) burstDelay(i, burst int) time.Duration {
	var d time.Duration
	if c.spec.PerToken <= 0 {
		return 0
	}
	for n := range burst {
		d += c.tokenDelay(i + n)
	}
	return d
}
