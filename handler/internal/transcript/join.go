package transcript

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// joinedStream is what a stream said, put together.
type joinedStream struct {
	Stream string `json:"stream"`
	Texts  []text `json:"texts"`
}

// text is one text that came in pieces: of one choice, one item, one call.
type text struct {
	Of   string `json:"of"`
	Text string `json:"text"`
}

// joinStream puts the pieces of a stream's texts together: every text in an event is
// added to those of the same place in the events before.
func joinStream(stream []byte) []byte {
	places := map[string]*strings.Builder{}
	var order []string
	for line := range bytes.Lines(stream) {
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		var event any
		if !ok || json.Unmarshal(bytes.TrimSpace(data), &event) != nil {
			continue
		}
		visitTexts("", event, func(place, piece string) {
			if places[place] == nil {
				places[place] = new(strings.Builder)
				order = append(order, place)
			}
			places[place].WriteString(piece)
		})
	}
	whole := joinedStream{Stream: "its texts, put together", Texts: []text{}}
	for _, place := range order {
		whole.Texts = append(whole.Texts, text{place, places[place].String()})
	}
	kept, err := json.MarshalIndent(whole, "", " ")
	if err != nil {
		panic("transcript: plain texts did not encode: " + err.Error())
	}
	return kept
}

// visitTexts visits the texts below a value that add up over events. Names of
// things, which are the same in every event, do not.
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

// position tells one of several apart, by the numbers and the type that it has.
func position(v map[string]any) string {
	s := ""
	for _, name := range []string{"type", "index", "output_index", "content_index", "summary_index"} {
		if is, ok := v[name]; ok {
			s += fmt.Sprintf("[%s=%v]", name, is)
		}
	}
	return s
}

// isContent reports whether the texts of this name are parts of something longer, or
// say something by themselves.
func isContent(name string) bool {
	switch name {
	case "content", "delta", "text", "arguments", "refusal", "reasoning_content", "message", "name", "code", "input", "output", "transcript", "summary", "partial_json":
		return true
	}
	return false
}
