package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

// startSpillway starts the staged binary with everything on that a request may
// cost: a consumer with a key, limits and a budget, prices, metrics, and the log
// to a file. state is the connection string of the table; "" = memory.
func startSpillway(tb testing.TB, backend, state string) *contender {
	tb.Helper()
	address := freeAddress(tb)
	cmd := exec.Command(filepath.Join(staged, "spillway"))
	const limits = `"tokensPerMinute":1000000000000,"requestsPerMinute":1000000000,"tokensPerMonth":1000000000000000,"budgetPerMonth":1000000000`
	document := fmt.Sprintf(`{"backends":[{"name":"a","endpoint":%q,"deployments":["gpt-4o"],"auth":{"mode":"api-key","setting":"BENCH_KEY"}}],
		"consumers":[{"name":"team","keySetting":"TEAM_KEY",%s}],"models":{"gpt-4o":{"price":{"currency":"USD","input":2.5,"output":10}}}}`, backend, limits)
	cmd.Env = append(os.Environ(), "SPILLWAY_LISTEN="+address, "SPILLWAY_CONFIG="+document, "BENCH_KEY=key-of-the-backend", "TEAM_KEY=key-of-the-bench-team",
		"SPILLWAY_AUTH=key", "SPILLWAY_STATE="+state, "AzureWebJobsStorage=", "FUNCTIONS_CUSTOMHANDLER_PORT=")
	return launch(tb, cmd, address)
}

func startReverseProxy(tb testing.TB, backend string) *contender {
	tb.Helper()
	address := freeAddress(tb)
	c := launch(tb, exec.Command(reverseProxy(tb), address, backend), address)
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
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for time.Since(began) < 10*time.Second {
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
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", c.command.Process.Pid))
	if err != nil || len(stats) == 0 {
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

const benchHead = "POST /openai/v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer key-of-the-bench-team\r\nUser-Agent: OpenAI/Python 3.3.1\r\n" +
	"Accept: application/json\r\nX-Stainless-Lang: python\r\nX-Stainless-Retry-Count: 0\r\n"

func benchRequest(body string) []byte {
	return fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", benchHead, len(body), body)
}

// plainRequest is a request of about size bytes, the prompt ahead of the model
// as openai-python sends it.
func plainRequest(size int) []byte {
	return benchRequest(`{"messages":[{"role":"user","content":"` + strings.Repeat("lorem ip", size/8) + `"}],"model":"gpt-4o","max_tokens":200}`)
}

func streamRequest() []byte {
	return benchRequest(`{"stream":true,"model":"gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat("lorem ip", 120) + `"}]}`)
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
	var under sync.WaitGroup
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
				if status, err := c.exchange(conn, in, request); err != nil || status != http.StatusOK {
					c.fault("%s: %d, %v", filepath.Base(c.command.Path), status, err)
					return
				}
			}
		})
	}
	under.Wait()
}
