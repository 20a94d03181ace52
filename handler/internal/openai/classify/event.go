package classify

import (
	"encoding/json"

	"spillway/handler/internal/openai/operations"
)

// FormatErrorEvent is the event that ends a stream which broke, in the dialect of
// its endpoint; the connection must then be aborted, because a clean end passes
// for success (facts/reliability.md rule 1). Chat gets no event line: one of its
// clients reads those as JSON. Neither form has an "error" that is null
// (facts/azure-openai.md §5.4).
func FormatErrorEvent(dialect operations.Dialect, message, code string) []byte {
	return formatErrorEvent(dialect, message, code, 0)
}

// FormatErrorEvent is [FormatErrorEvent] with the number that is next in this stream.
func (s *Stream) FormatErrorEvent(message, code string) []byte {
	return formatErrorEvent(s.Dialect, message, code, s.sequence+1)
}

func formatErrorEvent(dialect operations.Dialect, message, code string, sequence int64) []byte {
	type plain struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	type flat struct {
		Type     string  `json:"type"`
		Code     string  `json:"code"`
		Message  string  `json:"message"`
		Param    *string `json:"param"`
		Sequence int64   `json:"sequence_number"`
	}
	line, object := "data: ", any(map[string]plain{"error": {Message: message, Type: "server_error", Code: code}})
	if dialect == operations.Responses {
		line, object = "event: error\ndata: ", flat{Type: "error", Code: code, Message: message, Sequence: sequence}
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic("verdict: strings that do not marshal: " + err.Error())
	}
	return append(append([]byte(line), text...), "\n\n"...)
}
