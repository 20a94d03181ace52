package telemetry

import "time"

// AuditRecord is what an operator did, for the audit line. Key tells which key it was
// by the first digits of its hash; nothing here is secret.
type AuditRecord struct {
	Time       time.Time
	Verb       string // drain, restore, reset, keys add, …
	Target     string
	Operator   string
	Key        string
	RemoteAddr string // the address of the connection's other end
	Duration   time.Duration
	Err        error // nil = it was done
	RequestID  string
}

// Audit writes the line of an act, done or not: it stays on the log's ordinary
// stream when it was done.
func (e *EventLog) Audit(a *AuditRecord) {
	level := "INFO"
	if a.Err != nil {
		level = "ERROR"
	}
	f := newJSONLine(nil, a.Time, level, "audit")
	f.text("instance", e.Instance).text("verb", a.Verb).text("target", a.Target).text("who", a.Operator).text("key", a.Key)
	f.text("from", a.RemoteAddr).text("request_id", a.RequestID).key("done").boolean(a.Err == nil).millis("ms", a.Duration)
	if a.Err != nil {
		f.text("error", truncate(a.Err.Error()))
	}
	e.Out.write(f.end(), a.Err != nil)
}
