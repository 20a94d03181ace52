package simulator_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

// fastConfig is one deployment without pace or limit, counted but not journaled.
func fastConfig(d simulator.Deployment) simulator.Config {
	d.Name, d.Model = "gpt-4o", "gpt-4o"
	return simulator.Config{Journal: -1, Resources: []simulator.Resource{
		{Name: "payg", Region: "uksouth", Keys: []string{"key-payg"}, Deployments: []simulator.Deployment{d}},
	}}
}

// BenchmarkHandler measures the service's cost of a response, without a network.
func BenchmarkHandler(b *testing.B) {
	for name, body := range map[string]string{"plain": hello, "streamed": helloAloud} {
		b.Run(name, func(b *testing.B) {
			s := simulator.New(fastConfig(simulator.Deployment{}))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/payg"+chatPath, strings.NewReader(body))
					r.Header.Set("Api-Key", "key-payg")
					w := httptest.NewRecorder()
					s.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						b.Fatal(w.Body)
					}
				}
			})
		})
	}
}

// BenchmarkLoopback measures a response over a reused connection, the client
// included.
func BenchmarkLoopback(b *testing.B) {
	s := simulator.Start(b, fastConfig(simulator.Deployment{}))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := readStream(b, client, s.URL("payg"), hello); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func readStream(b *testing.B, client *http.Client, url, body string) error {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url+chatPath, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Api-Key", "key-payg")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// BenchmarkThousandStreams is a thousand streams of 100 tokens at 20 ms; on an
// unburdened machine it takes little longer than the 2 s of their pace.
func BenchmarkThousandStreams(b *testing.B) {
	s := simulator.Start(b, fastConfig(simulator.Deployment{PerToken: 20 * time.Millisecond, AnswerTokens: 100}))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}
	defer client.CloseIdleConnections()
	for b.Loop() {
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if err := readStream(b, client, s.URL("payg"), helloAloud); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
	}
}
