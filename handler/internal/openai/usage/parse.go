package usage

import (
	"math"
	"strconv"

	"spillway/handler/internal/openai/jsonscan"
)

// maxTokens is more tokens than any answer can have consumed: a hundred times as many
// as the longest prompts have.
const maxTokens = 1 << 27

// Parse reads a usage object, of chat, completions and embeddings (prompt,
// completion) or of the Responses API (input, output). It returns false for
// anything that counts no tokens, and for an object with a number that is no
// count of tokens. Cached and Reasoning are cut to what they are part of.
func Parse(object []byte) (Tokens, bool) {
	return parse(object, 0)
}

// parse is Parse for the object that begins at b[i].
func parse(b []byte, i int) (t Tokens, ok bool) {
	if i = jsonscan.SkipSpace(b, i); i == len(b) || b[i] != '{' {
		return Tokens{}, false
	}
	valid, counts := true, false
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		switch string(it.Key) {
		case "prompt_tokens", "input_tokens":
			valid, counts = readCount(&it, &t.Prompt) && valid, true
		case "completion_tokens", "output_tokens":
			valid, counts = readCount(&it, &t.Completion) && valid, true
		case "prompt_tokens_details", "input_tokens_details":
			valid = readDetails(&it, detail{"cached_tokens", &t.Cached}, detail{"cache_write_tokens", &t.CacheWrite}, detail{"audio_tokens", &t.AudioInput}) && valid
		case "completion_tokens_details", "output_tokens_details":
			valid = readDetails(&it, detail{"reasoning_tokens", &t.Reasoning}, detail{"audio_tokens", &t.AudioOutput}) && valid
		case "seconds":
			valid, counts = readSeconds(&it, &t.Seconds) && valid, true
		}
	}
	if !valid || !counts || it.Reason != jsonscan.OK {
		return Tokens{}, false
	}
	t.Cached, t.CacheWrite, t.AudioInput = min(t.Cached, t.Prompt), min(t.CacheWrite, t.Prompt), min(t.AudioInput, t.Prompt)
	t.Reasoning, t.AudioOutput = min(t.Reasoning, t.Completion), min(t.AudioOutput, t.Completion)
	return t, true
}

// readSeconds reads a duration of audio, and rounds a part of a second up.
func readSeconds(it *jsonscan.Iterator, into *int64) bool {
	from := it.Offset
	seconds, err := strconv.ParseFloat(string(it.Data[from:it.Skip()]), 64)
	if err != nil || !(seconds >= 0) || seconds > maxSeconds {
		return false
	}
	*into = int64(math.Ceil(seconds))
	return true
}

// maxSeconds is longer than any recording.
const maxSeconds = 1 << 24

// readCount reads a whole number of tokens. Null is none.
func readCount(it *jsonscan.Iterator, into *int64) bool {
	from := it.Offset
	text := it.Data[from:it.Skip()]
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

// detail is where one count of an object of details goes.
type detail struct {
	name string
	into *int64
}

// readDetails reads counts from an object of details, which may be null.
func readDetails(it *jsonscan.Iterator, details ...detail) bool {
	if it.Data[it.Offset] != '{' {
		return true
	}
	valid := true
	in := jsonscan.Iterate(it.Data, it.Offset)
	for in.Next() {
		for _, d := range details {
			if string(in.Key) == d.name {
				valid = readCount(&in, d.into) && valid
				break
			}
		}
	}
	if in.Reason != jsonscan.OK {
		it.Fail(in.Offset, in.Reason)
		return false
	}
	it.SkipTo(in.Offset)
	return valid
}

// FindLast reads the last usage object in b, which is an answer or the end of one.
// It is for answers that are too long to be held. What a model writes cannot be
// mistaken for usage, because quotes inside a string are escaped; an object of
// the caller's own that follows the usage (metadata, tools) could be. Where the
// whole answer is held, reading its members is exact.
func FindLast(b []byte) (Tokens, bool) {
	return findLast(b, func(at int) (Tokens, bool) { return parse(b, at) })
}
