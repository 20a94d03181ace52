package transcript

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// joinedStream is the texts of a stream.
type joinedStream struct {
	Stream string `json:"stream"`
	Texts  []text `json:"texts"`
}

// text is the text of one choice, item or tool call.
type text struct {
	Of   string `json:"of"`
	Text string `json:"text"`
}

// joinStream concatenates the texts of a stream: a text of an event is appended to
// the texts at the same place in earlier events.
func joinStream(stream []byte) []byte {
	byPlace := map[string]*strings.Builder{}
	var order []string
	for line := range bytes.Lines(stream) {
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		var event any
		if !ok || json.Unmarshal(bytes.TrimSpace(data), &event) != nil {
			continue
		}
		visitTexts("", event, func(place, piece string) {
			if byPlace[place] == nil {
				byPlace[place] = new(strings.Builder)
				order = append(order, place)
			}
			byPlace[place].WriteString(piece)
		})
	}
	joined := joinedStream{Stream: "its texts, put together", Texts: []text{}}
	for _, place := range order {
		joined.Texts = append(joined.Texts, text{place, byPlace[place].String()})
	}
	encoded, err := json.MarshalIndent(joined, "", " ")
	if err != nil {
		panic("transcript: encode texts: " + err.Error())
	}
	return encoded
}

// visitTexts visits the texts below a value that are parts of longer ones. Names
// and ids, which are the same in every event, are not.
func visitTexts(place string, value any, visit func(place, piece string)) {
	switch v := value.(type) {
	case map[string]any:
		at := place + position(v)
		for _, name := range slices.Sorted(keys(v)) {
			if piece, ok := v[name].(string); !ok {
				visitTexts(at+"/"+name, v[name], visit)
			} else if isContent(name) {
				visit(at+"/"+name, piece)
			}
		}
	case []any:
		for _, one := range v {
			visitTexts(place, one, visit)
		}
	}
}

func keys(m map[string]any) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// position identifies an object among its siblings, by its type and indexes.
func position(v map[string]any) string {
	s := ""
	for _, name := range []string{"type", "index", "output_index", "content_index", "summary_index"} {
		if is, ok := v[name]; ok {
			s += fmt.Sprintf("[%s=%v]", name, is)
		}
	}
	return s
}

// isContent reports whether members of this name hold text of the conversation.
func isContent(name string) bool {
	switch name {
	case "content", "delta", "text", "arguments", "refusal", "reasoning_content", "message", "name", "code", "input", "output", "transcript", "summary", "partial_json":
		return true
	}
	return false
}
