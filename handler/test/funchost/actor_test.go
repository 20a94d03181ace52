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

// TestMain makes the test binary its own handler: the host starts it again with
// FUNCHOST_ACT set, and it then serves as a handler.
func TestMain(m *testing.M) {
	if os.Getenv("FUNCHOST_ACT") != "" {
		runActor()
		return
	}
	os.Exit(m.Run())
}

// actor is a handler that runs each request's script: a list of steps,
// "name:argument|…".
type actor struct {
	mu      sync.Mutex
	latches map[string]chan struct{}
	hits    int
	conns   int
	serve   func() // listens again on the same port
	close   func()
}

// report is the response of the step "echo": the process and the request.
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
	Hits   int // requests with a script so far
	Conns  int // connections accepted so far
}

func runActor() {
	if code, found := strings.CutPrefix(os.Getenv("FUNCHOST_ACT"), "exit:"); found {
		number, _ := strconv.Atoi(code)
		os.Exit(number)
	}
	if address := os.Getenv("FUNCHOST_START_LATCH"); address != "" {
		awaitLatch(address)
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	a := &actor{latches: map[string]chan struct{}{}}
	address := "127.0.0.1:" + os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT")
	a.serve = func() {
		listener, err := net.Listen("tcp4", address)
		if err != nil {
			fmt.Fprintln(os.Stderr, "listen:", err)
			os.Exit(1)
		}
		a.close = func() { listener.Close() }
		server := &http.Server{Handler: a, ReadHeaderTimeout: time.Minute, ConnState: a.count}
		go func() { _ = server.Serve(listener) }()
	}
	a.serve()
	<-terminated
	fmt.Println("got SIGTERM")
	if name := os.Getenv("FUNCHOST_TERM_LATCH"); name != "" {
		<-a.latch(name)
	}
	code, err := strconv.Atoi(os.Getenv("FUNCHOST_TERM_CODE"))
	if err != nil { // it does not end by itself
		<-terminated
	}
	os.Exit(code)
}

// awaitLatch blocks until the test closes the connection that it accepted.
func awaitLatch(address string) {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// count counts connections.
func (a *actor) count(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		a.mu.Lock()
		a.conns++
		a.mu.Unlock()
	}
}

// latch is the latch of a name; the first use makes it.
func (a *actor) latch(name string) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.latches[name] == nil {
		a.latches[name] = make(chan struct{})
	}
	return a.latches[name]
}

func (a *actor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, found := strings.CutPrefix(r.URL.Path, "/__release/"); found {
		close(a.latch(name))
		return
	}
	script := r.URL.Query().Get("script")
	if r.URL.Path == "/" && script == "" {
		script = os.Getenv("FUNCHOST_PING")
	} else if script != "" { // requests of others, meant for an earlier owner of the port, do not count
		a.mu.Lock()
		a.hits++
		a.mu.Unlock()
	}
	for step := range strings.SplitSeq(script, "|") {
		kind, argument, _ := strings.Cut(step, ":")
		a.step(w, r, kind, argument)
	}
}

// step runs one step of a script.
func (a *actor) step(w http.ResponseWriter, r *http.Request, kind, argument string) {
	number, _ := strconv.Atoi(argument)
	length, _ := time.ParseDuration(argument)
	name, value, _ := strings.Cut(argument, "=")
	switch kind {
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
		<-a.latch(argument)
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
		a.fault(w, kind, number, length)
	}
}

// fault runs the steps that a correct handler never does.
func (a *actor) fault(w http.ResponseWriter, kind string, number int, length time.Duration) {
	switch kind {
	case "abort":
		panic(http.ErrAbortHandler)
	case "flood": // write until a write fails
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	case "large-header": // 65 KiB
		w.Header().Set("X-Large", strings.Repeat("x", 65<<10))
	case "drop": // close without a response, for the first requests, or for all
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.hits < number || number == 0 {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
			panic(http.ErrAbortHandler)
		}
	case "unlisten": // for a while
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
		Length: r.ContentLength, Coding: r.TransferEncoding, Body: string(body), Hits: a.hits, Conns: a.conns,
	}
}
