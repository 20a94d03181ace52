package telemetry

import (
	"cmp"
	"log/slog"
	"strings"
	"sync"
	"time"

	"spillway/handler/internal/health"
	"spillway/handler/internal/quota"
)

// EventLog writes a line for each change of a backend's state that this
// instance applied. Every instance writes one; the field "by" names the
// instance or operator that made the change.
type EventLog struct {
	Out      *LogWriter
	Instance string
	Slots    []string // by health.Slot: "backend/model"
	Now      func() time.Time

	mu         sync.Mutex
	last       map[throttleKey]*suppression
	suspicions map[health.Slot]int // failures by which instances suspect it
}

// throttleKey is what has at most one line in throttleInterval: throttles of
// one kind of one slot.
type throttleKey struct {
	slot health.Slot
	kind string
}

// suppression is when the last line of a key was written, and how many were
// left out since.
type suppression struct {
	at      time.Time
	omitted int64
}

// throttleInterval is the shortest time between two lines of a key. Circuits
// and operators change seldom; a full backend is throttled all the time.
const throttleInterval = time.Second

// StateChanged writes the lines of a change. It does not block; fleet calls it
// under a lock.
func (e *EventLog) StateChanged(slot health.Slot, before, after health.Record) {
	if int(slot) >= len(e.Slots) {
		return
	}
	e.countSuspicions(slot, &after)
	if c := after.Circuit; c.State != before.Circuit.State {
		e.logBreaker(slot, &before, &after)
	}
	if after.Windows != before.Windows {
		e.logThrottle(slot, &before, &after)
	}
	if after.Override.Drained != before.Override.Drained {
		f := e.newEvent(slot, "drain", slog.LevelInfo)
		f.key("drained").boolean(after.Override.Drained).text("by", after.Override.Operator)
		e.Out.write(f.end(), slog.LevelInfo)
	}
}

func (e *EventLog) logBreaker(slot health.Slot, before, after *health.Record) {
	level, probe := slog.LevelInfo, after.Circuit.ProbeReason(before.Circuit)
	if after.Circuit.State == health.Open && probe == "" {
		level = slog.LevelWarn
	}
	f := e.newEvent(slot, "breaker", level)
	f.text("scope", "fleet").text("phase", after.Circuit.State.String()).text("from", before.Circuit.State.String())
	reason := cmp.Or(probe, after.LastChange.Reason)
	if after.Circuit.LastObjection > before.Circuit.LastObjection {
		reason = "an instance is being served"
	}
	f.text("reason", reason).text("evidence", after.LastChange.Evidence).text("by", after.LastChange.By).nonZero("trips", int64(after.Circuit.Trips))
	if left := after.Circuit.Until - after.LastChange.At; after.Circuit.State != health.Closed && left > 0 {
		f.millis("for_ms", time.Duration(left)*time.Millisecond)
	}
	e.Out.write(f.end(), level)
}

// OwnCircuitChanged writes the line of a circuit that binds this instance alone.
func (e *EventLog) OwnCircuitChanged(slot health.Slot, before health.CircuitState, after *health.Health) {
	if int(slot) >= len(e.Slots) {
		return
	}
	level := slog.LevelInfo
	if after.State == health.Open {
		level = slog.LevelWarn
	}
	f := e.newEvent(slot, "breaker", level)
	f.text("scope", "instance").text("phase", after.State.String()).text("from", before.String()).text("reason", after.Reason).text("evidence", after.Evidence).text("by", e.Instance)
	if left := after.Until.Sub(e.Now()); after.State != health.Closed && left > 0 {
		f.millis("for_ms", left)
	}
	e.Out.write(f.end(), level)
}

// countSuspicions keeps how many failures make instances suspect the slot.
func (e *EventLog) countSuspicions(slot health.Slot, r *health.Record) {
	n := 0
	for _, s := range r.Circuit.Suspicions {
		n += s.Failures
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if n == 0 {
		delete(e.suspicions, slot)
		return
	}
	if e.suspicions == nil {
		e.suspicions = map[health.Slot]int{}
	}
	e.suspicions[slot] = n
}

// Suspicions is by how many failures instances suspect the slot: too few for
// one of them to open its circuit.
func (e *EventLog) Suspicions(slot health.Slot) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.suspicions[slot]
}

// logThrottle writes a line for each window that opened or grew.
func (e *EventLog) logThrottle(slot health.Slot, before, after *health.Record) {
	for kind := range after.Windows.ByKind {
		was, is := before.Windows.ByKind[kind], after.Windows.ByKind[kind]
		if is.Until <= was.Until {
			continue
		}
		name := health.LimitKind(kind).String()
		omitted, ok := e.allow(throttleKey{slot, name})
		if !ok {
			continue
		}
		f := e.newEvent(slot, "throttle", slog.LevelInfo)
		f.nonZero("omitted", omitted)
		f.text("kind", name).text("reason", after.LastChange.Reason).text("by", after.LastChange.By).nonZero("room", is.MaxTokens)
		if left := is.Until - after.LastChange.At; left > 0 {
			f.millis("for_ms", time.Duration(left)*time.Millisecond)
		}
		e.Out.write(f.end(), slog.LevelInfo)
	}
}

// newEvent begins a line about a slot.
func (e *EventLog) newEvent(slot health.Slot, what string, level slog.Level) jsonLine {
	f := newJSONLine(nil, e.Now(), level, what)
	backend, model, _ := strings.Cut(e.Slots[slot], "/")
	f.text("instance", e.Instance).text("backend", backend).text("model", model)
	return f
}

// allow reports whether a key may have a line, and how many it had not since
// the last one.
func (e *EventLog) allow(o throttleKey) (omitted int64, ok bool) {
	now := e.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.last[o]
	if s == nil {
		if e.last == nil {
			e.last = map[throttleKey]*suppression{}
		}
		s = &suppression{at: now.Add(-throttleInterval)}
		e.last[o] = s
	}
	if now.Sub(s.at) < throttleInterval {
		s.omitted++
		return 0, false
	}
	omitted, s.at, s.omitted = s.omitted, now, 0
	return omitted, true
}

// Budget writes the line of a warning, which one instance writes for all.
func (e *EventLog) Budget(w *quota.Warning) {
	f := newJSONLine(nil, e.Now(), slog.LevelWarn, "budget")
	f.text("instance", e.Instance).text("consumer", w.Consumer).text("model", w.Model).text("budget", w.Limit)
	f.decimal("percent", max(w.Percent, w.Mark), 4).decimal("mark", w.Mark, 4).decimal("used", w.Used, 12).decimal("limit", w.Amount, 12).text("month", w.Month)
	e.Out.write(f.end(), slog.LevelWarn)
}

// AuditRecord is an operator's action. Key is the beginning of the hash of the
// operator's key; nothing here is secret.
type AuditRecord struct {
	Time       time.Time
	Verb       string // drain, restore, reset, keys add, …
	Target     string
	Operator   string
	ObjectID   string // of the operator's token; "" = by key
	Key        string
	RemoteAddr string // the operator's address
	Duration   time.Duration
	Err        error // nil = it was done
	RequestID  string
	TraceID    string
}

// Audit writes the line of an action; a failed one is an error.
func (e *EventLog) Audit(a *AuditRecord) {
	level := slog.LevelInfo
	if a.Err != nil {
		level = slog.LevelError
	}
	f := newJSONLine(nil, a.Time, level, "audit")
	f.text("instance", e.Instance).text("verb", a.Verb).text("target", a.Target).text("who", a.Operator).text("oid", truncate(a.ObjectID)).text("key", a.Key)
	f.text("from", a.RemoteAddr).text("request_id", a.RequestID).text("trace_id", a.TraceID).key("done").boolean(a.Err == nil).millis("ms", a.Duration)
	if a.Err != nil {
		f.text("error", truncate(a.Err.Error()))
	}
	e.Out.write(f.end(), level)
}
