package simulator

import (
	"hash/maphash"
	"math"
	"sync"
	"time"
)

// Limits of a pay-as-you-go deployment (docs/azure-openai.md#how-limits-count): a
// counter of estimated tokens that is reset each minute, and requests counted over
// a part of a minute. The time is always an argument.

const (
	tokenMinute          = time.Minute
	defaultRequestWindow = 10 * time.Second
	neverFits            = 86400 * time.Second
)

// tokenCounter counts estimated tokens. The request that exceeds the limit is
// still served, so the rest may be negative; the next request is refused.
type tokenCounter struct {
	since time.Time
	used  int
	slide []tokenCharge // only when sliding
}

type tokenCharge struct {
	at     time.Time
	tokens int
}

// admit charges an estimate, or returns how long none is accepted.
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

// requestWindow counts requests, refused and failed ones included.
type requestWindow struct {
	since time.Time
	count int
}

// admit counts a request, or returns when the next window begins.
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

// requestsPerWindow is a window's share of a minute's requests, at least one.
func (d *Deployment) requestsPerWindow() int {
	share := float64(d.RequestsPerMinute) * d.requestWindow().Minutes()
	return max(1, int(math.Ceil(share)))
}

// Prompt caching (docs/azure-openai.md#prompt-caching): a hit needs 1,024 equal
// leading tokens and grows in steps of 128. A hash of the first 256 tokens and
// prompt_cache_key selects the machine; above 15 requests a minute they go to
// machines without the cache.
const (
	cacheFloor      = 1024
	cacheStep       = 128
	cacheKeyTokens  = 256
	cachePerMinute  = 15
	cacheIdle       = 5 * time.Minute
	cacheLife       = time.Hour
	cacheMaxEntries = 1 << 16
)

type promptCache struct {
	seed     maphash.Seed
	mu       sync.Mutex
	prefixes map[uint64]cacheTimes
	routes   map[uint64]*requestWindow
}

type cacheTimes struct{ made, used time.Time }

func newPromptCache() *promptCache {
	p := &promptCache{seed: maphash.MakeSeed()}
	p.reset()
	return p
}

func (p *promptCache) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prefixes = map[uint64]cacheTimes{}
	p.routes = map[uint64]*requestWindow{}
}

// cacheProbe is the machine and the prefixes of one prompt.
type cacheProbe struct {
	route    uint64
	prefixes []uint64 // of 1,024 tokens, 1,152, …
}

// probe hashes a prompt; a short one has no prefixes.
func (p *promptCache) probe(model, key, prompt string) cacheProbe {
	tokens := len(prompt) / charsPerToken
	if tokens < cacheFloor {
		return cacheProbe{}
	}
	var hash maphash.Hash
	hash.SetSeed(p.seed)
	at := cacheKeyTokens * charsPerToken
	_, _ = hash.WriteString(model + "\x00" + key + "\x00" + prompt[:at])
	found := cacheProbe{route: hash.Sum64()}
	for end := cacheFloor; end <= tokens; end += cacheStep {
		_, _ = hash.WriteString(prompt[at : end*charsPerToken])
		at = end * charsPerToken
		found.prefixes = append(found.prefixes, hash.Sum64())
	}
	return found
}

// cached is how many leading tokens of a prompt are in the cache.
func (p *promptCache) cached(now time.Time, probe cacheProbe) int {
	if len(probe.prefixes) == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.routes[probe.route]; w != nil && now.Sub(w.since) < time.Minute && w.count >= cachePerMinute {
		return 0
	}
	for i := len(probe.prefixes) - 1; i >= 0; i-- {
		if p.fresh(now, probe.prefixes[i]) {
			return cacheFloor + i*cacheStep
		}
	}
	return 0
}

// add adds a prompt to the cache.
func (p *promptCache) add(now time.Time, probe cacheProbe) {
	if len(probe.prefixes) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.prefixes) > cacheMaxEntries || len(p.routes) > cacheMaxEntries {
		clear(p.prefixes)
		clear(p.routes)
	}
	if p.overflows(now, probe.route) {
		return
	}
	for _, prefix := range probe.prefixes {
		t := p.prefixes[prefix]
		if !p.fresh(now, prefix) {
			t.made = now
		}
		t.used = now
		p.prefixes[prefix] = t
	}
}

func (p *promptCache) fresh(now time.Time, prefix uint64) bool {
	t, ok := p.prefixes[prefix]
	return ok && now.Sub(t.used) < cacheIdle && now.Sub(t.made) < cacheLife
}

func (p *promptCache) overflows(now time.Time, route uint64) bool {
	w := p.routes[route]
	if w == nil {
		w = &requestWindow{since: now}
		p.routes[route] = w
	}
	if now.Sub(w.since) >= time.Minute {
		w.since, w.count = now, 0
	}
	w.count++
	return w.count > cachePerMinute
}
