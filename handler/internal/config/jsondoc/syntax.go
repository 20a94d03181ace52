package jsondoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// syntax looks for what makes the text no JSON at all.
func (t *Tree) syntax() (Fault, bool) {
	if len(bytes.TrimSpace(t.text)) == 0 {
		return t.fault("", 0, "is empty", `Write at least {"backends": [...]}; see "spillway schema".`), true
	}
	if i := invalid(t.text); i >= 0 {
		return t.fault("", i, "is not UTF-8 text", "Save it as UTF-8."), true
	}
	var whole json.RawMessage
	err := json.Unmarshal(t.text, &whole)
	if err == nil {
		return Fault{}, false
	}
	offset := len(t.text)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = int(syntax.Offset)
	}
	if strings.Contains(err.Error(), "unexpected end") {
		return t.fault("", offset, "ends too early: a bracket or quote is never closed", "Look for a missing } or ] or quote, or for text that was cut off when it was pasted."), true
	}
	problem := strings.Replace(err.Error(), "invalid character", "is no JSON: unexpected", 1)
	return t.fault("", offset-1, problem, t.syntaxFix(offset-1)), true
}

// syntaxFix guesses from the unexpected character what its author had in mind.
func (t *Tree) syntaxFix(offset int) string {
	before := bytes.TrimRight(t.text[:min(max(offset, 0), len(t.text))], " \t\r\n")
	at := t.text[min(max(offset, 0), len(t.text)-1)]
	last := byte(0)
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	switch {
	case (at == '}' || at == ']') && last == ',':
		return "Remove the comma before it: JSON has no trailing commas."
	case at == '/' || at == '#':
		return "Remove the comment: JSON has none."
	case at == '\'' || at == '`':
		return "Use double quotes."
	case at == '"':
		return "Put a comma between values, and write quotes inside a string as \\\"."
	case at == '\\':
		return "The quotes were escaped once too often: paste the document itself, without backslashes."
	case last == '{' || last == ',':
		return "Put names in double quotes."
	}
	return "Remove it, or put it in double quotes if it is text."
}

// invalid is where the text stops being UTF-8, or -1.
func invalid(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
