package telemetry

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// maxLine is the longest line in bytes. The Functions host cuts a line at
// 32,768 characters (docs/functions-host.md#logs), and what it cuts is no JSON.
const maxLine = 32_000

// shorten returns a line of at most maxLine bytes with the same fields: texts and
// lists lose their ends until it fits, and "shortened" is true.
func shorten(line []byte) []byte {
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil {
		return append(line[:maxLine-1:maxLine-1], '\n')
	}
	fields["shortened"] = true
	for limit := 4096; ; limit /= 2 {
		text := appendClean(nil, fields, limit)
		if len(text) <= maxLine || limit < 16 {
			return append(text, '\n')
		}
	}
}

// appendClean appends the JSON of the fields, cut by the limit, with nothing in it
// that a terminal would act on.
func appendClean(b []byte, fields map[string]any, limit int) []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(cut(fields, limit)); err != nil {
		return append(b, `{"shortened":true}`...)
	}
	f := jsonLine(b)
	for _, r := range strings.TrimSuffix(text.String(), "\n") {
		f.rune(r)
	}
	return f
}

// cut shortens the texts of a value to limit bytes and its lists to a sixteenth of
// it.
func cut(value any, limit int) any {
	switch v := value.(type) {
	case string:
		if len(v) > limit {
			return strings.ToValidUTF8(v[:limit], "") + "…"
		}
	case []any:
		v = slices.Clone(v[:min(len(v), limit/16)])
		for i := range v {
			v[i] = cut(v[i], limit)
		}
		return v
	case map[string]any:
		short := make(map[string]any, len(v))
		for name, inner := range v {
			short[name] = cut(inner, limit)
		}
		return short
	}
	return value
}

// escapeWarn writes the letters of "warn", in any case, so that a reader of JSON
// sees them and the Functions host does not: it files a line of stderr that
// contains them as a warning (docs/functions-host.md#logs).
func escapeWarn(line []byte) []byte {
	var escaped []byte
	from := 0
	for i := range max(len(line)-3, 0) {
		if line[i]|' ' != 'w' || !isWarn(line[i:i+4]) {
			continue
		}
		escaped = append(append(escaped, line[from:i+1]...), `\u00`...)
		escaped = append(escaped, "46"[line[i+1]>>5&1], '1')
		from = i + 2
	}
	if escaped == nil {
		return line
	}
	return append(escaped, line[from:]...)
}

func isWarn(word []byte) bool {
	for i, c := range word {
		if c|' ' != "warn"[i] {
			return false
		}
	}
	return true
}
