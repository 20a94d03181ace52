package telemetry

import (
	"encoding/hex"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"
)

// jsonLine is one line of JSON in the making: an object whose fields are
// appended in order. Empty texts are left out.
type jsonLine []byte

// newJSONLine begins a line in the buffer.
func newJSONLine(buffer []byte, at time.Time, level slog.Level, message string) jsonLine {
	f := jsonLine(append(buffer[:0], `{"time":"`...))
	f = appendInstant(f, at)
	f = append(f, `","level":"`...)
	f = append(f, level.String()...)
	f = append(f, `","msg":"`...)
	f = append(f, message...)
	return append(f, '"')
}

// appendInstant appends a time in UTC, to the millisecond, by RFC 3339, in a
// fifth of the time of time.AppendFormat.
func appendInstant(b []byte, at time.Time) []byte {
	at = at.UTC()
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	b = appendDigits(b, year, 4)
	b = appendDigits(append(b, '-'), int(month), 2)
	b = appendDigits(append(b, '-'), day, 2)
	b = appendDigits(append(b, 'T'), hour, 2)
	b = appendDigits(append(b, ':'), minute, 2)
	b = appendDigits(append(b, ':'), second, 2)
	b = appendDigits(append(b, '.'), at.Nanosecond()/1e6, 3)
	return append(b, 'Z')
}

// appendDigits appends the last width digits of n.
func appendDigits(b []byte, n, width int) []byte {
	var text [4]byte
	for i := width - 1; i >= 0; i-- {
		text[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, text[:width]...)
}

func (f *jsonLine) raw(s string) *jsonLine {
	*f = append(*f, s...)
	return f
}

// key appends a name, which needs no escaping, after a comma unless it is the
// first.
func (f *jsonLine) key(name string) *jsonLine {
	if last := (*f)[len(*f)-1]; last != '{' {
		*f = append(*f, ',')
	}
	*f = append(*f, '"')
	*f = append(*f, name...)
	*f = append(*f, '"', ':')
	return f
}

// object begins an object in a list.
func (f *jsonLine) object() *jsonLine {
	if last := (*f)[len(*f)-1]; last != '[' {
		*f = append(*f, ',')
	}
	*f = append(*f, '{')
	return f
}

func (f *jsonLine) text(name, value string) *jsonLine {
	if value == "" {
		return f
	}
	return f.key(name).quote(value)
}

func (f *jsonLine) number(name string, n int64) *jsonLine {
	f.key(name)
	*f = strconv.AppendInt(*f, n, 10)
	return f
}

// nonZero appends a number unless it is zero.
func (f *jsonLine) nonZero(name string, n int64) *jsonLine {
	if n == 0 {
		return f
	}
	return f.number(name, n)
}

// hex writes the id of a trace.
func (f *jsonLine) hex(id trace.TraceID) *jsonLine {
	*f = append(hex.AppendEncode(append(*f, '"'), id[:]), '"')
	return f
}

// flag appends a flag that is set.
func (f *jsonLine) flag(name string, set bool) *jsonLine {
	if !set {
		return f
	}
	return f.key(name).raw("true")
}

func (f *jsonLine) boolean(yes bool) *jsonLine {
	*f = strconv.AppendBool(*f, yes)
	return f
}

// decimal appends a number with that many significant digits.
func (f *jsonLine) decimal(name string, n float64, digits int) *jsonLine {
	f.key(name)
	*f = strconv.AppendFloat(*f, n, 'g', digits, 64)
	return f
}

// millis appends a duration in milliseconds with up to three decimals.
func (f *jsonLine) millis(name string, d time.Duration) *jsonLine {
	f.key(name)
	us := d.Microseconds()
	if us < 0 {
		*f = append(*f, '-')
		us = -us
	}
	*f = strconv.AppendInt(*f, us/1000, 10)
	if part := us % 1000; part != 0 {
		*f = append(*f, '.', byte('0'+part/100), byte('0'+part/10%10), byte('0'+part%10))
	}
	return f
}

// seconds appends a duration in seconds with three decimals.
func (f *jsonLine) seconds(name string, d time.Duration) *jsonLine {
	f.key(name)
	*f = strconv.AppendFloat(*f, d.Seconds(), 'f', 3, 64)
	return f
}

// end closes the line.
func (f *jsonLine) end() []byte { return append(*f, '}', '\n') }

// quote appends a JSON string. Nothing in it can end the line or the string, or
// change the direction of what a terminal prints.
func (f *jsonLine) quote(s string) *jsonLine {
	*f = append(*f, '"')
	if plain(s) {
		*f = append(*f, s...)
	} else {
		f.escape(s)
	}
	*f = append(*f, '"')
	return f
}

// plain reports whether s can stand in a JSON string as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			return false
		}
	}
	return true
}

func (f *jsonLine) escape(s string) {
	for _, r := range s {
		if r == '"' || r == '\\' {
			*f = append(*f, '\\', byte(r))
			continue
		}
		f.rune(r)
	}
}

// rune appends a character of a JSON text: as it is when it is printable, else
// escaped or replaced.
func (f *jsonLine) rune(r rune) {
	const hex = "0123456789abcdef"
	switch {
	case unicode.IsPrint(r):
		*f = utf8.AppendRune(*f, r)
	case r > 0xffff:
		*f = utf8.AppendRune(*f, utf8.RuneError)
	default:
		*f = append(*f, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
	}
}

// truncate bounds the text of an error.
func truncate(s string) string {
	if len(s) <= maxErrorText {
		return s
	}
	return strings.ToValidUTF8(s[:maxErrorText], "") + "…"
}
