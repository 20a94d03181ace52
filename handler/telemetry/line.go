package telemetry

import (
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"spillway/handler/proxy"
	"spillway/handler/server"
)

// RequestLog writes one JSON line for each request: from it alone an on-call
// engineer learns why the request went where it went. It holds no secret and
// no prompt: names come from configuration, reasons from a fixed vocabulary.
type RequestLog struct {
	Out      io.Writer
	Instance string
}

var lineBuffers = sync.Pool{New: func() any { return new([]byte) }}

// Saw writes the line.
func (l *RequestLog) Saw(x *server.Exchange) {
	held := lineBuffers.Get().(*[]byte)
	line := fields((*held)[:0])
	line.begin("time").quote(x.Began.UTC().Format("2006-01-02T15:04:05.000Z"))
	line.text("level", level(x)).text("msg", "request").text("request_id", x.ID).text("instance", l.Instance)
	if x.Consumer != nil {
		line.text("consumer", x.Consumer.Name).text("key", x.KeyID).text("caller", x.Caller)
	}
	line.text("operation", x.Operation).text("url", x.Family).text("model", x.Model)
	line.number("status", int64(x.Status)).text("code", x.Code)
	if x.Stream {
		line.begin("stream").raw("true")
	}
	if x.Result != nil {
		line.story(x)
	}
	line.millis("total_ms", x.Took)
	if x.Cause != nil {
		line.text("cause", x.Cause.Error())
	}
	line.raw("}\n")
	_, _ = l.Out.Write(line)
	*held = line
	lineBuffers.Put(held)
}

// level is for the eye: the host maps all of stdout to Information.
func level(x *server.Exchange) string {
	switch {
	case x.Status >= 500 || x.Result != nil && x.Result.Delivery.Broken:
		return "ERROR"
	case x.Status == 429:
		return "WARN"
	}
	return "INFO"
}

// fields is a JSON object under way. Empty texts are left out.
type fields []byte

func (f *fields) raw(s string) *fields {
	*f = append(*f, s...)
	return f
}

func (f *fields) begin(name string) *fields {
	if len(*f) == 0 {
		f.raw("{")
	} else if last := (*f)[len(*f)-1]; last != '{' {
		f.raw(",")
	}
	return f.quote(name).raw(":")
}

func (f *fields) text(name, value string) *fields {
	if value == "" {
		return f
	}
	return f.begin(name).quote(value)
}

func (f *fields) number(name string, n int64) *fields {
	f.begin(name)
	*f = strconv.AppendInt(*f, n, 10)
	return f
}

// millis writes a duration in milliseconds with three decimals.
func (f *fields) millis(name string, d time.Duration) *fields {
	f.begin(name)
	*f = strconv.AppendFloat(*f, float64(d.Microseconds())/1000, 'f', -1, 64)
	return f
}

// quote writes a JSON string; control characters and broken UTF-8 cannot end
// the line or the string.
func (f *fields) quote(s string) *fields {
	const hex = "0123456789abcdef"
	b := append(*f, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029':
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	*f = append(b, '"')
	return f
}

// story writes who was tried, who was passed over and why, and what it cost.
func (f *fields) story(x *server.Exchange) {
	r := x.Result
	if r.Served != nil {
		f.text("backend", r.Served.Name)
	}
	if r.Pool.Model != x.Model {
		f.text("fallback_model", r.Pool.Model)
	}
	f.begin("attempts").raw("[")
	for i := range r.Attempts {
		f.attempt(&r.Attempts[i])
	}
	f.raw("]")
	f.passedOver(r)
	f.number("state_version", int64(r.Decision.Version))
	if r.Waited > 0 {
		f.millis("waited_ms", r.Waited)
	}
	d := &r.Delivery
	if !d.FirstToken.IsZero() {
		f.millis("first_token_ms", d.FirstToken.Sub(x.Began))
	}
	f.text("finish", d.Finish)
	if d.Usage.Prompt+d.Usage.Completion > 0 {
		f.number("prompt_tokens", d.Usage.Prompt).number("cached_tokens", d.Usage.Cached)
		f.number("completion_tokens", d.Usage.Completion).number("reasoning_tokens", d.Usage.Reasoning)
		if cost := r.Pool.Price.Cost(d.Usage); cost > 0 {
			f.begin("cost")
			*f = strconv.AppendFloat(*f, cost, 'g', 6, 64)
			f.text("currency", r.Pool.Price.Currency)
		}
	}
	if d.Broken {
		f.begin("broken").raw("true")
	}
}

func (f *fields) attempt(a *proxy.Attempt) {
	if (*f)[len(*f)-1] == '}' {
		f.raw(",")
	}
	f.raw("{").text("backend", a.Backend.Name).text("verdict", a.Outcome.Verdict.String()).text("why", a.Outcome.Why)
	if a.Status != 0 {
		f.number("status", int64(a.Status))
	}
	if a.Outcome.RawWait > 0 {
		f.millis("asked_wait_ms", a.Outcome.RawWait)
	}
	if a.Probe {
		f.begin("probe").raw("true")
	}
	f.millis("ms", a.Took).raw("}")
}

// passedOver names the candidates that were not in the line.
func (f *fields) passedOver(r *proxy.Result) {
	skipped := r.Decision.Candidates[r.Decision.Line:]
	if len(skipped) == 0 {
		return
	}
	f.begin("skipped").raw("[")
	for i := range skipped {
		if i > 0 {
			f.raw(",")
		}
		f.raw("{").text("backend", skipped[i].Backend.Name).text("why", string(skipped[i].Reason)).raw("}")
	}
	f.raw("]")
}
