package jsonscan

import "bytes"

// Vocabulary numbers names. The zero Vocabulary has none.
type Vocabulary struct {
	texts   []string // by Name
	buckets [256][]Name
	longest int
}

// NewVocabulary numbers at most 127 names, each of at most 40 bytes, from 1 in
// their order.
func NewVocabulary(names ...string) *Vocabulary {
	if len(names) >= maxNames {
		panic("jsonscan: more than 127 names")
	}
	v := &Vocabulary{texts: append([]string{""}, names...)}
	for i, text := range names {
		b := bucket([]byte(text))
		v.buckets[b] = append(v.buckets[b], Name(i+1))
		v.longest = max(v.longest, len(text))
	}
	return v
}

// bucket spreads names by their length and ends.
func bucket(b []byte) uint8 {
	if len(b) == 0 {
		return 0
	}
	return uint8(len(b)) + 7*b[0] + 31*b[len(b)-1]
}

// Of is the number of a name that is not escaped; 0 is unknown.
func (v *Vocabulary) Of(name string) Name { return v.find([]byte(name)) }

// Len is how many names there are.
func (v *Vocabulary) Len() int { return len(v.texts) - 1 }

// Text is the name of a number.
func (v *Vocabulary) Text(n Name) string { return v.texts[n] }

// Lookup is the number of the name that is written as key, without its quotes.
func (v *Vocabulary) Lookup(key []byte) Name {
	if n := v.find(key); n != 0 || bytes.IndexByte(key, '\\') < 0 {
		return n
	}
	const escaped = len(`\u0000`)
	var plain [escaped * 40]byte
	if len(key) > escaped*v.longest || len(key) > len(plain) {
		return 0
	}
	return v.find(AppendUnquoted(plain[:0], key))
}

func (v *Vocabulary) find(key []byte) Name {
	for _, n := range v.buckets[bucket(key)] {
		if v.texts[n] == string(key) {
			return n
		}
	}
	return 0
}
