package relay

import (
	"bytes"
	"encoding/json"

	"spillway/handler/health"
	"spillway/handler/operation"
)

// sign is what one event says of its stream.
type sign struct {
	meaningful bool            // worth committing the answer for
	finished   bool            // a choice has its finish reason
	done       bool            // the dialect's own end
	usageOnly  bool            // nothing but the usage that was asked for
	refusal    *health.Outcome // an error
}

func eventEnd(b []byte) int {
	for i := 0; i+1 < len(b); i++ {
		if b[i] == '\n' && b[i+1] == '\n' {
			return i + 2
		}
		if i+3 < len(b) && string(b[i:i+4]) == "\r\n\r\n" {
			return i + 4
		}
	}
	return 0
}

func (s *stream) read(event []byte) sign {
	var m sign
	var data []byte
	for _, l := range bytes.Split(event, []byte("\n")) {
		l = bytes.TrimRight(l, "\r")
		if d, ok := bytes.CutPrefix(l, []byte("data:")); ok {
			data = append(data, bytes.TrimSpace(d)...)
		}
	}
	if string(data) == "[DONE]" {
		m.done = true
		m.meaningful = false
		return m
	}
	if len(data) == 0 {
		return m
	}
	var v struct {
		Type    string
		Error   json.RawMessage
		Choices []struct {
			FinishReason *string `json:"finish_reason"`
		}
		Usage json.RawMessage
	}
	_ = json.Unmarshal(data, &v)
	if len(v.Error) > 0 && string(v.Error) != "null" {
		o := says(health.Throttled, "in-stream 429")
		m.refusal = &o
		return m
	}
	switch s.dialect {
	case operation.Chat:
		m.meaningful = len(v.Choices) > 0
		for _, c := range v.Choices {
			m.finished = m.finished || c.FinishReason != nil
		}
		m.usageOnly = len(v.Choices) == 0 && len(v.Usage) > 4
	case operation.Responses:
		m.meaningful = v.Type != "response.created" && v.Type != "response.in_progress"
		m.done = v.Type == "response.completed"
	default:
		m.meaningful = true
	}
	return m
}

func (s *stream) farewell() []byte {
	return []byte(`data: {"error":{"message":"The backend's answer broke off.","type":"server_error","param":null,"code":"upstream_stream_interrupted"}}` + "\n\n")
}
