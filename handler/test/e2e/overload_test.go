package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// overloaded is a process with little memory, a consumer that asks for much, and
// another one.
type overloaded struct {
	*instanceProcess
	t       *testing.T
	release chan struct{} // closed: bodies are answered

	mu   sync.Mutex
	size map[string]int // of what is sent, in MiB
}

// hostile is a backend that answers by what the request is about.
func (o *overloaded) hostile(w http.ResponseWriter, r *http.Request) {
	head := make([]byte, 100)
	n, _ := io.ReadFull(r.Body, head)
	_, _ = io.Copy(io.Discard, r.Body)
	about := string(head[:n])
	event := func(data string) { _, _ = io.WriteString(w, "data: "+data+"\n\n") }
	const chunk = `{"id":"c1","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}`
	switch {
	case strings.Contains(about, "preamble"):
		w.Header().Set("Content-Type", "text/event-stream")
		comment := []byte(strings.Repeat(": keep-alive\n\n", 1000))
		for {
			if _, err := w.Write(comment); err != nil {
				return
			}
		}
	case strings.Contains(about, "line"):
		w.Header().Set("Content-Type", "text/event-stream")
		event(fmt.Sprintf(chunk, "a"))
		event(fmt.Sprintf(chunk, strings.Repeat("a", o.mib("line"))))
		event(`{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`)
		event("[DONE]")
		return
	case strings.Contains(about, "large"):
		<-o.release
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
}

func (o *overloaded) mib(what string) int { return o.size[what] << 20 }

// startOverloaded starts a process that may use so many MiB.
func startOverloaded(t *testing.T, limit int, size map[string]int) *overloaded {
	t.Helper()
	o := &overloaded{t: t, release: make(chan struct{}), size: size}
	backend := httptest.NewServer(http.HandlerFunc(o.hostile))
	t.Cleanup(backend.Close)
	o.instanceProcess = startInstanceProcess(t, "SPILLWAY_AUTH=key", "HEAVY_KEY="+keyOf("heavy"), "OTHER_KEY="+keyOf("other"), "SPILLWAY_MEMORY_LIMIT="+strconv.Itoa(limit)+"MiB", "SPILLWAY_COMMIT_AFTER=0",
		`SPILLWAY_CONFIG={"backends":[{"name":"a","endpoint":"`+backend.URL+`","auth":{"mode":"none"}}],`+
			`"consumers":[{"name":"heavy","keySetting":"HEAVY_KEY"},{"name":"other","keySetting":"OTHER_KEY"}]}`)
	return o
}

// about is a body about something, with so many bytes.
func about(what string, size int) string {
	return `{"user":"` + what + `","model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("a", size) + `"}]}`
}

// ask sends a request of the heavy consumer and counts how it ended.
func (o *overloaded) ask(count map[string]int, body string) {
	a := ask(o.t.Context(), o.t, http.MethodPost, o.url+chatPath, body, "Api-Key", keyOf("heavy"))
	end := strconv.Itoa(a.status)
	if strings.Contains(a.body, `"overloaded"`) {
		end += " overloaded"
	}
	if a.err != nil {
		end += " broken"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	count[end]++
}

// together sends n requests at once; settle is called when they are under way.
func (o *overloaded) together(n int, body string, settle func(count func() int)) map[string]int {
	count := map[string]int{}
	var asking sync.WaitGroup
	for range n {
		asking.Go(func() { o.ask(count, body) })
	}
	settle(func() int {
		o.mu.Lock()
		defer o.mu.Unlock()
		return count["503 overloaded"]
	})
	asking.Wait()
	return count
}

// declare opens requests that declare much and send one byte.
func (o *overloaded) declare(n, length int) (leave func()) {
	var conns []net.Conn
	for range n {
		conn, err := net.Dial("tcp", strings.TrimPrefix(o.url, "http://"))
		if err != nil {
			o.t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nApi-Key: %s\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", chatPath, keyOf("heavy"), length)
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			o.t.Errorf("a request that sent nothing yet: %q, %v", line, err)
		}
		_, _ = io.WriteString(conn, "{")
		conns = append(conns, conn)
	}
	return func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
}

// resident is the most memory that the process had so far, in MiB.
func (o *overloaded) resident(field string) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", o.process.Process.Pid))
	if err != nil {
		o.t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(field+":")); ok {
			kib, _ := strconv.Atoi(string(bytes.Fields(rest)[0]))
			return kib >> 10
		}
	}
	return 0
}

// others sends requests of the other consumer until the returned function is called,
// which returns how long they took, the shortest first.
func (o *overloaded) others() func() []time.Duration {
	ctx, stop := context.WithCancel(o.t.Context())
	var took []time.Duration
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			start := time.Now()
			a := ask(context.WithoutCancel(ctx), o.t, http.MethodPost, o.url+chatPath, about("other", 1000), "Api-Key", keyOf("other"))
			took = append(took, time.Since(start))
			if a.status != http.StatusOK {
				o.t.Errorf("the other consumer: %d %s %v", a.status, a.body, a.err)
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	return func() []time.Duration {
		stop()
		asking.Wait()
		slices.Sort(took)
		return took
	}
}

// A process survives whatever one consumer sends or has sent to it: what there is no
// memory for is a 503, and others are served.
func TestOverload(t *testing.T) {
	t.Parallel()
	limit, size, bound := 128, map[string]int{"body": 8, "declared": 40, "line": 8}, 220
	if os.Getenv("SPILLWAY_SOAK") != "" { // an instance of 512 MB
		limit, size, bound = 358, map[string]int{"body": 20, "declared": 95, "line": 30}, 512
	}
	o := startOverloaded(t, limit, size)
	never := func(func() int) {}
	phase := func(name string, run func() map[string]int) map[string]int {
		stop := o.others()
		before := o.resident("VmRSS")
		count := run()
		took := stop()
		t.Logf("%-14s %v; resident %d MiB before, %d after, %d at most; other consumer: %d requests, p50 %v, p99 %v", name, count, before, o.resident("VmRSS"), o.resident("VmHWM"),
			len(took), took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond))
		return count
	}
	phase("nothing", func() map[string]int {
		time.Sleep(200 * time.Millisecond)
		return nil
	})
	phase("100 declared", func() map[string]int {
		o.declare(100, o.mib("declared"))()
		return nil
	})
	bodies := phase("16 bodies", func() map[string]int {
		return o.together(16, about("large", o.mib("body")), func(refused func() int) {
			for refused() == 0 {
				time.Sleep(10 * time.Millisecond)
			}
			close(o.release)
		})
	})
	lines := phase("10 long lines", func() map[string]int { return o.together(10, about("line", 0), never) })
	preambles := phase("20 preambles", func() map[string]int { return o.together(20, about("preamble", 0), never) })
	if bodies["200"] == 0 || bodies["503 overloaded"] == 0 || len(bodies) != 2 {
		t.Errorf("bodies: %v", bodies)
	}
	if lines["200"] == 0 || lines["200"]+lines["200 overloaded broken"]+lines["200 broken"]+lines["0 broken"] != 10 { // a reset may overtake what was sent
		t.Errorf("long lines: %v", lines)
	}
	if preambles["503 overloaded"] == 0 {
		t.Errorf("preambles: %v", preambles)
	}
	if most := o.resident("VmHWM"); most > bound {
		t.Errorf("a process that may use %d MiB had %d", limit, most)
	}
	held := ""
	for i := 0; i < 3000 && !strings.HasSuffix(held, " 0"); i++ { // those who left may not have been noticed yet
		time.Sleep(10 * time.Millisecond)
		held = lineWith(ask(t.Context(), t, http.MethodGet, o.url+"/ops/metrics", "").body, "spillway_memory_held_bytes{")
	}
	if !strings.HasSuffix(held, " 0") {
		t.Errorf("nothing is under way, and %q", held)
	}
}

// lineWith is the first line that begins so.
func lineWith(text, prefix string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
