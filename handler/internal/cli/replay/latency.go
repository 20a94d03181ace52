package replay

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"time"

	"spillway/handler/internal/config"
)

// Latency is how long answers take: what the log says of each kind of capacity and
// size. It is immutable once made, and safe for concurrent use.
type Latency struct {
	kinds    [kindsOfCapacity]kindTimes
	backends []capacityKind // by number in the log
	known    bool
}

// capacityKind is a kind of capacity.
type capacityKind uint8

const (
	payAsYouGo capacityKind = iota
	provisioned
	kindsOfCapacity
	unknownKind = kindsOfCapacity // the log does not tell it
)

func kindOf(isProvisioned bool) capacityKind {
	if isProvisioned {
		return provisioned
	}
	return payAsYouGo
}

// sizes is the number of sizes: powers of two of tokens.
const sizes = 24

// kindTimes is what is known of one kind of capacity.
type kindTimes struct {
	first [sizes]samples // of streams, by size of the prompt
	token [sizes]samples // for each further token of streams, by size of the answer
	whole [sizes]samples // of answers that come whole, by size of the answer
}

// mostSamples is how many times are kept of a size, evenly over the log.
const mostSamples = 512

// samples are times drawn from those of the log.
type samples struct {
	kept []time.Duration
	seen int
}

func (s *samples) add(d time.Duration, r *rand.Rand) {
	s.seen++
	if len(s.kept) < mostSamples {
		s.kept = append(s.kept, d)
	} else if i := r.IntN(s.seen); i < mostSamples {
		s.kept[i] = d
	}
}

func sizeOf(tokens int32) int { return min(bits.Len32(uint32(max(tokens, 0))), sizes-1) }

// Learn takes the times of the log. A backend that one of the configurations has is of
// the kind that it has there.
func Learn(log *Log, configs ...*config.Config) *Latency {
	l := &Latency{backends: make([]capacityKind, len(log.Backends.All))}
	for i, name := range log.Backends.All {
		l.backends[i] = kindOfBackend(name, configs)
	}
	r := random(3)
	for i := range log.Records {
		x := &log.Records[i]
		if x.Total == 0 || x.refused() || x.Unmeasured {
			continue
		}
		kind := l.kindOf(x)
		if kind == unknownKind {
			kind = payAsYouGo
		}
		l.known = true
		l.kinds[kind].add(x, r)
	}
	return l
}

func kindOfBackend(name string, configs []*config.Config) capacityKind {
	for _, c := range configs {
		for i := range c.Document.Backends {
			if b := &c.Document.Backends[i]; b.Name == name {
				return kindOf(b.Capacity == "provisioned")
			}
		}
	}
	return unknownKind
}

func (l *Latency) kindOf(x *Record) capacityKind {
	if int(x.Backend) >= len(l.backends) || x.Backend == 0 {
		return unknownKind
	}
	return l.backends[x.Backend]
}

func (k *kindTimes) add(x *Record, r *rand.Rand) {
	first, total := micro(x.First), micro(x.Total)
	if !x.Stream {
		k.whole[sizeOf(x.Completion)].add(total, r)
		return
	}
	k.first[sizeOf(x.Prompt)].add(first, r)
	if x.Completion > 1 && total > first {
		k.token[sizeOf(x.Completion)].add((total-first)/time.Duration(x.Completion-1), r)
	}
}

func micro(us int32) time.Duration { return time.Duration(us) * time.Microsecond }

// of is how long an answer to the request takes to its first content, and to its end: as
// the log says where a backend of that kind served it, else as others of its size took,
// else by the assumptions of docs/replay.md.
func (l *Latency) of(x *Record, kind capacityKind, r *rand.Rand) (first, total time.Duration) {
	if served := l.kindOf(x); x.Total > 0 && !x.refused() && !x.Unmeasured && (served == kind || served == unknownKind) {
		return micro(x.First), micro(x.Total)
	}
	if !x.Stream {
		if whole, ok := l.draw(kind, func(k *kindTimes) *[sizes]samples { return &k.whole }, sizeOf(x.Completion), r); ok {
			return whole, whole
		}
	}
	first, ok := l.draw(kind, func(k *kindTimes) *[sizes]samples { return &k.first }, sizeOf(x.Prompt), r)
	if !ok {
		first = assumed[kind].first(x.Prompt-x.Cached, r)
	}
	token, ok := l.draw(kind, func(k *kindTimes) *[sizes]samples { return &k.token }, sizeOf(x.Completion), r)
	if !ok {
		token = assumed[kind].token
	}
	total = first + token*time.Duration(max(x.Completion-1, 0))
	if !x.Stream {
		first = total
	}
	return first, total
}

// draw draws from the samples of this size, else of the nearest one that has some; else
// from those of the other kind.
func (l *Latency) draw(kind capacityKind, of func(*kindTimes) *[sizes]samples, size int, r *rand.Rand) (time.Duration, bool) {
	for _, k := range [...]capacityKind{kind, payAsYouGo + provisioned - kind} {
		all := of(&l.kinds[k])
		for distance := range sizes {
			for _, at := range [...]int{size - distance, size + distance} {
				if at >= 0 && at < sizes && len(all[at].kept) > 0 {
					return all[at].kept[r.IntN(len(all[at].kept))], true
				}
			}
		}
	}
	return 0, false
}

// assumption is how long answers take where the log does not tell.
type assumption struct {
	base, prompt time.Duration // to the first content: for each request, and for each token of its prompt that was not cached
	token        time.Duration // for each further token
}

// assumed are the assumptions of docs/replay.md#times, by kind of capacity.
var assumed = [kindsOfCapacity]assumption{
	payAsYouGo:  {400 * time.Millisecond, 150 * time.Microsecond, 20 * time.Millisecond},
	provisioned: {250 * time.Millisecond, 100 * time.Microsecond, 15 * time.Millisecond},
}

// first is log-normal: a spread of 0.3, so that the 95th percentile is 1.6 times the
// median.
func (a *assumption) first(prompt int32, r *rand.Rand) time.Duration {
	median := a.base + a.prompt*time.Duration(max(prompt, 0))
	return time.Duration(float64(median) * math.Exp(.3*r.NormFloat64()))
}
