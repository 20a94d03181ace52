package simulator

import (
	"hash/maphash"
	"sync"
	"time"
)

// Prompt caching (facts/azure-openai.md §6.1): a hit needs 1,024 equal leading
// tokens, then grows in steps of 128. Requests are told apart by a hash of the
// first 256 tokens and prompt_cache_key; above 15 a minute they overflow to
// machines that know nothing.
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

// cacheProbe is one prompt as the cache sees it: the machine it goes to and
// the prefixes it could share.
type cacheProbe struct {
	route    uint64
	prefixes []uint64 // of 1,024 tokens, 1,152, …
}

// probe hashes a prompt; a short one has no prefixes and costs nothing.
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

// cached is how many leading tokens of a prompt the cache would serve now.
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

// add makes a served prompt cached for the next one.
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
