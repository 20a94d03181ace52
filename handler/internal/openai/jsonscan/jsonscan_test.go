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

// texts are JSON, nearly JSON, and what attackers send.
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

// FuzzSkipValue compares SkipValue with the standard library, which also accepts
// invalid UTF-8 and unpaired surrogates.
func FuzzSkipValue(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end, reason := SkipValue(b, 0)
		got := reason == OK && SkipSpace(b, end) == len(b)
		want := json.Valid(b) && utf8.Valid(b) && !hasLoneSurrogate(b)
		if got != want {
			t.Fatalf("SkipValue(%q) = %d, %v; want valid %t", b, end, reason, want)
		}
		if end < 0 || end > len(b) {
			t.Fatalf("SkipValue(%q) stopped at %d", b, end)
		}
	})
}

// hasLoneSurrogate reports whether valid JSON holds an unpaired surrogate.
func hasLoneSurrogate(b []byte) bool {
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

// FuzzPlainRun compares the search of strings with a loop over their bytes.
func FuzzPlainRun(f *testing.F) {
	f.Add([]byte(strings.Repeat("calm ", 100)), 300, byte('"'))
	f.Add([]byte(strings.Repeat("中", 100)), 64, byte('\\'))
	f.Add(bytes.Repeat([]byte{0x1f, 'a'}, 64), 0, byte(' '))
	f.Add([]byte(strings.Repeat("a", 128)), 40, byte(0xc3)) // alone, in the second half of a block
	f.Add([]byte(strings.Repeat("a", 20_000)), 19_000, byte(0x1f))
	f.Fuzz(func(t *testing.T, b []byte, at int, c byte) {
		if len(b) > 0 {
			b[uint(at)%uint(len(b))] = c
		}
		want := bytes.IndexFunc(b, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' })
		if want < 0 {
			want = len(b)
		}
		for name, search := range map[string]func([]byte) (int, uint64){"plainRun": plainRun, "longRun": longRun} {
			n, seen := search(b)
			if n != want {
				t.Fatalf("%s(%q) = %d, want %d", name, b, n, want)
			}
			ascii := bytes.IndexFunc(b[:n], func(r rune) bool { return r >= utf8.RuneSelf }) < 0
			if !ascii && seen&highBits == 0 {
				t.Fatalf("%s(%q) missed a byte that is not ASCII", name, b)
			}
		}
	})
}

func FuzzValidUTF8(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	for _, s := range []string{"\xe0\x80\x80.", "\xed\xa0\x80.", "\xc1\x81...", "\xf4\x90\x80\x80.", "\xe0\xa4\x85.", "\xed\x9f\xbf.", "\xc2\x80..", "\xe4\xb8.."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at := validUTF8(b)
		if (at == len(b)) != utf8.Valid(b) {
			t.Fatalf("validUTF8(%q) = %d, utf8.Valid %t", b, at, utf8.Valid(b))
		}
		if !utf8.Valid(b[:at]) {
			t.Fatalf("validUTF8(%q) = %d, but the bytes before are not UTF-8", b, at)
		}
	})
}

// FuzzUnquote compares Unquote, EqualUnquoted and an iterator's keys with the
// standard library's decoder.
func FuzzUnquote(f *testing.F) {
	f.Add(`mode\u006c`)
	f.Add(`a\n\ud83d\ude00\"\/`)
	f.Fuzz(func(t *testing.T, inside string) {
		text := []byte(`"` + inside + `"`)
		end, reason := SkipValue(text, 0)
		if reason != OK || end != len(text) {
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
			t.Fatalf("EqualUnquoted(%q, %q) is false", inside, want)
		}
		it := Iterate([]byte(`{`+string(text)+`:1}`), 0)
		if !it.Next() || string(it.Key) != inside {
			t.Fatalf("the key of {%s:1} is %q", text, it.Key)
		}
	})
}

func TestIteratorVisitsMembersAndElements(t *testing.T) {
	b := []byte(` { "a" : [1, {"x":2}] , "b":{}, "c" : "d" } tail`)
	var got []string
	it := Iterate(b, 0)
	for it.Next() {
		from := it.Offset
		key := string(it.Key)
		got = append(got, key+"="+string(b[from:it.Skip()]))
	}
	want := []string{`a=[1, {"x":2}]`, `b={}`, `c="d"`}
	if !slices.Equal(got, want) || it.Reason != OK || string(b[it.Offset:]) != " tail" {
		t.Errorf("visited %q and stopped at %q with %v, want %q", got, b[it.Offset:], it.Reason, want)
	}
}

func TestIteratorSkipsValuesThatWereNotRead(t *testing.T) {
	it := Iterate([]byte(`[1,[2,"]"],{"a":3}]`), 0)
	n := 0
	for it.Next() {
		n++
	}
	if n != 3 || it.Reason != OK {
		t.Errorf("visited %d elements and stopped with %v, want 3 and %v", n, it.Reason, OK)
	}
}

// FuzzIterator checks that an iterator that skips every value ends where
// SkipValue ends.
func FuzzIterator(f *testing.F) {
	for _, s := range texts {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		at := SkipSpace(b, 0)
		if at == len(b) || b[at] != '{' && b[at] != '[' {
			return
		}
		end, reason := SkipValue(b, at)
		it := Iterate(b, at)
		for it.Next() {
		}
		if it.Reason != reason || reason == OK && it.Offset != end {
			t.Fatalf("iterating over %q ended at %d with %v, SkipValue at %d with %v", b, it.Offset, it.Reason, end, reason)
		}
	})
}

func TestDepthLimit(t *testing.T) {
	for _, depth := range []int{1, 63, 64, 65, 128, MaxDepth, MaxDepth + 1, 1_000_000} {
		text := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		_, reason := SkipValue(text, 0)
		if (reason == OK) != (depth <= MaxDepth) {
			t.Errorf("%d brackets: %v", depth, reason)
		}
		mixed := []byte(strings.Repeat(`{"a":[`, depth/2) + "1" + strings.Repeat(`]}`, depth/2))
		_, reason = SkipValue(mixed, 0)
		if (reason == OK) != (depth/2*2 <= MaxDepth) {
			t.Errorf("%d mixed brackets: %v", depth, reason)
		}
	}
}

func TestAttachmentsCountAtAFixedSize(t *testing.T) {
	names := NewVocabulary("url", "data", "type", "file", "label", "audio")
	watch := &Watch{Names: names, Keep: [2]Name{0, names.Of("type")}, Attachments: Attachments{
		URLs: NamesOf(names.Of("url")), Files: NamesOf(names.Of("file")), Labels: NamesOf(names.Of("label")), Base64: NamesOf(names.Of("data")), In: NamesOf(names.Of("audio")), Types: []string{"base64"},
	}}
	long := strings.Repeat("A", 100_000)
	tests := map[string]struct {
		text     string
		discount int
	}{
		"a picture":           {`{"url":"data:image/png;base64,` + long + `"}`, 100_000 + len(`"data:image/png;base64,"`) - AttachmentSize},
		"two pictures":        {`{"url":["data:image/png,` + long + `","data:image/png,` + long + `"]}`, 2 * (100_000 + len(`"data:image/png,"`) - AttachmentSize)},
		"a text by URL":       {`{"url":"data:text/plain;base64,` + long + `"}`, 0},
		"a picture elsewhere": {`{"x":"data:image/png;base64,` + long + `"}`, 0},
		"a sound":             {`{"audio":{"data":"` + long + `"}}`, 100_002 - AttachmentSize},
		"base64, told behind": {`{"data":"` + long + `","type":"b\u0061se64"}`, 100_002 - AttachmentSize},
		"base64, told ahead":  {`{"type":"base64","data":"` + long + `"}`, 100_002 - AttachmentSize},
		"a text":              {`{"type":"text","data":"` + long + `"}`, 0},
		"a list":              {`{"type":"base64","data":["` + long + `"]}`, 0},
		"a file":              {`{"file":"data:application/pdf;base64,` + long + `","label":"a.pdf"}`, 100_000 + len(`"data:application/pdf;base64,"`) - AttachmentSize},
		"another file":        {`{"file":"data:application/pdf;base64,` + long + `","label":"a.txt"}`, 0},
		"a file inside":       {`{"label":"a.txt","x":{"file":"data:application/pdf;base64,` + long + `"}}`, 100_000 + len(`"data:application/pdf;base64,"`) - AttachmentSize},
		"prose":               {`{"type":"base64","data":"` + strings.Repeat("word and ", 10_000) + `"}`, 0},
		"short base64":        {`{"type":"base64","data":"` + long[:4000] + `"}`, 0},
		"an element":          {`["` + long + `"]`, 0},
	}
	for name, tt := range tests {
		watch.Reset()
		end, size, reason := MeasureWatched([]byte(tt.text), 0, watch)
		if reason != OK || end-size != tt.discount {
			t.Errorf("%s of %d bytes: size %d, %v; want %d", name, end, size, reason, end-tt.discount)
		}
	}
}
