package usage

import (
	"bytes"
	"strconv"

	"spillway/handler/internal/openai/jsonscan"
)

// maxTokens is more tokens than any answer can have consumed.
const maxTokens = 1 << 40

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
	if i = jsonscan.SkipSpace(b, i); i == len(b) || b[i] != '{' {
		return Tokens{}, false
	}
	sound, counts := true, false
	w := jsonscan.Iterate(b, i)
	for w.Next() {
		switch string(w.Key) {
		case "prompt_tokens", "input_tokens":
			sound, counts = readCount(&w, &t.Prompt) && sound, true
		case "completion_tokens", "output_tokens":
			sound, counts = readCount(&w, &t.Completion) && sound, true
		case "prompt_tokens_details", "input_tokens_details":
			sound = readDetail(&w, "cached_tokens", &t.Cached) && sound
		case "completion_tokens_details", "output_tokens_details":
			sound = readDetail(&w, "reasoning_tokens", &t.Reasoning) && sound
		}
	}
	if !sound || !counts || w.Reason != jsonscan.OK {
		return Tokens{}, false
	}
	t.Cached, t.Reasoning = min(t.Cached, t.Prompt), min(t.Reasoning, t.Completion)
	return t, true
}

// readCount reads a whole number of tokens. Null is none.
func readCount(w *jsonscan.Iterator, into *int64) bool {
	from := w.Offset
	text := w.Data[from:w.Skip()]
	if string(text) == "null" {
		return true
	}
	n, err := strconv.ParseUint(string(text), 10, 63)
	if err != nil || n > maxTokens {
		return false
	}
	*into = int64(n)
	return true
}

// readDetail reads one count out of an object of details, which may be null.
func readDetail(w *jsonscan.Iterator, name string, into *int64) bool {
	if w.Data[w.Offset] != '{' {
		return true
	}
	sound := true
	in := jsonscan.Iterate(w.Data, w.Offset)
	for in.Next() {
		if string(in.Key) == name {
			sound = readCount(&in, into) && sound
		}
	}
	if in.Reason != jsonscan.OK {
		w.Fail(in.Offset, in.Reason)
		return false
	}
	w.SkipTo(in.Offset)
	return sound
}

// FindLast finds the usage that stands last in the end of an answer, or in the
// whole of it. It is for answers that are too long to be held: what a model
// writes cannot be taken for usage, because quotes inside a string are escaped,
// but an object that echoes the caller's own (metadata, tools) behind the
// usage could. Where the whole answer is at hand, reading its members is exact.
func FindLast(b []byte) (Tokens, bool) {
	for {
		i := bytes.LastIndex(b, []byte(`"usage"`))
		if i < 0 {
			return Tokens{}, false
		}
		if at := jsonscan.SkipSpace(b, i+len(`"usage"`)); at < len(b) && b[at] == ':' {
			t, ok := parse(b, at+1)
			if ok {
				return t, true
			}
		}
		b = b[:i]
	}
}
