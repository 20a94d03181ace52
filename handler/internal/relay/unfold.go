package relay

import (
	"bytes"
	"io"

	"spillway/handler/internal/openai/classify"
)

// deliverUnfolded delivers a whole answer as the stream that was asked for. Of an
// answer that cannot be one, the attempt fails.
func (b *buffered) deliverUnfolded() {
	events, ok := classify.Unfold(b.request.Operation.Dialect, b.buf)
	if !ok {
		b.refuse("no stream")
		return
	}
	b.request.Memory.Charge(int64(len(events)))
	defer b.request.Memory.Shrink(int64(len(events)))
	res := *b.response.Response
	res.Header = res.Header.Clone()
	res.Header.Set("Content-Type", "text/event-stream; charset=utf-8")
	res.ContentLength, res.Body = -1, io.NopCloser(bytes.NewReader(events))
	response := *b.response
	response.Response = &res
	d := writer{answer: b.answer, ctx: b.ctx, response: &response}
	b.report = (&stream{writer: d}).run()
}
