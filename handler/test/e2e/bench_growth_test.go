package e2e_test

import (
	"fmt"
	"testing"
	"time"
)

// variant is one size of what grows: a process, and the requests that it gets.
type variant struct {
	at      float64
	process *contender
	request func(i int) []byte
}

// warm and n are the requests before and in each round.
func growth(b *testing.B, f *figure, series string, warm, n int, variants []variant) {
	b.Helper()
	ratios := make([][]float64, len(variants))
	b.ReportMetric(0, "ns/op")
	for b.Loop() {
		for _, v := range variants {
			v.process.loop(16, warm, v.request)
		}
		for range rounds {
			unit := 0.0
			for i, v := range variants {
				before := v.process.cpu()
				v.process.loop(16, n, v.request)
				cost := float64(v.process.cpu() - before)
				if i == 0 {
					unit = cost
				}
				ratios[i] = append(ratios[i], cost/unit)
			}
		}
	}
	for i, v := range variants {
		f.add(series, pointOf(v.at, "", ratios[i]))
		v.process.stop()
	}
}

// only are requests of one kind.
func only(request []byte) func(int) []byte { return func(int) []byte { return request } }

// BenchmarkGrowthOfPool is the cost of a request by the number of backends that may serve
// it, and of models.
func BenchmarkGrowthOfPool(b *testing.B) {
	backend := newBareBackend(b)
	f := &figure{Name: "growth-pool", Title: "Processor time of a 1 KB request by the size of the pool", Across: "backends or models", Unit: "× of one"}
	b.Run("backends", func(b *testing.B) {
		var all []variant
		for _, n := range []int{1, 4, 16, 64} {
			all = append(all, variant{float64(n), startSpillway(b, benchPool{backend: backend.url(), backends: n, limits: everyLimit}), only(plainRequest(1 << 10))})
		}
		growth(b, f, "backends", 4000, 2000, all)
	})
	b.Run("models", func(b *testing.B) {
		var all []variant
		for _, n := range []int{1, 10, 50} {
			all = append(all, variant{float64(n), startSpillway(b, benchPool{backend: backend.url(), models: n, limits: everyLimit}), func(i int) []byte { return requestOf(1<<10, 0, i%n) }})
		}
		growth(b, f, "models", 4000, 2000, all)
	})
	publish(b, f)
}

// BenchmarkGrowthOfConsumers is the cost of a request by the number of consumers that are
// busy. The state is in memory: what the emulated table takes to answer is not the cost of
// the process, and each limit of each consumer has an exchange with it.
func BenchmarkGrowthOfConsumers(b *testing.B) {
	backend := newBareBackend(b)
	f := &figure{Name: "growth-consumers", Title: "Processor time of a 1 KB request by busy consumers", Across: "consumers", Unit: "× of one"}
	for name, limits := range map[string]string{"no limits": "", "two limits": `"tokensPerMinute":1000000000000,"requestsPerMinute":1000000000`} {
		b.Run(name, func(b *testing.B) {
			var all []variant
			for _, n := range []int{1, 100, 1000, 10000} {
				p := benchPool{backend: backend.url(), consumers: n, limits: limits}
				all = append(all, variant{float64(n), startSpillway(b, p), func(i int) []byte { return requestOf(1<<10, i*7919%n, 0) }})
			}
			growth(b, f, name, 20000, 2000, all)
		})
	}
	publish(b, f)
}

// BenchmarkGrowthOfBodies is the cost of a request by the size of its body, for each
// kilobyte of it, beside the reverse proxy's.
func BenchmarkGrowthOfBodies(b *testing.B) {
	backend := newBareBackend(b)
	both := []struct {
		name string
		*contender
	}{{"Spillway", startSpillway(b, benchPool{backend: backend.url(), limits: everyLimit})}, {"bare reverse proxy", startReverseProxy(b, backend.url())}}
	f := &figure{Name: "growth-bodies", Title: "Processor time of a request above that of 1 KB, by the size of its body", Across: "KB", Unit: "µs a KB"}
	for b.Loop() {
		f.Series = nil
		least := map[string]float64{}
		for _, kb := range []int{1, 100, 1000, 5000, 20000} {
			costs, n := map[string][]float64{}, max(2, min(2000, 20000/kb))
			for range rounds {
				for _, c := range both {
					costs[c.name] = append(costs[c.name], cost(c.contender, 2, n, plainRequest(kb<<10))/float64(n)/1000)
				}
			}
			for _, c := range both {
				if kb == 1 {
					least[c.name] = median(costs[c.name])
					continue
				}
				p := pointOf(float64(kb), "", costs[c.name])
				for _, v := range []*float64{&p.Low, &p.Value, &p.High} {
					*v = (*v - least[c.name]) / float64(kb-1)
				}
				f.add(c.name, p)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	publish(b, f)
}

// BenchmarkOpenStreams is what open streams hold, in all.
func BenchmarkOpenStreams(b *testing.B) {
	f := &figure{Name: "growth-streams", Title: "Memory of open streams", Across: "streams", Unit: "MB"}
	for b.Loop() {
		f.Series = nil
		for _, n := range []int{100, 500, 1000, 2000} {
			backend := newBareBackend(b)
			backend.chunks, backend.interval = 60, 100*time.Millisecond
			for name, c := range map[string]*contender{
				"Spillway": startSpillway(b, benchPool{backend: backend.url(), limits: everyLimit}), "bare reverse proxy": startReverseProxy(b, backend.url()),
			} {
				each := memoryPerStream(c, backend, n)
				f.add(name, pointOf(float64(n), "", []float64{each * float64(n) / 1024}))
				b.ReportMetric(each, fmt.Sprintf("KB/stream-%s-%d", name[:4], n))
				c.stop()
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	publish(b, f)
}
