package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"spillway/handler/test/freeport"
)

// contender is one proxy as a process of its own, whose cost can be read off.
type contender struct {
	tb      testing.TB
	address string
	command *exec.Cmd
	started time.Duration // from exec to the first 200
	fault   func(format string, args ...any)
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(tb testing.TB) string {
	tb.Helper()
	port, err := freeport.Take()
	if err != nil {
		tb.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// everyLimit is each kind of limit that a consumer has, too large to refuse anything.
const everyLimit = `"tokensPerMinute":1000000000000,"requestsPerMinute":1000000000,"tokensPerMonth":1000000000000000,"budgetPerMonth":1000000000`

// benchPool is a pool document in numbers. The zero benchPool with a backend has one of
// everything, and no limits.
type benchPool struct {
	backend                     string // the address of all backends
	state                       string // the connection string of the table; "" = memory
	backends, models, consumers int
	limits                      string // of each consumer
}

// model and key are the names of the pool's models, and the keys of its consumers.
func (benchPool) model(i int) string {
	if i == 0 {
		return "gpt-4o"
	}
	return fmt.Sprintf("gpt-4o-%d", i)
}

func (benchPool) key(i int) string { return fmt.Sprintf("key-of-the-bench-team-%05d", i) }

// document returns the document, and the variables with the keys that it names.
func (p benchPool) document() (document string, variables []string) {
	var models, backends, consumers []string
	for i := range max(p.models, 1) {
		models = append(models, p.model(i))
	}
	served, _ := json.Marshal(models)
	for i := range max(p.backends, 1) {
		backends = append(backends, fmt.Sprintf(`{"name":"b%d","endpoint":"%s/b%d","deployments":%s,"auth":{"mode":"api-key","setting":"BENCH_KEY"}}`, i, p.backend, i, served))
	}
	variables = []string{"BENCH_KEY=key-of-the-backend"}
	for i := range max(p.consumers, 1) {
		consumers = append(consumers, strings.TrimSuffix(fmt.Sprintf(`{"name":"team-%05d","keySetting":"TEAM_%05d",%s`, i, i, p.limits), ",")+"}")
		variables = append(variables, fmt.Sprintf("TEAM_%05d=%s", i, p.key(i)))
	}
	for i, name := range models {
		models[i] = fmt.Sprintf(`%q:{"price":{"currency":"USD","input":2.5,"output":10}}`, name)
	}
	return fmt.Sprintf(`{"backends":[%s],"consumers":[%s],"models":{%s}}`, strings.Join(backends, ","), strings.Join(consumers, ","), strings.Join(models, ",")), variables
}

// startSpillway starts the staged binary with everything on that a request may cost: a
// consumer with a key, its limits, prices, metrics, and the log to a file.
func startSpillway(tb testing.TB, p benchPool, variables ...string) *contender {
	tb.Helper()
	document, keys := p.document()
	file := filepath.Join(tb.TempDir(), "pool.json")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		tb.Fatal(err)
	}
	address := freeAddress(tb)
	cmd := exec.Command(filepath.Join(staged, "spillway"))
	cmd.Env = slices.Concat(os.Environ(), keys, variables, []string{
		"SPILLWAY_LISTEN=" + address, "SPILLWAY_CONFIG=@" + file, "SPILLWAY_AUTH=key", "SPILLWAY_STATE=" + p.state, "AzureWebJobsStorage=", "FUNCTIONS_CUSTOMHANDLER_PORT=",
	})
	return launch(tb, cmd, address)
}

func startReverseProxy(tb testing.TB, backend string, variables ...string) *contender {
	tb.Helper()
	address := freeAddress(tb)
	cmd := exec.Command(reverseProxy(tb), address, backend)
	cmd.Env = append(os.Environ(), variables...)
	c := launch(tb, cmd, address)
	c.fault = tb.Logf // it loses a stream now and then, and is not ours to judge
	return c
}

// reverseProxy builds the yardstick.
func reverseProxy(tb testing.TB) string {
	tb.Helper()
	binary := filepath.Join(filepath.Dir(staged), "revproxy")
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "./testdata/revproxy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	return binary
}

func launch(tb testing.TB, cmd *exec.Cmd, address string) *contender {
	tb.Helper()
	began := time.Now()
	log, err := os.Create(filepath.Join(tb.TempDir(), "log"))
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close() // the process has it open
	cmd.Stdout = log
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("%s logged: %s", filepath.Base(cmd.Path), troubles(log.Name()))
		}
	})
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	c := &contender{tb: tb, address: address, command: cmd, fault: tb.Errorf}
	tb.Cleanup(c.stop)
	for time.Since(began) < 30*time.Second {
		if conn, err := net.Dial("tcp", address); err == nil {
			defer conn.Close()
			if status, err := c.exchange(conn, bufio.NewReader(conn), plainRequest(1<<10)); err == nil && status == http.StatusOK {
				c.started = time.Since(began)
				return c
			}
		}
	}
	tb.Fatalf("%s does not answer on %s", cmd.Path, address)
	return nil
}

// stop ends the process, and its workers, which would outlive it.
func (c *contender) stop() {
	for _, pid := range c.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = c.command.Wait()
}

// troubles returns the first lines of a log that tell of failures.
func troubles(log string) string {
	text, _ := os.ReadFile(log)
	var lines []string
	for line := range strings.Lines(string(text)) {
		if len(lines) < 20 && (strings.Contains(line, `"ERROR"`) || strings.Contains(line, `"broken"`)) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// cpu is the processor time of the process so far, in nanoseconds.
func (c *contender) cpu() time.Duration {
	c.tb.Helper()
	var stats []string
	for _, pid := range c.processes() {
		of, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		stats = append(stats, of...)
	}
	if len(stats) == 0 {
		c.tb.Skip("processor time is read from /proc: run this on Linux")
	}
	var total time.Duration
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // the thread has ended
		}
		ns, _ := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		total += time.Duration(ns)
	}
	return total
}

// processes are the process and its children, or those of a peer that runs already.
func (c *contender) processes() []int {
	if c.command == nil {
		return listeners(c.address)
	}
	pid := c.command.Process.Pid
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	all := []int{pid}
	for _, child := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(child); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// memory is the resident set, in bytes.
func (c *contender) memory() int64 {
	c.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.command.Process.Pid))
	if err != nil {
		c.tb.Skip("memory is read from /proc: run this on Linux")
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

const benchHead = "POST /openai/v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nUser-Agent: OpenAI/Python 3.3.1\r\n" +
	"Accept: application/json\r\nX-Stainless-Lang: python\r\nX-Stainless-Retry-Count: 0\r\nContent-Length: %d\r\n\r\n%s"

// benchRequest is a request of a consumer.
func benchRequest(consumer int, body string) []byte {
	return fmt.Appendf(nil, benchHead, benchPool{}.key(consumer), len(body), body)
}

// plainRequest is a request of about size bytes, the prompt ahead of the model
// as openai-python sends it.
func plainRequest(size int) []byte { return requestOf(size, 0, 0) }

// requestOf is a request of a consumer for a model.
func requestOf(size, consumer, model int) []byte {
	return benchRequest(consumer, `{"messages":[{"role":"user","content":"`+strings.Repeat("lorem ip", size/8)+`"}],"model":"`+benchPool{}.model(model)+`","max_tokens":200}`)
}

func streamRequest() []byte {
	return benchRequest(0, `{"stream":true,"model":"gpt-4o","messages":[{"role":"user","content":"`+strings.Repeat("lorem ip", 120)+`"}]}`)
}

// exchange sends one request and reads the whole answer.
func (c *contender) exchange(conn io.Writer, in *bufio.Reader, request []byte) (int, error) {
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// closedLoop makes n requests over so many connections, one at a time on each.
func (c *contender) closedLoop(connections, n int, request []byte) {
	c.tb.Helper()
	c.loop(connections, n, func(int) []byte { return request })
}

// loop is closedLoop with requests of its own, by their number.
func (c *contender) loop(connections, n int, request func(i int) []byte) {
	c.tb.Helper()
	var under sync.WaitGroup
	var next atomic.Int64
	for range connections {
		under.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", c.address)
			if err != nil {
				c.tb.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReaderSize(conn, 16<<10)
			for range n / connections {
				if status, err := c.exchange(conn, in, request(int(next.Add(1)-1))); err != nil || status != http.StatusOK {
					c.fault("%s: %d, %v", c.address, status, err)
					return
				}
			}
		})
	}
	under.Wait()
}
