package simulator

import (
	"math"
	"time"
)

// Limits of a pay-as-you-go deployment (facts/azure-openai.md §3.1): a counter
// of estimated tokens that is reset each minute, and requests judged over a
// slice of a minute. The instant is an argument throughout.

const (
	tokenMinute          = time.Minute
	defaultRequestWindow = 10 * time.Second
	neverFits            = 86400 * time.Second
)

// tokenCounter counts estimated tokens. The request that crosses the limit is
// still served, so what remains may be negative; the next one is refused.
type tokenCounter struct {
	since time.Time
	used  int
	slide []tokenCharge // only when sliding
}

type tokenCharge struct {
	at     time.Time
	tokens int
}

// admit spends an estimate, or says for how long none will be accepted.
func (t *tokenCounter) admit(now time.Time, d *Deployment, estimate int) (time.Duration, bool) {
	t.advance(now, d.SlidingTokens)
	if d.TokensPerMinute <= 0 {
		return 0, true
	}
	if estimate > d.TokensPerMinute {
		return neverFits, false
	}
	if t.used >= d.TokensPerMinute {
		return t.reopens(now, d), false
	}
	t.used += estimate
	if d.SlidingTokens {
		t.slide = append(t.slide, tokenCharge{now, estimate})
	}
	return 0, true
}

func (t *tokenCounter) advance(now time.Time, sliding bool) {
	if !sliding {
		if now.Sub(t.since) >= tokenMinute {
			t.since, t.used = now, 0
		}
		return
	}
	for len(t.slide) > 0 && now.Sub(t.slide[0].at) >= tokenMinute {
		t.used -= t.slide[0].tokens
		t.slide = t.slide[1:]
	}
}

// reopens is how long until the counter is below the limit again.
func (t *tokenCounter) reopens(now time.Time, d *Deployment) time.Duration {
	if !d.SlidingTokens {
		return t.since.Add(tokenMinute).Sub(now)
	}
	over := t.used - d.TokensPerMinute
	for _, s := range t.slide {
		over -= s.tokens
		if over < 0 {
			return s.at.Add(tokenMinute).Sub(now)
		}
	}
	return tokenMinute
}

// requestWindow counts requests, refused and failed ones too.
type requestWindow struct {
	since time.Time
	count int
}

// admit counts a request, or says when the next window begins.
func (w *requestWindow) admit(now time.Time, d *Deployment) (time.Duration, bool) {
	window := d.requestWindow()
	if now.Sub(w.since) >= window {
		w.since, w.count = now, 0
	}
	w.count++
	if d.RequestsPerMinute <= 0 || w.count <= d.requestsPerWindow() {
		return 0, true
	}
	return w.since.Add(window).Sub(now), false
}

func (d *Deployment) requestWindow() time.Duration {
	if d.RequestWindow > 0 {
		return d.RequestWindow
	}
	return defaultRequestWindow
}

// requestsPerWindow is the even share of a minute's requests, at least one.
func (d *Deployment) requestsPerWindow() int {
	share := float64(d.RequestsPerMinute) * d.requestWindow().Minutes()
	return max(1, int(math.Ceil(share)))
}
