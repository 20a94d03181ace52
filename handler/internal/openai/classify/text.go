package classify

import (
	"bytes"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/sse"
)

// maxTextDepth is how deep the parts of an answer are searched for text: tool
// calls are lists of objects of objects.
const maxTextDepth = 5

// textBytes is the length of the generated text in the value at b[i], as it is
// escaped: content, refusals, reasoning and the arguments of calls. Names, roles,
// ids, audio and images are not generated text.
func textBytes(b []byte, i, depth int) (sum int64) {
	if b[i] == '"' {
		if end, reason := jsonscan.SkipValue(b, i); depth == 0 && reason == jsonscan.OK {
			return int64(end - i - 2) // "text" of completions
		}
		return 0
	}
	if b[i] != '{' && b[i] != '[' || depth > maxTextDepth {
		return 0
	}
	it := jsonscan.Iterate(b, i)
	for it.Next() {
		switch c := it.Data[it.Offset]; {
		case c == '"' && isTextMember(it.Key):
			sum += int64(max(0, len(rawValue(&it))-len(`""`)))
		case (c == '{' || c == '[') && string(it.Key) != "audio":
			sum += textBytes(it.Data, it.Offset, depth+1)
		}
	}
	return sum
}

func isTextMember(name []byte) bool {
	switch string(name) {
	case "content", "text", "refusal", "arguments", "reasoning_content", "reasoning", "transcript", "input", "thinking", "partial_json":
		return true
	}
	return false
}

// deltaBytes is the length of the text in an event of the Responses API that
// carries a part of one; 0 for any other event, and for audio, which is base64.
func deltaBytes(e sse.Event) int64 {
	if !bytes.HasSuffix(e.Name, []byte(".delta")) || bytes.HasSuffix(e.Name, []byte("audio.delta")) {
		return 0
	}
	it := jsonscan.Iterate(e.Data, jsonscan.SkipSpace(e.Data, 0))
	for it.Next() {
		if string(it.Key) == "delta" && it.Data[it.Offset] == '"' {
			return int64(max(0, len(rawValue(&it))-len(`""`)))
		}
	}
	return 0
}
