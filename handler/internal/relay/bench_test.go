package relay_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/openai/operations"
)

// The benchmarks compare backend client and relay with a bare
// [httputil.ReverseProxy] on the same transport, each in a process of its own,
// alternately in one run:
//
//	go test -run xxx -bench . -benchtime 1x -count 5 ./handler/internal/relay
//
// cpu-µs/op is the processor time of the measured process.
func TestMain(m *testing.M) {
	if kind := os.Getenv("SPILLWAY_BENCH_FRONT"); kind != "" {
		runProxy(kind, os.Getenv("SPILLWAY_BENCH_BACKEND"))
		return
	}
	os.Exit(m.Run())
}

// runProxy is the measured process: a server of this kind in front of origin.
func runProxy(kind, origin string) {
	mux := http.NewServeMux()
	mux.HandleFunc("/spent", func(w http.ResponseWriter, _ *http.Request) {
		debug.FreeOSMemory()
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		_, _ = fmt.Fprint(w, u.Utime.Nano()+u.Stime.Nano(), resident())
	})
	switch kind {
	case "relay":
		mux.Handle("/", newGateway(&testing.B{}, origin))
	case "reverse-proxy":
		u, _ := url.Parse(origin)
		mux.Handle("/", &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Header.Set("Api-Key", "k") },
			Transport: backend.NewTransport(backend.TransportOptions{}), BufferPool: new(pool32),
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go func() { _ = http.Serve(l, mux) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

type pool32 struct{ sync.Pool }

func (p *pool32) Get() []byte {
	if b, ok := p.Pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *pool32) Put(b []byte) { p.Pool.Put(&b) }

// resident is the resident memory of this process in bytes.
func resident() int64 {
	stat, _ := os.ReadFile("/proc/self/statm")
	pages, _ := strconv.ParseInt(strings.Fields(string(stat))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// start starts a measured process. spent asks it for its processor time and
// memory.
func start(b *testing.B, kind, origin string) (at string, spent func() (cpu, memory int64)) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPILLWAY_BENCH_FRONT="+kind, "SPILLWAY_BENCH_BACKEND="+origin)
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	at = "http://" + strings.TrimSpace(line)
	return at, func() (cpu, memory int64) {
		res, err := http.Get(at + "/spent")
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		_, _ = fmt.Fscan(res.Body, &cpu, &memory)
		return cpu, memory
	}
}

var proxies = []string{"reverse-proxy", "relay"}

// answering is a backend that answers every request with this body.
func answering(b *testing.B, answer string) string {
	return "http://" + serve(b, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	})
}

func serve(b *testing.B, h http.HandlerFunc) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h(w, r)
	})}
	go func() { _ = s.Serve(l) }()
	b.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

func BenchmarkBody(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10, 1 << 20} {
		body := `{"messages":"` + strings.Repeat("x", size) + `","stream":false}`
		for _, kind := range proxies {
			b.Run(fmt.Sprintf("%dKB/%s", size>>10, kind), func(b *testing.B) {
				at, spent := start(b, kind, answering(b, completion))
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
				n := 60_000_000 / (size + 10_000)
				load(b, client, at, body, n/4) // warm
				before, _ := spent()
				for b.Loop() {
					load(b, client, at, body, n)
				}
				after, _ := spent()
				b.ReportMetric(float64(after-before)/float64(n*b.N)/1e3, "cpu-µs/op")
			})
		}
	}
}

// load sends n requests from 8 callers.
func load(b *testing.B, client *http.Client, at, body string, n int) {
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range n / 8 {
				res, err := client.Post(at, "application/json", strings.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
	callers.Wait()
}

// streaming is a backend that sends an event of about 285 bytes every 20 ms.
func streaming(b *testing.B, events int) string {
	event := strings.Replace(content, "Hi", strings.Repeat("word ", 40), 1)
	return "http://" + serve(b, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range events {
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
			<-tick.C
		}
		_, _ = io.WriteString(w, stop+done)
	})
}

func BenchmarkStream(b *testing.B) {
	const streams, events = 200, 100
	for _, kind := range proxies {
		b.Run(kind, func(b *testing.B) {
			at, spent := start(b, kind, streaming(b, events))
			open(b, at, streams) // warm
			before, _ := spent()
			for b.Loop() {
				open(b, at, streams)
			}
			after, _ := spent()
			b.ReportMetric(float64(after-before)/float64(streams*events*b.N)/1e3, "cpu-µs/event")
		})
	}
}

// open reads n concurrent streams to their end.
func open(b *testing.B, at string, n int) {
	var callers sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	for range n {
		callers.Go(func() {
			res, err := client.Post(at, "application/json", strings.NewReader(`{"stream":true}`))
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = res.Body.Close() }()
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				b.Error(err)
			}
		})
	}
	callers.Wait()
}

// BenchmarkOpenStreams is the memory of a thousand streams that stay open.
func BenchmarkOpenStreams(b *testing.B) {
	const streams = 1000
	for _, kind := range proxies {
		b.Run(kind, func(b *testing.B) {
			at, spent := start(b, kind, streaming(b, 1<<20))
			for b.Loop() {
				_, before := spent()
				ctx, leave := context.WithCancel(context.Background())
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: streams}}
				var all sync.WaitGroup
				for range streams {
					all.Go(func() { hang(ctx, b, client, at) })
				}
				all.Wait()
				time.Sleep(time.Second) // a second of events
				_, after := spent()
				b.ReportMetric(float64(after-before)/streams/1024, "KB/stream")
				leave()
				client.CloseIdleConnections()
			}
		})
	}
}

// hang opens a stream and reads it in the background until ctx ends.
func hang(ctx context.Context, b *testing.B, client *http.Client, at string) {
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(`{"stream":true}`))
	res, err := client.Do(r)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = res.Body.Read(make([]byte, 1))
	go func() {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}()
}

// BenchmarkEvent is the cost of one event of a stream without system calls.
func BenchmarkEvent(b *testing.B) {
	event := strings.Replace(content, "Hi", strings.Repeat("word ", 40), 1)
	left := b.N
	x := newFixture(operations.Chat, "text/event-stream", nil)
	x.response.Response.Body = io.NopCloser(reading(func(p []byte) (int, error) {
		if left == 0 {
			return 0, io.EOF
		}
		left--
		return copy(p, event), nil
	}))
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	b.ResetTimer()
	x.relay.Open(discard{http.Header{}}, x.request).Deliver(x.ctx, x.response)
}

type reading func(p []byte) (int, error)

func (r reading) Read(p []byte) (int, error) { return r(p) }

// discard is a caller that accepts everything.
type discard struct{ header http.Header }

func (n discard) Header() http.Header       { return n.header }
func (discard) WriteHeader(int)             {}
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Flush()                      {}
