package replay

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"
	"unicode"
)

// Record is one request of a log.
type Record struct {
	At         int64 // when it arrived, Unix nanoseconds
	Prompt     int32 // tokens, the cached ones included
	Cached     int32
	Completion int32
	First      int32  // microseconds from the attempt that served to its first content; 0 = not known
	Total      int32  // … to its end
	Model      uint16 // into Log.Models; 0 = not told
	Consumer   uint16 // into Log.Consumers; 0 = none
	Backend    uint16 // into Log.Backends; 0 = none served it, or not told
	Status     int16  // that the caller got; 0 = not told
	Stream     bool
	Classic    bool // asked for at /openai/deployments/…
	Spilled    bool
	Unmeasured bool // no tokens are told: it was refused
}

// refused reports whether the caller got no answer, as the log tells.
func (r *Record) refused() bool { return r.Status >= 400 }

// Names is a list of names, each of which has one number. Number 0 is "".
type Names struct {
	All     []string
	numbers map[string]uint16
}

// number is that of a name, which is added unless there are too many.
func (n *Names) number(name string) uint16 {
	if name == "" {
		return 0
	}
	if n.numbers == nil {
		n.All, n.numbers = []string{""}, map[string]uint16{}
	}
	if at, ok := n.numbers[name]; ok {
		return at
	}
	if len(n.All) > math.MaxUint16 {
		return 0
	}
	at := uint16(len(n.All))
	n.All = append(n.All, printable(name))
	n.numbers[name] = at
	return at
}

// longestName is how much of a name is kept and shown.
const longestName = 200

// printable is a text of a log as a terminal may show it: callers choose some of them.
func printable(text string) string {
	kept := []rune(text[:min(len(text), 4*longestName)])
	for i, c := range kept {
		if !unicode.IsPrint(c) {
			kept[i] = '?'
		}
	}
	return string(kept[:min(len(kept), longestName)])
}

// name is the name of a number.
func (n *Names) name(at uint16) string {
	if int(at) >= len(n.All) {
		return ""
	}
	return n.All[at]
}

// Log is the requests of one or more logs, by time.
type Log struct {
	Records   []Record
	Models    Names
	Consumers Names
	Backends  Names

	Lines   int        // that were read
	Sampled int        // requests that stand in no line of their own: others of a sampled log stand for them
	Omitted []Omission // why lines are no requests here
}

// Omission is a kind of line that was left out.
type Omission struct {
	Why     string `json:"why"`
	Lines   int    `json:"lines"`
	Example string `json:"example"` // where the first one is: "app.log:17"
}

// omit counts a line that is left out.
func (l *Log) omit(why, where string) {
	i := slices.IndexFunc(l.Omitted, func(o Omission) bool { return o.Why == why })
	if i < 0 {
		i = len(l.Omitted)
		l.Omitted = append(l.Omitted, Omission{Why: why, Example: where})
	}
	l.Omitted[i].Lines++
}

// Begin and End are when the first and the last request arrived.
func (l *Log) Begin() time.Time { return time.Unix(0, l.Records[0].At).UTC() }

// End is when the last request arrived.
func (l *Log) End() time.Time { return time.Unix(0, l.Records[len(l.Records)-1].At).UTC() }

// Unmeasured is how many requests have tokens that are not their own.
func (l *Log) Unmeasured() (n int) {
	for i := range l.Records {
		if l.Records[i].Unmeasured {
			n++
		}
	}
	return n
}

// finish orders the requests, and gives those without tokens the tokens of others.
func (l *Log) finish() {
	slices.SortStableFunc(l.Records, func(a, b Record) int { return cmp.Compare(a.At, b.At) })
	l.measure(random(1))
}

// measure gives each request without tokens those of another one of the same model and
// consumer, else of the model, else of any, drawn at random.
func (l *Log) measure(r *rand.Rand) {
	type kind struct{ model, consumer int }
	const any = -1
	served := map[kind][]int32{}
	for i := range l.Records {
		if x := &l.Records[i]; !x.Unmeasured {
			for _, k := range []kind{{int(x.Model), int(x.Consumer)}, {int(x.Model), any}, {any, any}} {
				if known := served[k]; len(known) < 4096 {
					served[k] = append(known, int32(i))
				}
			}
		}
	}
	kept := l.Records[:0]
	for i := range l.Records {
		x := l.Records[i]
		if x.Unmeasured {
			from := served[kind{int(x.Model), int(x.Consumer)}]
			if len(from) == 0 {
				from = served[kind{int(x.Model), any}]
			}
			if len(from) == 0 {
				from = served[kind{any, any}]
			}
			if len(from) == 0 {
				l.omit("refused, and no other request tells how large it may have been", "")
				continue
			}
			like := &l.Records[from[r.IntN(len(from))]]
			x.Prompt, x.Cached, x.Completion = like.Prompt, like.Cached, like.Completion
		}
		kept = append(kept, x)
	}
	l.Records = kept
}
