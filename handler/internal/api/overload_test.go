package api_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/overload"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/quota"
)

// half sends the beginning of a request and returns its connection.
func (d *gateway) half(t *testing.T, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// settled waits until requests hold so much memory.
func settled(t *testing.T, b *overload.Budget, want func(used int64) bool) int64 {
	t.Helper()
	for range 1000 {
		if want(b.Used()) {
			return b.Used()
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d bytes are held", b.Used())
	return 0
}

const declared = "POST " + chat + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"

// What a request declares costs nothing until it arrives, and what has arrived at most
// four times as much, eight times beyond 4 MiB.
func TestBuffersGrowWithWhatArrived(t *testing.T) {
	d := newGateway(t)
	d.MaxBody, d.Memory = 128<<20, &overload.Budget{Limit: 1 << 40}
	const n, each = 20, overload.RequestSize + 64<<10
	for range n {
		d.half(t, declared+"{")
	}
	if used := settled(t, d.Memory, func(used int64) bool { return used >= n*each }); used > n*each {
		t.Errorf("%d requests of one byte hold %d bytes", n, used)
	}
	for range n {
		d.half(t, declared+"{"+strings.Repeat(" ", 100<<10))
	}
	const grown = overload.RequestSize + 256<<10
	if used := settled(t, d.Memory, func(used int64) bool { return used >= n*(each+grown) }); used > n*(each+grown) {
		t.Errorf("%d more of 100 KiB hold %d bytes", n, used)
	}
}

// Bodies beyond the budget get a 503, the heaviest consumer's first; whoever comes has
// a part of it; and afterwards nothing is held.
func TestBodiesBeyondTheMemoryAreRefused(t *testing.T) {
	d := newGateway(t)
	d.MaxBody, d.Memory = 32<<20, &overload.Budget{Limit: 40 << 20}
	d.authenticate = func() (*consumer.Consumer, error) { return &consumer.Consumer{Name: "heavy"}, nil }
	entered, release := make(chan struct{}, 100), make(chan struct{})
	d.do = func(ctx context.Context, pools []*balancer.Pool, _ *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		entered <- struct{}{}
		<-release
		return serve(ctx, pools, deliver)
	}
	body := `{"model":"gpt-4o","x":"` + strings.Repeat("a", 8<<20) + `"}`
	var asking sync.WaitGroup
	var mu sync.Mutex
	status := map[int]int{}
	for range 3 {
		asking.Go(func() {
			res, _ := d.send(t, "POST", chat, body)
			mu.Lock()
			defer mu.Unlock()
			status[res.StatusCode]++
		})
		<-entered
	}
	res, text := d.send(t, "POST", chat, body)
	if res.StatusCode != 503 || !strings.Contains(text, `"code":"overloaded"`) || res.Header.Get("Retry-After") == "" || res.Header.Get("X-Should-Retry") != "" {
		t.Errorf("a fourth body of 8 MiB: %d %s, %v", res.StatusCode, text, res.Header)
	}
	d.authenticate = func() (*consumer.Consumer, error) { return &consumer.Consumer{Name: "other"}, nil }
	asking.Go(func() {
		if res, text := d.send(t, "POST", chat, hello); res.StatusCode != http.StatusOK {
			t.Errorf("somebody else: %d %s", res.StatusCode, text)
		}
	})
	<-entered
	close(release)
	asking.Wait()
	if status[200] != 3 {
		t.Errorf("those that were let in: %v", status)
	}
	settled(t, d.Memory, func(used int64) bool { return used == 0 })
}

// entrance is a meter that counts requests under way.
type entrance struct {
	limit
	most, inside int
}

func (e *entrance) Enter(*consumer.Consumer, bool) (func(), error) {
	if e.inside == e.most {
		return nil, &quota.ExceededError{Limit: "concurrency", Amount: float64(e.most), Retryable: true, Wait: time.Second}
	}
	e.inside++
	return func() { e.inside-- }, nil
}

// Concurrency, and memory, are settled before a body is read: a caller that sends
// slowly is refused, too, and holds its own place until it leaves.
func TestRequestsAreAdmittedBeforeTheirBody(t *testing.T) {
	for name, c := range map[string]struct {
		memory int64
		most   int
		want   string
	}{
		"concurrency": {1 << 30, 0, "429 Too Many Requests"},
		"memory":      {1 << 10, 1, "503 Service Unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newGateway(t)
			places := &entrance{most: c.most, limit: limit{left: 10}}
			d.MaxBody, d.Memory, d.Meter = 128<<20, &overload.Budget{Limit: c.memory}, places
			conn := d.half(t, declared)
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.Contains(line, c.want) {
				t.Errorf("a body of which nothing was sent: %q, %v", line, err)
			}
			_ = conn.Close()
			if rec := <-d.records; places.inside != 0 || d.Memory.Used() != 0 {
				t.Errorf("%s: %d under way, %d bytes held", rec.Code, places.inside, d.Memory.Used())
			}
		})
	}
}

// A line of a file that is checked while it is sent is held, and counts.
func TestLongLinesCount(t *testing.T) {
	d := newTenantsWithObjects(t)
	d.MaxBody, d.BufferedUpload, d.Memory = 64<<20, 1<<20, &overload.Budget{Limit: 12 << 20}
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		if _, err := io.Copy(io.Discard, r.StreamedBody.Open()); err != nil {
			return &proxy.Result{Pool: pools[0], Err: proxy.ErrBody}
		}
		return serve(ctx, pools, deliver)
	}
	short := strings.Repeat(requestLine("resp_y"), 20<<10)
	long := strings.Replace(requestLine("resp_y"), "{", `{"instructions":"`+strings.Repeat("Be brief. ", 1<<20)+`",`, 1)
	for name, c := range map[string]struct {
		file string
		want int
	}{"short lines": {short, 200}, "a long line": {short + long, 503}} {
		body, contentType := uploadForm(c.file, []string{"purpose", "batch"}, nil)
		res, text := d.send(t, "POST", "/openai/v1/files", body, "Content-Type", contentType, "Api-Key", "y")
		if res.StatusCode != c.want || c.want == 503 && !strings.Contains(text, `"overloaded"`) {
			t.Errorf("%s: %d %s, want %d", name, res.StatusCode, text, c.want)
		}
	}
}
