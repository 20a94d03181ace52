package jsondoc

import "time"

// Duration is written as a Go duration: "10s", "1m30s", "800ms".
type Duration time.Duration

// durationPattern is what Go durations that are not negative look like.
const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`

// printedPattern is the same for JSON Schema, and excludes zero.
const printedPattern = `^(?=.*[1-9])([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`

// String is the duration as people write it: "10s", not "10.0s" or "0h0m10s".
func (d Duration) String() string {
	text := time.Duration(d).String()
	text = trim(text, "m0s")
	return trim(text, "h0m")
}

// trim takes off a zero unit but leaves the unit before it.
func trim(text, zero string) string {
	if n := len(text) - len(zero); n > 0 && text[n:] == zero {
		return text[:n+1]
	}
	return text
}

// Pair is a name and what it stands for.
type Pair struct{ Name, Value string }

// Pairs is written as an object of names and values, or as a list of names
// that stand for themselves. nil is neither.
type Pairs []Pair
