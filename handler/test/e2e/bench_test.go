package e2e_test

import (
	"slices"
	"testing"
	"time"

	"spillway/handler/internal/tablestore/storetest"
)

// BenchmarkAgainstReverseProxy runs the staged binary and the bare reverse
// proxy of the standard library in turn, and reports what Spillway costs as a
// multiple of it: whatever else the machine is doing, both have it. Spillway has
// everything on, with its state in an emulated table.
func BenchmarkAgainstReverseProxy(b *testing.B) {
	backend := newBareBackend(b)
	ours, theirs := startSpillway(b, backend.url(), storetest.Azurite(b)), startReverseProxy(b, backend.url())
	for _, c := range []struct {
		name        string
		request     []byte
		n           int
		connections int
		per         float64 // units of work a request
	}{
		{"request=1KB", plainRequest(1 << 10), 4000, 16, 1},
		{"request=100KB", plainRequest(100 << 10), 1000, 16, 1},
		{"request=1MB", plainRequest(1 << 20), 200, 16, 1},
		{"stream/chunk", streamRequest(), 200, 200, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			const rounds = 9
			var ratios, costs []float64
			cost(ours, c.connections, c.n/2, c.request) // neither pays for its start
			cost(theirs, c.connections, c.n/2, c.request)
			for b.Loop() {
				ratios, costs = ratios[:0], costs[:0]
				for range rounds {
					mine := cost(ours, c.connections, c.n, c.request)
					yours := cost(theirs, c.connections, c.n, c.request)
					ratios = append(ratios, mine/yours)
					costs = append(costs, mine/float64(c.n)/c.per/1000)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ratios), "x-revproxy")
			b.ReportMetric(median(costs), "cpu-us")
		})
	}
}

// cost is the processor time that n requests took, in nanoseconds.
func cost(c *contender, connections, n int, request []byte) float64 {
	before := c.cpu()
	c.closedLoop(connections, n, request)
	return float64(c.cpu() - before)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// BenchmarkStart is the time from exec to the first answer from a backend, and
// what the process holds when nothing happens.
func BenchmarkStart(b *testing.B) {
	backend := newBareBackend(b)
	var ours, theirs, memory []float64
	for b.Loop() {
		ours, theirs = ours[:0], theirs[:0]
		for range 9 {
			s, r := startSpillway(b, backend.url(), ""), startReverseProxy(b, backend.url())
			ours, theirs = append(ours, ms(s.started)), append(theirs, ms(r.started))
			memory = append(memory, float64(s.memory())/(1<<20))
			_ = s.command.Process.Kill()
			_ = r.command.Process.Kill()
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "ms-to-first-200")
	b.ReportMetric(median(theirs), "revproxy-ms")
	b.ReportMetric(median(memory), "idle-MiB")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// BenchmarkOpenStreams is what a thousand open streams hold.
func BenchmarkOpenStreams(b *testing.B) {
	const streams = 1000
	var ours, theirs float64
	for b.Loop() {
		backend := newBareBackend(b)
		backend.chunks, backend.interval = 100, 50*time.Millisecond
		ours, theirs = memoryPerStream(startSpillway(b, backend.url(), ""), backend, streams), memoryPerStream(startReverseProxy(b, backend.url()), backend, streams)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours, "KB/stream")
	b.ReportMetric(theirs, "revproxy-KB/stream")
}

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
			if int(backend.open.Load()) == streams {
				most = max(most, c.memory())
			}
		}
	}
}
