package usage

import (
	"bytes"
	"strconv"

	"spillway/handler/internal/openai/request/walk"
)

// most is more tokens than any answer can have consumed.
const most = 1 << 40

// Parse reads a usage object, in the words of chat, completions and embeddings
// (prompt, completion) or of the Responses API (input, output). It is false for
// anything that counts no tokens, and for an object with a number that is no
// count of tokens. Parts that are larger than what they are part of are cut to
// it.
func Parse(object []byte) (Tokens, bool) {
	return parse(object, 0)
}

// parse is Parse for the object that begins at b[i].
func parse(b []byte, i int) (t Tokens, ok bool) {
	if i = walk.Space(b, i); i == len(b) || b[i] != '{' {
		return Tokens{}, false
	}
	sound, counts := true, false
	w := walk.Into(b, i)
	for w.Next() {
		switch string(w.Key) {
		case "prompt_tokens", "input_tokens":
			sound, counts = count(&w, &t.Prompt) && sound, true
		case "completion_tokens", "output_tokens":
			sound, counts = count(&w, &t.Completion) && sound, true
		case "prompt_tokens_details", "input_tokens_details":
			sound = detail(&w, "cached_tokens", &t.Cached) && sound
		case "completion_tokens_details", "output_tokens_details":
			sound = detail(&w, "reasoning_tokens", &t.Reasoning) && sound
		}
	}
	if !sound || !counts || w.Why != walk.OK {
		return Tokens{}, false
	}
	t.Cached, t.Reasoning = min(t.Cached, t.Prompt), min(t.Reasoning, t.Completion)
	return t, true
}

// count reads a whole number of tokens. Null is none.
func count(w *walk.Walk, into *int64) bool {
	from := w.At
	text := w.Text[from:w.Skip()]
	if string(text) == "null" {
		return true
	}
	n, err := strconv.ParseUint(string(text), 10, 63)
	if err != nil || n > most {
		return false
	}
	*into = int64(n)
	return true
}

// detail reads one count out of an object of details, which may be null.
func detail(w *walk.Walk, name string, into *int64) bool {
	if w.Text[w.At] != '{' {
		return true
	}
	sound := true
	in := walk.Into(w.Text, w.At)
	for in.Next() {
		if string(in.Key) == name {
			sound = count(&in, into) && sound
		}
	}
	if in.Why != walk.OK {
		w.Fail(in.At, in.Why)
		return false
	}
	w.Past(in.At)
	return sound
}

// Tail finds the usage that stands last in the end of an answer, or in the
// whole of it. It is for answers that are too long to be held: what a model
// writes cannot be taken for usage, because quotes inside a string are escaped,
// but an object that echoes the caller's own (metadata, tools) behind the
// usage could. Where the whole answer is at hand, reading its members is exact.
func Tail(b []byte) (Tokens, bool) {
	for {
		i := bytes.LastIndex(b, []byte(`"usage"`))
		if i < 0 {
			return Tokens{}, false
		}
		if at := walk.Space(b, i+len(`"usage"`)); at < len(b) && b[at] == ':' {
			t, ok := parse(b, at+1)
			if ok {
				return t, true
			}
		}
		b = b[:i]
	}
}
