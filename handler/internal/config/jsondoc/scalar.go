package jsondoc

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// scalar fills a string, a bool or a number.
func (d *decoder) scalar(n *Node, v reflect.Value, path string, f field) {
	switch v.Kind() { //nolint:exhaustive // no field of ours is of another kind
	case reflect.String:
		if d.is(n, String, path, f) && d.allowed(n, path, f) {
			v.SetString(n.Text)
		}
	case reflect.Bool:
		if d.is(n, Bool, path, f) {
			v.SetBool(n.True)
		}
	case reflect.Int, reflect.Int64:
		if number, ok := d.number(n, path, f, true); ok {
			v.SetInt(int64(number))
		}
	case reflect.Float64:
		if number, ok := d.number(n, path, f, false); ok {
			v.SetFloat(number)
		}
	default:
		panic("strict: cannot fill a " + v.Type().String())
	}
}

// allowed checks a string against the field's enumeration and pattern.
func (d *decoder) allowed(n *Node, path string, f field) bool {
	switch {
	case len(f.enum) > 0:
		for _, word := range f.enum {
			if n.Text == word {
				return true
			}
		}
		d.fault(n, path, f.quote(n.Text)+" is not allowed here", DidYouMean(n.Text, f.enum))
	case !d.matches(f.pattern, n.Text):
		d.fault(n, path, f.quote(n.Text)+" is not allowed here", "Write "+f.say+".")
	default:
		return true
	}
	return false
}

// quote repeats a value in a message, unless it may be a secret or is endless.
func (f field) quote(text string) string {
	const most = 64
	switch {
	case f.quiet:
		return "the value"
	case len(text) > most:
		return strconv.Quote(text[:most] + "...")
	}
	return strconv.Quote(text)
}

// number reads a number and checks its range. A whole number may be written
// as 1e6, as JSON Schema has it, but must be exact.
func (d *decoder) number(n *Node, path string, f field, integer bool) (float64, bool) {
	kind := "a number"
	if integer {
		kind = "a whole number"
	}
	if n.Kind != Number {
		d.fault(n, path, fmt.Sprintf("must be %s, not %v", kind, n.Kind), f.unquoted(n, kind))
		return 0, false
	}
	const exact = 1 << 53
	value, err := strconv.ParseFloat(n.Text, 64)
	switch {
	case err != nil || math.IsInf(value, 0):
		d.fault(n, path, n.Text+" is out of range", f.ranged(kind))
	case integer && (value != math.Trunc(value) || math.Abs(value) > exact):
		d.fault(n, path, n.Text+" is not a whole number", f.ranged(kind))
	case f.min != nil && value < *f.min, f.max != nil && value > *f.max:
		d.fault(n, path, n.Text+" is out of range", f.ranged(kind))
	default:
		return value, true
	}
	return 0, false
}

// unquoted is the fix for a number that is written as something else.
func (f field) unquoted(n *Node, kind string) string {
	if n.Kind == String {
		if _, err := strconv.ParseFloat(n.Text, 64); err == nil {
			return "Remove the quotes: " + n.Text + "."
		}
	}
	return f.ranged(kind)
}

// ranged is the fix that says which numbers are allowed.
func (f field) ranged(kind string) string {
	switch {
	case f.min != nil && f.max != nil:
		return fmt.Sprintf("Write %s from %s to %s.", kind, digits(*f.min), digits(*f.max))
	case f.min != nil:
		return fmt.Sprintf("Write %s of at least %s.", kind, digits(*f.min))
	}
	return "Write " + kind + "."
}

// digits is a number as people write it, without an exponent.
func digits(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// duration reads a Go duration that is more than nothing.
func (d *decoder) duration(n *Node, v reflect.Value, path string, f field) {
	const fix = `Write a duration as Go does, for example "10s", "800ms" or "1m30s".`
	if n.Kind != String {
		d.fault(n, path, fmt.Sprintf("must be a duration in quotes, not %v", n.Kind), fix)
		return
	}
	value, err := time.ParseDuration(n.Text)
	switch {
	case err != nil || !d.matches(durationPattern, n.Text):
		d.fault(n, path, f.quote(n.Text)+" is no duration", fix)
	case value <= 0:
		d.fault(n, path, f.quote(n.Text)+" is no time at all", "Write more than 0s.")
	case f.longest > 0 && value > f.longest:
		d.fault(n, path, f.quote(n.Text)+" is too long", "Write at most "+Duration(f.longest).String()+".")
	default:
		v.SetInt(int64(value))
	}
}

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
