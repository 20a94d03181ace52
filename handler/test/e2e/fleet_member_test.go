package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// member is one instance of a fleet. It may be killed and started again, then
// on another port, as the platform would.
type member struct {
	t       *testing.T
	n       int
	name    string
	way     *tableProxy
	program string
	env     []string

	address atomic.Value // string, "host:port"
	mu      sync.Mutex
	process *exec.Cmd
	log     memberLog
}

func stagedProgram() string { return filepath.Join(staged, "spillway") }

// start runs the binary and waits until it listens.
func (m *member) start() {
	cmd := exec.Command(m.program)
	cmd.Env = append(append(os.Environ(), "SPILLWAY_LISTEN=127.0.0.1:0", "SPILLWAY_AUTH=none", "SPILLWAY_EXPOSE=true", "SPILLWAY_MAX_WAIT=0",
		"AzureWebJobsStorage=", "FUNCTIONS_CUSTOMHANDLER_PORT=", "GOMAXPROCS=2"), m.env...)
	listening := m.log.expect()
	m.log.keep(m.t)
	cmd.Stdout, cmd.Stderr = &m.log, &m.log
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := cmd.Start(); err != nil {
		m.t.Error(err)
		return
	}
	if m.process == nil {
		m.t.Cleanup(m.kill)
	}
	m.process = cmd
	select {
	case address := <-listening:
		m.address.Store(address)
	case <-time.After(60 * time.Second):
		m.t.Errorf("%s does not listen; it said: %s", m.name, m.log.troubles())
	}
}

// kill ends it as the platform does: at once, with SIGKILL.
func (m *member) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.process.Process.Kill()
	_ = m.process.Wait()
}

func (m *member) url(path string) string { return "http://" + m.address.Load().(string) + path }

// memberLog is what an instance wrote, as far as the tests want to know.
type memberLog struct {
	mu        sync.Mutex
	kept      *os.File // all of it; nil = it is not kept
	part      []byte
	listening chan string
	probes    map[string][]string // request id → backends that it was the fleet's probe of
	trouble   []string
	hedges    int
	adopted   map[int]time.Time // by version of the configuration: when it was
	wasted    int64             // tokens of attempts that were of no use
}

// logLine is one line of the program.
type logLine struct {
	Time     time.Time `json:"time"`
	Msg      string    `json:"msg"`
	Version  int       `json:"version"` // of the configuration
	Level    string    `json:"level"`
	Address  string    `json:"address"`
	ID       string    `json:"request_id"`
	Attempts []struct {
		Backend string `json:"backend"`
		Probe   bool   `json:"probe"`
		Hedge   bool   `json:"hedge"`
		Wasted  int64  `json:"wasted_tokens"`
	} `json:"attempts"`
}

// expect receives the address once it is listened on.
func (l *memberLog) expect() <-chan string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listening, l.part = make(chan string, 1), nil
	return l.listening
}

// keep has all lines added to a file of the test's name in the folder SPILLWAY_LINES.
func (l *memberLog) keep(t *testing.T) {
	folder := os.Getenv("SPILLWAY_LINES")
	if folder == "" || l.kept != nil {
		return
	}
	file, err := os.OpenFile(filepath.Join(folder, filepath.Base(t.Name())+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l.kept = file
}

func (l *memberLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept != nil {
		_, _ = l.kept.Write(p)
	}
	l.part = append(l.part, p...)
	for {
		line, rest, ok := bytes.Cut(l.part, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.write(line)
		l.part = rest
	}
}

func (l *memberLog) write(text []byte) {
	request := bytes.Contains(text, []byte(`"msg":"request"`))
	if request && !slices.ContainsFunc([]string{`"probe":true`, `"hedge":true`, `"ERROR"`}, func(part string) bool { return bytes.Contains(text, []byte(part)) }) {
		return
	}
	var line logLine
	if err := json.Unmarshal(text, &line); err != nil || line.Level == "ERROR" {
		l.trouble = append(l.trouble[max(0, len(l.trouble)-9):], string(text))
	}
	if line.Msg == "listening" {
		l.listening <- line.Address
	}
	if line.Msg == "configuration adopted" {
		if l.adopted == nil {
			l.adopted = map[int]time.Time{}
		}
		l.adopted[line.Version] = line.Time
	}
	for _, a := range line.Attempts {
		l.wasted += a.Wasted
		if a.Hedge {
			l.hedges++
		}
		if a.Probe {
			if l.probes == nil {
				l.probes = map[string][]string{}
			}
			l.probes[line.ID] = append(l.probes[line.ID], a.Backend)
		}
	}
}

func (l *memberLog) troubles() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.trouble, "\n")
}

// sample is one request and what became of it.
type sample struct {
	member  *member
	sent    time.Time
	took    time.Duration
	status  int
	backend string
	id      string
	err     error

	retryAfter, body string
}

func (s *sample) ok() bool { return s.err == nil && s.status == http.StatusOK }

// teamKey is a caller's, for fleets that ask for one.
const teamKey = "key-of-the-team-of-the-fleet"

// send requests a completion from the instance.
func (m *member) send() sample { return m.sendUnder(m.t.Context()) }

// sendWithin is send by a caller that waits no longer than so, and says so.
func (m *member) sendWithin(patience time.Duration) sample {
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	return m.sendUnder(ctx, "x-stainless-timeout", strconv.FormatFloat(patience.Seconds(), 'f', -1, 64))
}

func (m *member) sendUnder(ctx context.Context, header ...string) sample {
	s := sample{member: m, sent: time.Now()}
	a := ask(ctx, m.t, http.MethodPost, m.url(chatPath), hello, append(header, "api-key", teamKey)...)
	s.took, s.status, s.err, s.backend, s.id = time.Since(s.sent), a.status, a.err, a.backend(), a.header.Get("X-Request-Id")
	if s.status != http.StatusOK {
		s.retryAfter, s.body = a.header.Get("Retry-After"), a.body
	}
	return s
}
