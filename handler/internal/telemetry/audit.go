package telemetry

import "time"

// Act is what an operator did, for the audit line. Key tells which key it was
// by the first digits of its hash; nothing here is secret.
type Act struct {
	At      time.Time
	Verb    string // drain, restore, reset, keys add, …
	Target  string
	Who     string
	Key     string
	From    string // the address of the connection's other end
	Took    time.Duration
	Err     error // nil = it was done
	Request string
}

// Audit writes the line of an act, done or not: it stays on the log's ordinary
// stream when it was done.
func (e *Events) Audit(a *Act) {
	level := "INFO"
	if a.Err != nil {
		level = "ERROR"
	}
	f := newLine(nil, a.At, level, "audit")
	f.text("instance", e.Instance).text("verb", a.Verb).text("target", a.Target).text("who", a.Who).text("key", a.Key)
	f.text("from", a.From).text("request_id", a.Request).begin("done").boolean(a.Err == nil).millis("ms", a.Took)
	if a.Err != nil {
		f.text("error", shorten(a.Err.Error(), longestCause))
	}
	e.Out.write(f.end(), a.Err != nil)
}
