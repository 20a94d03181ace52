package operations

// Answer is the member that every successful answer of the operation has, "" when it
// may have any form: a text, sound, or what an OpenAI-compatible service defines.
func (o *Operation) Answer() string {
	switch o.Name {
	case "chat", "completions":
		return "choices"
	case "embeddings", "images", "image-edits", "image-variations":
		return "data"
	case "responses", "compact":
		return "output"
	case "messages":
		return "content"
	case "input-tokens", "count-tokens":
		return "input_tokens"
	}
	return ""
}
