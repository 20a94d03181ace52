package e2e_test

import (
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/tablestore/storetest"
)

// rounds is how often each contender of a benchmark has its turn. Enough for quartiles.
const rounds = 9

// withEverything is a pool with everything on, its state in an emulated table.
func withEverything(b *testing.B, backend string) benchPool {
	b.Helper()
	return benchPool{backend: backend, state: storetest.Azurite(b), limits: everyLimit}
}

// workload is what the contenders of a comparison do.
type workload struct {
	name        string
	request     []byte
	n           int
	connections int
	per         float64 // units of work a request
}

var workloads = []workload{
	{"request=1KB", plainRequest(1 << 10), 4000, 16, 1},
	{"request=100KB", plainRequest(100 << 10), 1000, 16, 1},
	{"request=1MB", plainRequest(1 << 20), 200, 16, 1},
	{"stream/chunk", streamRequest(), 200, 200, 100},
}

// BenchmarkAgainstReverseProxy runs the staged binary and the bare reverse
// proxy of the standard library in turn, and reports what Spillway costs as a
// multiple of it: whatever else the machine is doing, both have it. Spillway has
// everything on, with its state in an emulated table. Other proxies have their turn,
// too, where there are any.
func BenchmarkAgainstReverseProxy(b *testing.B) {
	backend := newBareBackend(b)
	others := peers(b, backend.url())
	others["Spillway"] = startSpillway(b, withEverything(b, backend.url()))
	against(b, "plain", "Processor time, connections without TLS", startReverseProxy(b, backend.url()), others, workloads)
}

// BenchmarkTLS is BenchmarkAgainstReverseProxy with TLS to the backends.
func BenchmarkTLS(b *testing.B) {
	backend, trust := newTLSBackend(b)
	ours := startSpillway(b, withEverything(b, backend.url()), trust)
	against(b, "tls", "Processor time, TLS to the backends", startReverseProxy(b, backend.url(), trust), map[string]*contender{"Spillway": ours}, workloads)
}

// against has the contenders and the yardstick do each workload in turn.
func against(b *testing.B, name, title string, yardstick *contender, others map[string]*contender, all []workload) {
	b.Helper()
	f := &figure{Name: name, Title: title, Across: "work", Unit: "× bare reverse proxy"}
	for i, w := range all {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				costs := w.measure(yardstick, others)
				for name, ratios := range costs {
					f.add(name, pointOf(float64(i), w.name, ratios))
				}
				b.ReportMetric(median(costs["Spillway"]), "x-revproxy")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	slices.SortFunc(f.Series, func(a, b series) int { return -order(a.Name, b.Name) })
	publish(b, f)
}

// order puts Spillway last.
func order(a, b string) int {
	switch {
	case a == "Spillway":
		return 1
	case b == "Spillway", a > b:
		return -1
	}
	return 0
}

// measure returns what each contender costs as a multiple of the yardstick, by round.
func (w *workload) measure(yardstick *contender, others map[string]*contender) map[string][]float64 {
	ratios := map[string][]float64{}
	for _, c := range others { // none pays for its start
		cost(c, w.connections, w.n/2, w.request)
	}
	cost(yardstick, w.connections, w.n/2, w.request)
	for range rounds {
		unit := cost(yardstick, w.connections, w.n, w.request)
		for name, c := range others {
			ratios[name] = append(ratios[name], cost(c, w.connections, w.n, w.request)/unit)
		}
	}
	return ratios
}

// cost is the processor time that n requests took, in nanoseconds.
func cost(c *contender, connections, n int, request []byte) float64 {
	before := c.cpu()
	c.closedLoop(connections, n, request)
	return float64(c.cpu() - before)
}

func median(values []float64) float64 { return percentile(values, .5) }

// percentile is the value below which a share of the others is.
func percentile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

// BenchmarkStart is the time from exec to the first answer from a backend, and
// what the process holds when nothing happens.
func BenchmarkStart(b *testing.B) {
	backend := newBareBackend(b)
	var ours, theirs, memory []float64
	for b.Loop() {
		ours, theirs = ours[:0], theirs[:0]
		for range rounds {
			s, r := startSpillway(b, benchPool{backend: backend.url(), limits: everyLimit}), startReverseProxy(b, backend.url())
			ours, theirs = append(ours, ms(s.started)), append(theirs, ms(r.started))
			memory = append(memory, float64(s.memory())/(1<<20))
			s.stop()
			r.stop()
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "ms-to-first-200")
	b.ReportMetric(median(theirs), "revproxy-ms")
	b.ReportMetric(median(memory), "idle-MiB")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// memoryPerStream is the memory of so many streams at their height, in KB each.
func memoryPerStream(c *contender, backend *bareBackend, streams int) float64 {
	before := c.memory()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.closedLoop(streams, streams, streamRequest())
	}()
	var most int64
	for watch := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case <-done:
			watch.Stop()
			return float64(most-before) / 1024 / float64(streams)
		case <-watch.C:
			if int(backend.open.Load()) >= streams-streams/20 { // the reverse proxy loses some
				most = max(most, c.memory())
			}
		}
	}
}
