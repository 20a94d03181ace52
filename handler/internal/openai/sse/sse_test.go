package sse

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// split passes a stream in pieces of the given sizes, repeated, through a buffer
// that grows and shrinks as a relay's does.
func split(stream string, sizes ...int) (events []string, rest string) {
	var s Splitter
	var buf []byte
	for i := 0; len(stream) > 0; i++ {
		n := min(max(sizes[i%len(sizes)], 1), len(stream))
		buf = append(buf, stream[:n]...)
		stream = stream[n:]
		for {
			event, left, ok := s.Next(buf)
			if !ok {
				break
			}
			events = append(events, string(event))
			buf = slices.Clone(left)
		}
	}
	return events, string(buf)
}

func TestEventsEndAtBlankLines(t *testing.T) {
	tests := map[string]struct {
		stream string
		events []string
		rest   string
	}{
		"LF":                       {"data: a\n\ndata: b\n\n", []string{"data: a\n\n", "data: b\n\n"}, ""},
		"CRLF":                     {"data: a\r\n\r\ndata: b\r\n\r\n", []string{"data: a\r\n\r\n", "data: b\r\n\r\n"}, ""},
		"CR":                       {"data: a\r\rdata: b\r\r", []string{"data: a\r\r", "data: b\r\r"}, ""},
		"mixed":                    {"event: x\rdata: a\r\n\ndata: b\n\r\n", []string{"event: x\rdata: a\r\n\n", "data: b\n\r\n"}, ""},
		"CR, then LF":              {"data: a\r\r\ndata: b\n\n", []string{"data: a\r\r", "\n", "data: b\n\n"}, ""},
		"LF, then CR":              {"data: a\n\rdata: b\n\n", []string{"data: a\n\r", "data: b\n\n"}, ""},
		"an undecided end":         {"data: a\n\r", nil, "data: a\n\r"},
		"several lines":            {"event: e\ndata: a\ndata: b\n\n", []string{"event: e\ndata: a\ndata: b\n\n"}, ""},
		"comments and blank lines": {": ping\n\n\n\ndata: a\n\n", []string{": ping\n\n", "\n", "\n", "data: a\n\n"}, ""},
		"an event cut short":       {"data: a\n\ndata: b\n", []string{"data: a\n\n"}, "data: b\n"},
		"an empty stream":          {"", nil, ""},
	}
	for name, tt := range tests {
		for _, sizes := range [][]int{{1 << 20}, {1}, {2}, {3, 1}, {7}} {
			events, rest := split(tt.stream, sizes...)
			if diff := cmp.Diff(tt.events, events); diff != "" || rest != tt.rest {
				t.Errorf("%s in pieces of %v: rest %q (want %q), events (-want +got):\n%s", name, sizes, rest, tt.rest, diff)
			}
		}
	}
}

func TestEventIsReturnedWithoutWaitingWhenItsEndIsKnown(t *testing.T) {
	for _, event := range []string{"data: a\n\n", "data: a\r\n\r\n", "data: a\r\r", "data: a\r\n\n"} {
		var s Splitter
		got, rest, ok := s.Next([]byte(event))
		if !ok || string(got) != event || len(rest) != 0 {
			t.Errorf("Next(%q) = %q, %q, %t", event, got, rest, ok)
		}
	}
}

// A line of megabytes that arrives in small reads must not be searched from its
// start each time.
func TestLongLinesAreSearchedOnce(t *testing.T) {
	long := append([]byte("data: "), bytes.Repeat([]byte("x"), 1<<20)...)
	var s Splitter
	for n := 1; n < len(long); n += 100 {
		_, _, ok := s.Next(long[:n])
		if ok || s.searched != n {
			t.Fatalf("after %d bytes: ok %t, searched up to %d", n, ok, s.searched)
		}
	}
	event, _, ok := s.Next(append(long, "\n\n"...))
	if !ok || len(event) != len(long)+2 {
		t.Errorf("the event has %d bytes, ok %t", len(event), ok)
	}
}

func TestAppendingToAnEventDoesNotChangeTheRest(t *testing.T) {
	buf := []byte("data: a\n\ndata: b\n\n")
	var s Splitter
	event, rest, _ := s.Next(buf)
	longer := append(event, "XX"...)
	if len(longer) != len(event)+len("XX") || string(rest) != "data: b\n\n" {
		t.Errorf("appending to an event changed the rest to %q", rest)
	}
}

func TestParse(t *testing.T) {
	tests := map[string]struct {
		event      string
		name, data string
		noData     bool
	}{
		"chat":                 {"data: {\"a\":1}\n\n", "", `{"a":1}`, false},
		"responses":            {"event: response.created\r\ndata: {}\r\n\r\n", "response.created", "{}", false},
		"no space":             {"event:e\ndata:x\n\n", "e", "x", false},
		"one space is dropped": {"data:  x \n\n", "", " x ", false},
		"several lines":        {"data: {\ndata: }\ndata\n\n", "", "{\n}\n", false},
		"a comment":            {": keep-alive\n\n", "", "", true},
		"blank":                {"\n", "", "", true},
		"other fields":         {"id: 7\nretry: 10\ndatax: y\nxdata: z\n\n", "", "", true},
		"name without data":    {"event: e\n\n", "e", "", true},
		"no data in data":      {"data\n\n", "", "", false},
		"cut short":            {"data: [DON", "", "[DON", false},
		"CR":                   {"event: e\rdata: x\r\r", "e", "x", false},
		"a byte order mark":    {"\xef\xbb\xbfdata: x\n\n", "", "x", false},
		"the last name counts": {"event: a\nevent: b\ndata: x\n\n", "b", "x", false},
	}
	for name, tt := range tests {
		e := Parse([]byte(tt.event))
		if string(e.Name) != tt.name || string(e.Data) != tt.data || e.NoData() != tt.noData {
			t.Errorf("%s: Parse(%q) = %q, %q, no data %t", name, tt.event, e.Name, e.Data, e.NoData())
		}
	}
}

func TestParseOfSeveralLinesDoesNotChangeTheEvent(t *testing.T) {
	event := "data: a\ndata: b\ndata: c\n\n"
	b := []byte(event)
	if e := Parse(b); string(e.Data) != "a\nb\nc" || string(b) != event {
		t.Errorf("Parse gave %q and left %q", e.Data, b)
	}
}

func TestSplitAndParseDoNotAllocate(t *testing.T) {
	buf := []byte(strings.Repeat("event: response.output_text.delta\ndata: {\"delta\":\"Hi\"}\n\n", 20))
	allocs := testing.AllocsPerRun(100, func() {
		var s Splitter
		rest := buf
		for n := 0; ; n++ {
			event, left, ok := s.Next(rest)
			if !ok {
				break
			}
			rest = left
			if e := Parse(event); len(e.Data) == 0 {
				t.Fatal("no data")
			}
		}
	})
	if allocs != 0 {
		t.Errorf("%.0f allocations", allocs)
	}
}

// FuzzSplitter checks that the events and the rest joined are the stream, and do
// not depend on how the bytes arrived.
func FuzzSplitter(f *testing.F) {
	f.Add("data: a\n\ndata: b\r\n\r\n: c\r\r\n\n", 1, 3)
	f.Add("event: e\rdata: x\r\rdata: y\r\n\rdata", 2, 5)
	f.Add("\r\n\r\r\n\n\r", 1, 1)
	f.Fuzz(func(t *testing.T, stream string, a, b int) {
		whole, wholeRest := split(stream, len(stream))
		pieces, piecesRest := split(stream, a%64, b%64)
		if !slices.Equal(whole, pieces) || wholeRest != piecesRest {
			t.Fatalf("%q at once: %q and %q; in pieces: %q and %q", stream, whole, wholeRest, pieces, piecesRest)
		}
		if got := strings.Join(whole, "") + wholeRest; got != stream {
			t.Fatalf("%q became %q", stream, got)
		}
		for _, event := range whole {
			if again, rest := split(event+"x", 1<<20); len(again) != 1 || again[0] != event || rest != "x" {
				t.Fatalf("the event %q splits into %q and %q", event, again, rest)
			}
		}
	})
}

// FuzzParse compares Parse with a simple implementation of the standard.
func FuzzParse(f *testing.F) {
	f.Add("event: e\ndata: x\ndata:y\n\n")
	f.Add("\xef\xbb\xbfdata\r\rdata: z")
	f.Fuzz(func(t *testing.T, event string) {
		e := Parse([]byte(event))
		var name, data []string
		text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(event, "\xef\xbb\xbf"))
		for _, line := range strings.Split(text, "\n") {
			key, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch key {
			case "event":
				name = append(name, value)
			case "data":
				data = append(data, value)
			}
		}
		if string(e.Data) != strings.Join(data, "\n") || e.NoData() != (data == nil) {
			t.Fatalf("Parse(%q).Data = %q, want %q", event, e.Data, data)
		}
		if len(name) > 0 && string(e.Name) != name[len(name)-1] || len(name) == 0 && e.Name != nil {
			t.Fatalf("Parse(%q).Name = %q, want %q", event, e.Name, name)
		}
	})
}

func BenchmarkSplitAndParse(b *testing.B) {
	chunk := `data: {"id":"chatcmpl-9","object":"chat.completion.chunk","created":1735689600,"model":"gpt-4o-2024-11-20","choices":[{"index":0,"delta":{"content":"Color"},"finish_reason":null,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}],"usage":null}` + "\n\n"
	buf := []byte(strings.Repeat(chunk, 20))
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	var s Splitter
	rest := buf
	for b.Loop() {
		event, left, ok := s.Next(rest)
		if !ok {
			rest = buf
			continue
		}
		rest = left
		if Parse(event).NoData() {
			b.Fatal("no data")
		}
	}
}
