package usage

import (
	"bytes"

	"spillway/handler/internal/openai/jsonscan"
)

// MergeMessages returns t with the counts of a usage object of Anthropic's
// Messages API (docs/azure-openai.md#anthropic-messages). There the tokens that
// were read from a cache or written to it are not part of input_tokens, so they
// are added to Prompt; and the object of a later event has the totals so far, so
// what it names replaces what t has. It returns t and false for anything that
// counts no tokens, and for an object with a number that is no count of tokens.
func MergeMessages(t Tokens, object []byte) (Tokens, bool) {
	i := jsonscan.SkipSpace(object, 0)
	if i == len(object) || object[i] != '{' {
		return t, false
	}
	input, merged := t.Prompt-t.Cached-t.CacheWrite, t
	valid, counts := true, false
	it := jsonscan.Iterate(object, i)
	for it.Next() {
		switch string(it.Key) {
		case "input_tokens":
			valid, counts = readCount(&it, &input) && valid, true
		case "cache_read_input_tokens":
			valid, counts = readCount(&it, &merged.Cached) && valid, true
		case "cache_creation_input_tokens":
			valid, counts = readCount(&it, &merged.CacheWrite) && valid, true
		case "cache_creation":
			valid = readDetails(&it, detail{"ephemeral_1h_input_tokens", &merged.CacheWriteHour}) && valid
		case "output_tokens":
			valid, counts = readCount(&it, &merged.Completion) && valid, true
		case "output_tokens_details":
			valid = readDetails(&it, detail{"thinking_tokens", &merged.Reasoning}) && valid
		}
	}
	if !valid || !counts || it.Reason != jsonscan.OK {
		return t, false
	}
	merged.Prompt = add(add(input, merged.Cached), merged.CacheWrite)
	merged.CacheWriteHour = min(merged.CacheWriteHour, merged.CacheWrite)
	merged.Reasoning = min(merged.Reasoning, merged.Completion)
	return merged, true
}

// FindLastMessages is [FindLast] for an answer of Anthropic's Messages API.
func FindLastMessages(b []byte) (Tokens, bool) {
	return findLast(b, func(at int) (Tokens, bool) {
		end, reason := jsonscan.SkipValue(b, at)
		if reason != jsonscan.OK {
			return Tokens{}, false
		}
		return MergeMessages(Tokens{}, b[at:end])
	})
}

// findLast returns what read makes of the value of the last usage member in b that
// it can read, given the value's offset.
func findLast(b []byte, read func(at int) (Tokens, bool)) (Tokens, bool) {
	const name = `"usage"`
	for end := len(b); ; {
		i := bytes.LastIndex(b[:end], []byte(name))
		if i < 0 {
			return Tokens{}, false
		}
		at := jsonscan.SkipSpace(b, i+len(name))
		if at < end && b[at] == ':' {
			if at = jsonscan.SkipSpace(b, at+1); at < len(b) {
				if t, ok := read(at); ok {
					return t, true
				}
			}
		}
		end = i
	}
}
