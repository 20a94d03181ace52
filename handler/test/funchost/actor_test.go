package funchost

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary its own handler: the host double starts it
// again with HOSTTEST_ACT set, and it then acts instead of testing.
func TestMain(m *testing.M) {
	if os.Getenv("HOSTTEST_ACT") != "" {
		act()
		return
	}
	os.Exit(m.Run())
}

// actor is a handler that does what each request's script says, so that a test
// can be read in one place. A script is a list of steps: "word:argument|…".
type actor struct {
	mu    sync.Mutex
	gates map[string]chan struct{}
	hits  int
	serve func() // listens anew on the same port
	close func()
}

// report is what the step "echo" tells about the process and the request.
type report struct {
	Args   []string
	Dir    string
	Env    map[string]string
	Method string
	Target string
	Host   string
	Header http.Header
	Length int64
	Coding []string
	Body   string
	Hits   int
}

func act() {
	if code, found := strings.CutPrefix(os.Getenv("HOSTTEST_ACT"), "exit:"); found {
		number, _ := strconv.Atoi(code)
		os.Exit(number)
	}
	if gate := os.Getenv("HOSTTEST_GATE"); gate != "" {
		awaitGate(gate)
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	a := &actor{gates: map[string]chan struct{}{}}
	address := "127.0.0.1:" + os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT")
	a.serve = func() {
		listener, err := net.Listen("tcp4", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, "listen:", err)
			os.Exit(1)
		}
		a.close = func() { listener.Close() }
		go func() { _ = http.Serve(listener, a) }()
	}
	a.serve()
	<-terminated
	fmt.Println("got SIGTERM")
	if gate := os.Getenv("HOSTTEST_TERM_GATE"); gate != "" {
		<-a.gate(gate)
	}
	code, err := strconv.Atoi(os.Getenv("HOSTTEST_TERM_CODE"))
	if err != nil { // It will not end by itself.
		<-terminated
	}
	os.Exit(code)
}

// awaitGate blocks until the test lets go of a connection it accepted.
func awaitGate(address string) {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// gate is the gate of a name; whoever asks first makes it.
func (a *actor) gate(name string) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gates[name] == nil {
		a.gates[name] = make(chan struct{})
	}
	return a.gates[name]
}

func (a *actor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, found := strings.CutPrefix(r.URL.Path, "/__open/"); found {
		close(a.gate(name))
		return
	}
	script := r.URL.Query().Get("script")
	if r.URL.Path == "/" && script == "" {
		script = os.Getenv("HOSTTEST_PING")
	} else if script != "" { // what a stranger wants, who knew this port from before, is no hit
		a.mu.Lock()
		a.hits++
		a.mu.Unlock()
	}
	for step := range strings.SplitSeq(script, "|") {
		word, argument, _ := strings.Cut(step, ":")
		a.step(w, r, word, argument)
	}
}

// step does one step of a script.
func (a *actor) step(w http.ResponseWriter, r *http.Request, word, argument string) {
	number, _ := strconv.Atoi(argument)
	length, _ := time.ParseDuration(argument)
	name, value, _ := strings.Cut(argument, "=")
	switch word {
	case "echo":
		_ = json.NewEncoder(w).Encode(a.report(r))
	case "status":
		w.WriteHeader(number)
	case "header":
		w.Header().Add(name, value)
	case "write":
		_, _ = io.WriteString(w, argument)
	case "flush":
		w.(http.Flusher).Flush()
	case "wait":
		<-a.gate(argument)
	case "pause":
		time.Sleep(length)
	case "print":
		fmt.Println(argument)
	case "complain":
		fmt.Fprintln(os.Stderr, argument)
	case "cancelled":
		<-r.Context().Done()
		fmt.Println("cancelled")
	case "read":
		n, err := io.CopyN(io.Discard, r.Body, int64(number))
		fmt.Println("read", n, err)
	case "drain":
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Println("drained", n, err)
	case "exit":
		os.Exit(number)
	default:
		a.misbehave(w, word, number, length)
	}
}

// misbehave does the steps that no good handler does.
func (a *actor) misbehave(w http.ResponseWriter, word string, number int, length time.Duration) {
	switch word {
	case "abort":
		panic(http.ErrAbortHandler)
	case "flood": // write until nobody takes it any more
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	case "slam": // close without an answer, as long as there were few requests
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.hits < number || number == 0 {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
			panic(http.ErrAbortHandler)
		}
	case "away": // stop listening for a while
		a.close()
		time.AfterFunc(length, a.serve)
	}
}

func (a *actor) report(r *http.Request) report {
	body, _ := io.ReadAll(r.Body)
	dir, _ := os.Getwd()
	env := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return report{
		Args: os.Args[1:], Dir: dir, Env: env, Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header,
		Length: r.ContentLength, Coding: r.TransferEncoding, Body: string(body), Hits: a.hits,
	}
}
