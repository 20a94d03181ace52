package jsonscan

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// texts are JSON, nearly JSON, and what attackers send (facts/reliability.md §3.2, T10).
var texts = []string{
	`{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `-0.5e+10`, `1e400`, `9223372036854775808`, `""`,
	` { "a" : [ 1 , { "b" : null } ] , "c" : "d\n\"\\\/\u00e9\ud83d\ude00" } `,
	`{"a":1,}`, `[1,]`, `[,1]`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a" 1}`, `[1 2]`, `{"a":1 "b":2}`, `{"a":1,"b"`, `[`, `{`, `]`, `}`, `[}`, `{]`, `[[1}`,
	`tru`, `truee`, `nul`, `NaN`, `Infinity`, `-`, `01`, `1.`, `.5`, `1e`, `1e+`, `+1`, `0x1`, `1.e5`, `--1`,
	`"\x"`, `"\u12"`, `"\u12g4"`, `"\ud83d"`, `"\ude00"`, `"\ud83d\u0041"`, `"\ud83d\ud83d"`, `"\`, `"\"`, `"\u`,
	"\"a\nb\"", "\"a\x00b\"", "\"\x7f\"", "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe4\xb8\xad\xe6\x96\x87\"", "\"\xc3\xa9\"", "\"\xf0\x9f\x98\x80\"", "\"\xe4\xb8\"",
	"\xef\xbb\xbf{}", "\x00", "", " ", "{}\x00", "\f{}",
	`"` + strings.Repeat("plain text ", 40) + `"`,
	`"` + strings.Repeat("x", 300) + "\x01" + `"`,
	`"` + strings.Repeat("中文字", 60) + `"`,
	`"` + strings.Repeat("x", 200) + `\"` + strings.Repeat("y", 200) + `\\"`,
	strings.Repeat("[", 70) + strings.Repeat("]", 70), strings.Repeat(`{"a":[`, 40) + "1" + strings.Repeat("]}", 40),
}

// FuzzSkipValue holds Value against the standard library, which lets pass what is
// not UTF-8 and half surrogates; Value does not.
func FuzzSkipValue(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end, why := SkipValue(b, 0)
		got := why == OK && SkipSpace(b, end) == len(b)
		want := json.Valid(b) && utf8.Valid(b) && !halfSurrogate(b)
		if got != want {
			t.Fatalf("Value(%q) = %d, %v; want valid %t", b, end, why, want)
		}
		if end < 0 || end > len(b) {
			t.Fatalf("Value(%q) stopped at %d", b, end)
		}
	})
}

// halfSurrogate reports whether valid JSON holds an unpaired surrogate.
func halfSurrogate(b []byte) bool {
	var units []uint16
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			units = append(units, 'x')
			continue
		}
		i++
		if b[i] != 'u' {
			units = append(units, 'x')
			continue
		}
		n := 0
		for _, c := range strings.ToLower(string(b[i+1 : i+5])) {
			n = n<<4 | strings.IndexRune("0123456789abcdef", c)
		}
		units = append(units, uint16(n))
		i += 4
	}
	return !slices.Equal(utf16.Encode(utf16.Decode(units)), units)
}

// FuzzCalm holds the vector search against the plain meaning of its contract.
func FuzzCalm(f *testing.F) {
	f.Add([]byte(strings.Repeat("calm ", 100)), 300, byte('"'))
	f.Add([]byte(strings.Repeat("中", 100)), 64, byte('\\'))
	f.Add(bytes.Repeat([]byte{0x1f, 'a'}, 64), 0, byte(' '))
	f.Add([]byte(strings.Repeat("a", 128)), 40, byte(0xc3)) // alone, in the second half of a block
	f.Fuzz(func(t *testing.T, b []byte, at int, c byte) {
		if len(b) > 0 {
			b[uint(at)%uint(len(b))] = c
		}
		for name, search := range map[string]func([]byte) (int, uint64){"machine": calm, "portable": calmPortable} {
			n, seen := search(b)
			for _, c := range b[:n] {
				if c < ' ' || c == '"' || c == '\\' {
					t.Fatalf("%s search of %q passed %q", name, b, c)
				}
				if c >= utf8.RuneSelf && seen&highs == 0 {
					t.Fatalf("%s search of %q missed %x beyond ASCII", name, b, c)
				}
			}
			if n < len(b)-64 && bytes.IndexFunc(b[n:n+64], func(r rune) bool { return r < ' ' || r == '"' || r == '\\' }) < 0 {
				t.Fatalf("%s search of %q stopped at %d of %d before calm text", name, b, n, len(b))
			}
		}
	})
}

func FuzzInvalid(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	for _, s := range []string{"\xe0\x80\x80.", "\xed\xa0\x80.", "\xc1\x81...", "\xf4\x90\x80\x80.", "\xe0\xa4\x85.", "\xed\x9f\xbf.", "\xc2\x80..", "\xe4\xb8.."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at := invalid(b)
		if (at == len(b)) != utf8.Valid(b) {
			t.Fatalf("invalid(%q) = %d, utf8.Valid %t", b, at, utf8.Valid(b))
		}
		if !utf8.Valid(b[:at]) {
			t.Fatalf("invalid(%q) = %d, yet what stands before is not UTF-8", b, at)
		}
	})
}

// FuzzUnquote holds Unquote, Is and the walk's keys against the standard
// library's decoder.
func FuzzUnquote(f *testing.F) {
	f.Add(`mode\u006c`)
	f.Add(`a\n\ud83d\ude00\"\/`)
	f.Fuzz(func(t *testing.T, inside string) {
		text := []byte(`"` + inside + `"`)
		end, why := SkipValue(text, 0)
		if why != OK || end != len(text) {
			return
		}
		var want string
		err := json.Unmarshal(text, &want)
		if err != nil {
			t.Fatalf("Unmarshal(%q): %v", text, err)
		}
		got := Unquote([]byte(inside))
		if got != want {
			t.Fatalf("Unquote(%q) = %q, want %q", inside, got, want)
		}
		if len(want) <= 21 && !EqualUnquoted([]byte(inside), want) {
			t.Fatalf("Is(%q, %q) is false", inside, want)
		}
		w := Iterate([]byte(`{`+string(text)+`:1}`), 0)
		if !w.Next() || string(w.Key) != inside {
			t.Fatalf("the key of {%s:1} is %q", text, w.Key)
		}
	})
}

func TestWalkGoesOverMembersAndElements(t *testing.T) {
	b := []byte(` { "a" : [1, {"x":2}] , "b":{}, "c" : "d" } tail`)
	var got []string
	w := Iterate(b, 0)
	for w.Next() {
		from := w.Offset
		key := string(w.Key)
		got = append(got, key+"="+string(b[from:w.Skip()]))
	}
	want := []string{`a=[1, {"x":2}]`, `b={}`, `c="d"`}
	if !slices.Equal(got, want) || w.Reason != OK || string(b[w.Offset:]) != " tail" {
		t.Errorf("walked over %q and stopped at %q with %v, want %q", got, b[w.Offset:], w.Reason, want)
	}
}

func TestWalkPassesValuesNotLookedAt(t *testing.T) {
	w := Iterate([]byte(`[1,[2,"]"],{"a":3}]`), 0)
	n := 0
	for w.Next() {
		n++
	}
	if n != 3 || w.Reason != OK {
		t.Errorf("met %d elements and stopped with %v, want 3 and %v", n, w.Reason, OK)
	}
}

// FuzzIterator: a walk that passes every value finds what Value finds.
func FuzzIterator(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at := SkipSpace(b, 0)
		if at == len(b) || b[at] != '{' && b[at] != '[' {
			return
		}
		end, why := SkipValue(b, at)
		w := Iterate(b, at)
		for w.Next() {
		}
		if w.Reason != why || why == OK && w.Offset != end {
			t.Fatalf("walking %q ended at %d with %v, Value at %d with %v", b, w.Offset, w.Reason, end, why)
		}
	})
}

func TestDepthIsBoundedLikeTheStandardLibrarys(t *testing.T) {
	for _, depth := range []int{1, 63, 64, 65, 128, MaxDepth, MaxDepth + 1, 1_000_000} {
		text := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		_, why := SkipValue(text, 0)
		if (why == OK) != (depth <= MaxDepth) {
			t.Errorf("%d brackets: %v", depth, why)
		}
		mixed := []byte(strings.Repeat(`{"a":[`, depth/2) + "1" + strings.Repeat(`]}`, depth/2))
		_, why = SkipValue(mixed, 0)
		if (why == OK) != (depth/2*2 <= MaxDepth) {
			t.Errorf("%d mixed brackets: %v", depth, why)
		}
	}
}

func TestAttachmentsWeighLittle(t *testing.T) {
	long := strings.Repeat("A", 100_000)
	tests := map[string]struct {
		text  string
		light int
	}{
		"a picture":     {`{"url":"data:image/png;base64,` + long + `"}`, 100_000 + len(`"data:image/png;base64,"`) - AttachmentSize},
		"a sound":       {`["` + long + `"]`, 100_002 - AttachmentSize},
		"prose":         {`["` + strings.Repeat("word and ", 10_000) + `"]`, 0},
		"short base64":  {`["` + long[:4000] + `"]`, 0},
		"two sounds":    {`["` + long + `","` + long + `"]`, 2 * (100_002 - AttachmentSize)},
		"not a string":  {`[` + strings.Repeat("1", 5000) + `]`, 0},
		"CJK, no space": {`["` + strings.Repeat("中文", 10_000) + `"]`, 0},
	}
	for name, tt := range tests {
		end, weight, why := MeasureValue([]byte(tt.text), 0)
		if why != OK || end-weight != tt.light {
			t.Errorf("%s of %d bytes: weight %d, %v; want %d", name, end, weight, why, end-tt.light)
		}
	}
}
