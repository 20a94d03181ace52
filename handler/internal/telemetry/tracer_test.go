package telemetry

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/api"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/telemetry/meter"
	"spillway/handler/internal/telemetry/otlp"
)

// recordSpans collects the spans of an exchange.
func recordSpans(s otlp.Sampler, x *api.RequestRecord) (t *Tracer, spans []otlp.Span) {
	t = &Tracer{Sampler: s, Slots: slots, Take: func(s otlp.Span) { spans = append(spans, s) }}
	t.RequestDone(x)
	return t, spans
}

// backendHeaders is the trace context that the backend of an attempt got.
func backendHeaders(t *Tracer, x *api.RequestRecord, i int) http.Header {
	caller := http.Header{"Tracestate": {"vendor=1"}}
	if x.Traceparent != "" {
		caller.Set("Traceparent", x.Traceparent)
	}
	sent := caller.Clone() // upstream passes on what it does not withhold
	t.Inject(&proxy.Request{ID: x.ID, Header: caller}, x.Result.Attempts[i].Backend, sent)
	return sent
}

func TestATraceGoesThroughFromTheCallerToTheBackend(t *testing.T) {
	x := spilled()
	x.Result.Attempts[0].Began, x.Result.Attempts[1].Began = at(1), at(30)
	tracer, spans := recordSpans(otlp.Sampler{Ratio: 1}, x)
	if len(spans) != 3 {
		t.Fatalf("%d spans, want one of the request and two of attempts", len(spans))
	}
	own := spans[2]
	if hex.EncodeToString(own.Trace[:]) != traceOf[3:35] || hex.EncodeToString(own.Parent[:]) != traceOf[36:52] || own.Client || own.Name != "chat gpt-4o" || own.Failure != "" {
		t.Errorf("the request's span %+v", own)
	}
	for i, s := range spans[:2] {
		want := fmt.Sprintf("00-%x-%x-01", s.Trace, s.ID)
		h := backendHeaders(tracer, x, i)
		if h.Get("Traceparent") != want || h.Get("Tracestate") != "vendor=1" {
			t.Errorf("the backend of attempt %d got %v, want %s", i, h, want)
		}
		if s.Trace != own.Trace || s.Parent != own.ID || !s.Client || s.Began != x.Result.Attempts[i].Began {
			t.Errorf("attempt %d: %+v", i, s)
		}
	}
	if spans[0].Failure != "503" || spans[1].Failure != "" || spans[0].ID == spans[1].ID {
		t.Errorf("%+v", spans)
	}
}

func TestATraceThatIsNotSampledGoesThroughAsItCame(t *testing.T) {
	x := spilled()
	x.Traceparent = traceOf[:53] + "00"
	tracer, spans := recordSpans(otlp.Sampler{Ratio: 1}, x)
	if h := backendHeaders(tracer, x, 0); len(spans) != 0 || h.Get("Traceparent") != x.Traceparent || h.Get("Tracestate") != "vendor=1" {
		t.Errorf("%d spans, sent %v", len(spans), h)
	}
	if n := testing.AllocsPerRun(100, func() { tracer.RequestDone(x) }); n > 0 {
		t.Errorf("%v allocations for nothing", n)
	}
}

func TestATraceBeginsHereWhenTheCallerHasNone(t *testing.T) {
	for name, header := range map[string]string{
		"none": "", "short": traceOf[:50], "capitals": strings.ToUpper(traceOf), "zero trace": "00-" + strings.Repeat("0", 32) + traceOf[35:],
		"version ff": "ff" + traceOf[2:], "longer": traceOf + "-x", "hostile": "00-\r\nx: y" + traceOf[10:],
	} {
		x := served()
		x.Traceparent = header
		tracer, spans := recordSpans(otlp.Sampler{Ratio: 1}, x)
		if len(spans) != 2 || spans[1].Parent != [8]byte{} || spans[1].Trace == [16]byte{} {
			t.Errorf("%s: %+v", name, spans)
			continue
		}
		if h := backendHeaders(tracer, x, 0); h.Get("Traceparent") != fmt.Sprintf("00-%x-%x-01", spans[0].Trace, spans[0].ID) || h.Get("Tracestate") != "" {
			t.Errorf("%s: sent %v", name, h)
		}
	}
	if p, ok := parseParent("cc" + traceOf[2:] + "-future"); !ok || !p.sampled {
		t.Error("a later version is not read as far as it is known")
	}
}

func TestTheSamplerKeepsItsRatio(t *testing.T) {
	count := func(s otlp.Sampler, header string) (n int) {
		tracer := &Tracer{Sampler: s}
		for i := range 4000 {
			if _, sampled := tracer.decide(header, fmt.Sprintf("req_%d", i)); sampled {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		sampler  otlp.Sampler
		header   string
		min, max int
	}{
		{otlp.Sampler{Ratio: 1}, "", 4000, 4000},
		{otlp.Sampler{}, "", 0, 0},
		{otlp.Sampler{Ratio: 0.25}, "", 880, 1120},
		{otlp.Sampler{}, traceOf, 4000, 4000},
		{otlp.Sampler{Always: true}, traceOf, 0, 0},
		{otlp.Sampler{Ratio: 1, Always: true}, traceOf[:53] + "00", 4000, 4000},
	} {
		if n := count(c.sampler, c.header); n < c.min || n > c.max {
			t.Errorf("%+v %q: %d of 4000", c.sampler, c.header, n)
		}
	}
}

func TestTwoAttemptsAtOneBackendAreTwoSpans(t *testing.T) {
	x := served()
	x.Result.Attempts = append(x.Result.Attempts, x.Result.Attempts[0])
	if _, spans := recordSpans(otlp.Sampler{Ratio: 1}, x); spans[0].ID == spans[1].ID {
		t.Error("one id for both")
	}
}

// observers is everything that sees a request, where the caller's trace is
// sampled or not.
func observers(tb testing.TB, flag string) (all Observers, out *LogWriter, x *api.RequestRecord) {
	tb.Helper()
	out = NewLogWriter(discard{}, discard{}, 4096)
	tb.Cleanup(func() { out.Close(time.Minute) })
	pusher := otlp.NewPusher(otlp.Settings{Endpoint: "http://127.0.0.1:1"}, nil, new(meter.Registry))
	x = served()
	x.Traceparent = traceOf[:53] + flag
	return Observers{&RequestLog{Out: out, Instance: "i-1"}, NewMetrics(new(meter.Registry), slots), &Tracer{Sampler: otlp.Sampler{Ratio: 1}, Take: pusher.Take}}, out, x
}

func TestToBeSeenCostsARequestNextToNoMemory(t *testing.T) {
	// It is 1 and 5; the race detector has pools forget.
	for flag, most := range map[string]float64{"00": 4, "01": 10} {
		all, _, x := observers(t, flag)
		all.RequestDone(x)
		if n := testing.AllocsPerRun(2000, func() { all.RequestDone(x) }); n > most {
			t.Errorf("flag %s: %v allocations, want at most %v", flag, n, most)
		} else {
			t.Logf("flag %s: %v allocations", flag, n)
		}
	}
}

// BenchmarkAll is what a request pays for being seen: its line, its metrics and
// its trace.
func BenchmarkAll(b *testing.B) {
	for _, c := range []struct {
		name string
		flag string
	}{{"unsampled", "00"}, {"sampled", "01"}} {
		b.Run(c.name, func(b *testing.B) {
			all, out, x := observers(b, c.flag)
			measureCPU(b, out, func() { all.RequestDone(x) })
		})
	}
}
