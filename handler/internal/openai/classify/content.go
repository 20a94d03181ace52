package classify

import (
	"bytes"

	"spillway/handler/internal/openai/jsonscan"
)

// carriesContent reports whether an event outside of chat carries a part of the
// answer: a member that is known to hold one, and holds something, or the end of a
// part, which may be empty. An item or a part that has only begun, and is of a
// message, holds nothing yet; one of another type, such as a call of a tool, tells what
// the model does. Reasoning that holds nothing tells only that it thinks.
func carriesContent(data []byte) (content, thinks bool) {
	ended := false
	it := jsonscan.Iterate(data, jsonscan.SkipSpace(data, 0))
	for it.Next() {
		switch string(it.Key) {
		case "delta", "text", "transcript", "refusal", "arguments", "code", "content", "input", "output", "result",
			"audio", "b64_json", "partial_image_b64", "annotation", "summary":
			if isFilled(it.Data, it.Offset) {
				return true, false
			}
		case "type":
			kind := stringValue(&it)
			ended = bytes.HasSuffix(kind, []byte(".done")) || bytes.HasSuffix(kind, []byte(".completed"))
		case "item", "part":
			if content, thinks = partIsFilled(it.Data, it.Offset); content || thinks {
				return content, thinks
			}
		}
	}
	return ended, false
}

// partIsFilled is whether the item or part at b[i] carries something, and whether it is
// reasoning that does not.
func partIsFilled(b []byte, i int) (content, thinks bool) {
	if b[i] != '{' {
		return false, false
	}
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		switch string(it.Key) {
		case "type":
			switch string(stringValue(&it)) {
			case "reasoning":
				thinks = true
			case "message", "output_text", "text", "refusal", "reasoning_text", "summary_text", "output_audio":
			default:
				return true, false
			}
		case "content", "text", "refusal", "transcript", "audio", "summary":
			if isFilled(it.Data, it.Offset) {
				return true, false
			}
		}
	}
	return false, thinks
}

// isFilled reports whether the value at b[i] is a string, an object or an array that
// is not empty.
func isFilled(b []byte, i int) bool {
	switch b[i] {
	case '"':
		return i+1 < len(b) && b[i+1] != '"'
	case '{', '[':
		end := jsonscan.SkipSpace(b, i+1)
		return end < len(b) && b[end] != '}' && b[end] != ']'
	}
	return false
}

// deltaIsFilled reports whether the delta, text or message at b[i] holds something:
// a text, or a member besides the role that is not empty.
func deltaIsFilled(b []byte, i int) bool {
	if b[i] != '{' {
		return isFilled(b, i)
	}
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		if string(it.Key) != "role" && isFilled(it.Data, it.Offset) && holdsValue(it.Data, it.Offset) {
			return true
		}
	}
	return false
}

// holdsValue reports whether the filled value at b[i] is a text, or has a member that
// is a number, true or filled.
func holdsValue(b []byte, i int) bool {
	if b[i] == '"' {
		return true
	}
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		switch it.Data[it.Offset] {
		case 'n', 'f':
		case '"', '{', '[':
			if isFilled(it.Data, it.Offset) {
				return true
			}
		default:
			return true
		}
	}
	return false
}
