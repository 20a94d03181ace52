package funchost

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestExitZeroIsNeverRestarted(t *testing.T) {
	h := start(t, app{}, Options{sleep: new(delays).sleep})
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "exit:0"), strings.NewReader("x")))
	wantEmpty500(t, response, body)
	if exited := waitEvent(t, h, Exited, 1); exited.Code != 0 {
		t.Errorf("exit code %d", exited.Code)
	}
	response, body = get(t, script(h, "echo"))
	wantEmpty500(t, response, body)
	if starts := count(h, Started); starts != 1 {
		t.Errorf("%d starts, want 1", starts)
	}
}

func TestExit200IsRestartedWithoutCounting(t *testing.T) {
	h := start(t, app{}, Options{sleep: new(delays).sleep})
	for n := 1; n <= 4; n++ {
		waitEvent(t, h, Ready, n)
		response, body := do(t, newRequest(t, http.MethodPost, script(h, "exit:200"), strings.NewReader("x")))
		wantEmpty500(t, response, body)
	}
	waitEvent(t, h, Ready, 5)
	if count(h, HostStopped) != 0 {
		t.Errorf("events %v, want the host to go on", h.Events())
	}
}

func TestThirdFailureStopsTheHost(t *testing.T) {
	h := start(t, app{}, Options{})
	for n := 1; n <= 3; n++ {
		waitEvent(t, h, Ready, n)
		h.Kill()
		if exited := waitEvent(t, h, Exited, n); exited.Code != 137 {
			t.Errorf("exit code %d, want 137", exited.Code)
		}
	}
	if stopped := waitEvent(t, h, HostStopped, 1); !strings.Contains(stopped.Detail, "restart retry count") {
		t.Errorf("stopped by %q", stopped.Detail)
	}
	h.Stop()
	if _, err := client().Get(h.URL); err == nil {
		t.Error("the host still listens")
	}
	if starts := count(h, Started); starts != 3 {
		t.Errorf("%d starts, want 3", starts)
	}
}

func TestHeldCallsGet500WhenTheHostStops(t *testing.T) {
	address, _ := startLatch(t)
	h := start(t, app{}, Options{Env: []string{"FUNCHOST_START_LATCH=" + address}})
	var responses []*bufio.Reader
	for range 8 {
		conn, _ := dialHost(t, h)
		writeConn(t, conn, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
		// The 100 shows that the call has begun.
		in := bufio.NewReader(conn)
		if asked, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(asked, "HTTP/1.1 100") {
			t.Fatalf("read %q %v, want a 100", asked, err)
		}
		_, _ = in.ReadString('\n')
		writeConn(t, conn, "x")
		responses = append(responses, in)
	}
	for n := 1; n <= 3; n++ {
		waitEvent(t, h, Started, n)
		h.Kill()
	}
	for _, in := range responses {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantEmpty500(t, response, "")
		response.Body.Close()
	}
}

func TestFailuresOutsideTheWindowAreNotCounted(t *testing.T) {
	h := start(t, app{}, Options{RestartWindow: time.Nanosecond})
	for n := 1; n <= 4; n++ {
		waitEvent(t, h, Ready, n)
		h.Kill()
	}
	waitEvent(t, h, Ready, 5)
}

func TestHandlerThatFailsAtOnceStopsTheHost(t *testing.T) {
	h := start(t, app{}, Options{Env: []string{"FUNCHOST_ACT=exit:7"}})
	waitEvent(t, h, HostStopped, 1)
	if exits := count(h, Exited); exits != 3 {
		t.Errorf("%d exits, want 3", exits)
	}
}

func TestRequestsWaitForTheNextProcess(t *testing.T) {
	h := start(t, app{}, Options{})
	first := waitEvent(t, h, Ready, 1)
	h.Kill()
	waitEvent(t, h, Exited, 1)
	if response, _ := get(t, script(h, "status:201")); response.StatusCode != http.StatusCreated {
		t.Errorf("response %d, want the next process's 201", response.StatusCode)
	}
	if h.HandlerPID() == first.PID {
		t.Error("the process is still the first")
	}
}

func TestStopIsSIGKILL(t *testing.T) {
	h := start(t, app{}, Options{})
	waitEvent(t, h, Ready, 1)
	h.Stop()
	if exited := waitEvent(t, h, Exited, 1); exited.Code != 137 {
		t.Errorf("exit code %d, want 137", exited.Code)
	}
	if len(h.Stdout()) != 0 {
		t.Errorf("the handler was warned: %v", h.Stdout())
	}
}

func TestTerminateLetsTheHandlerFinish(t *testing.T) {
	h := start(t, app{}, Options{Env: []string{"FUNCHOST_TERM_CODE=9"}})
	waitEvent(t, h, Ready, 1)
	if code := h.Terminate(10 * time.Second); code != 9 {
		t.Errorf("exit code %d, want the handler's 9", code)
	}
	waitLine(t, h, "got SIGTERM")
	if count(h, Started) != 1 {
		t.Errorf("events %v, want no second start", h.Events())
	}
}

func TestTerminateKillsAfterGrace(t *testing.T) {
	h := start(t, app{}, Options{Env: []string{"FUNCHOST_TERM_CODE=never"}})
	waitEvent(t, h, Ready, 1)
	if code := h.Terminate(200 * time.Millisecond); code != 137 {
		t.Errorf("exit code %d, want 137", code)
	}
	waitLine(t, h, "got SIGTERM")
}

func TestExitCodeOfASignal(t *testing.T) {
	address, _ := startLatch(t)
	// Held before it listens, the actor does not handle the signal, which ends it:
	// 128 + 15.
	h := start(t, app{}, Options{Env: []string{"FUNCHOST_START_LATCH=" + address}})
	waitEvent(t, h, Started, 1)
	if code := h.Terminate(10 * time.Second); code != 143 {
		t.Errorf("exit code %d, want 143", code)
	}
}

func TestCallsContinueDuringTermination(t *testing.T) {
	h := start(t, app{}, Options{Env: []string{"FUNCHOST_TERM_CODE=9", "FUNCHOST_TERM_LATCH=finish"}})
	heads := startRequest(t, newRequest(t, http.MethodGet, script(h, "write:a", "flush", "print:working", "wait:more", "write:b", "flush", "wait:end"), nil))
	waitLine(t, h, "working")
	response := <-heads
	defer response.Body.Close()
	code := make(chan int, 1)
	go func() { code <- h.Terminate(10 * time.Second) }()
	waitLine(t, h, "got SIGTERM")
	release(t, h, "more")
	both := make([]byte, 2)
	if _, err := io.ReadFull(response.Body, both); err != nil || string(both) != "ab" {
		t.Errorf("read %q %v after SIGTERM, want ab", both, err)
	}
	// The handler may end before it has responded.
	if opened, err := http.Get(h.HandlerURL() + "/__release/finish"); err == nil {
		opened.Body.Close()
	}
	if got := <-code; got != 9 {
		t.Errorf("exit code %d, want 9", got)
	}
}

func TestLevelsOfLines(t *testing.T) {
	h := start(t, app{}, Options{})
	get(t, script(h, `print:{"level":"error"}`, "complain:it is a Warning", "complain:all is well"))
	for text, want := range map[string]Line{
		`"error"`: {Stream: "stdout", Level: Information}, "Warning": {Stream: "stderr", Level: Warning}, "well": {Stream: "stderr", Level: Error},
	} {
		if got := waitLine(t, h, text); got.Level != want.Level || got.Stream != want.Stream {
			t.Errorf("%q is %s on %s, want %s on %s", got.Text, got.Level, got.Stream, want.Level, want.Stream)
		}
	}
	if out, errs := h.Stdout(), h.Stderr(); len(out) != 1 || len(errs) != 2 {
		t.Errorf("%d and %d lines, want 1 and 2", len(out), len(errs))
	}
}

func TestLevelsOfLinesByTheirWords(t *testing.T) {
	host := strings.Replace(plainHost, `"handler"`, `"handler","useStdErrorStreamForErrorsOnly":false`, 1)
	h := start(t, app{host: host}, Options{})
	get(t, script(h, "complain:all is well", "complain:a Failure"))
	if well, failure := waitLine(t, h, "well"), waitLine(t, h, "Failure"); well.Level != Information || failure.Level != Error {
		t.Errorf("levels %s and %s, want Information and Error", well.Level, failure.Level)
	}
}

func TestFunctionTimeoutKillsTheProcessAfterGrace(t *testing.T) {
	graceOver := make(chan struct{})
	host := strings.Replace(plainHost, `{"version"`, `{"functionTimeout":"00:00:00.05","version"`, 1)
	h := start(t, app{host: host}, Options{sleep: func(ctx context.Context, delay time.Duration) error {
		if delay != 2*time.Second {
			return sleep(ctx, delay)
		}
		select {
		case <-graceOver:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}})
	waitEvent(t, h, Ready, 1)
	cut := make(chan string, 2)
	for _, name := range []string{"first", "second"} {
		go func() {
			response, body := do(t, newRequest(t, http.MethodPost, script(h, "drain", "print:"+name, "wait:never"), strings.NewReader("x")))
			cut <- fmt.Sprint(response.StatusCode, body)
		}()
		waitLine(t, h, name)
	}
	waitEvent(t, h, FunctionTimedOut, 1)
	if response, _ := get(t, script(h, "status:201")); response.StatusCode != http.StatusCreated {
		t.Errorf("response %d within the grace, want 201", response.StatusCode)
	}
	close(graceOver)
	for range 2 {
		if got := <-cut; got != "500" {
			t.Errorf("a call got %q, want 500 with no body", got)
		}
	}
	waitEvent(t, h, Ready, 2)
	if count(h, HostStopped) != 0 {
		t.Error("a timeout counted as a failure")
	}
}

func TestCallThatEndsWithinTheGraceKillsNothing(t *testing.T) {
	h := start(t, app{}, Options{FunctionTimeout: 50 * time.Millisecond, TimeoutGrace: time.Minute})
	waitEvent(t, h, Ready, 1)
	heads := startRequest(t, newRequest(t, http.MethodGet, script(h, "print:begun", "wait:late", "status:201"), nil))
	waitLine(t, h, "begun")
	waitEvent(t, h, FunctionTimedOut, 1)
	release(t, h, "late")
	response := <-heads
	response.Body.Close()
	if response.StatusCode != http.StatusCreated || count(h, Exited) != 0 {
		t.Errorf("response %d, events %v, want 201 from the same process", response.StatusCode, h.Events())
	}
}

func TestManyCallsAtOnceShareOneProcess(t *testing.T) {
	h := start(t, app{}, Options{})
	waitEvent(t, h, Ready, 1)
	const clients = 100
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			response, body := get(t, script(h, fmt.Sprintf("print:in %d.", n), "wait:all", "echo"))
			if response.StatusCode != http.StatusOK || echoed(t, body).Hits != clients {
				t.Errorf("client %d: %d", n, response.StatusCode)
			}
		})
	}
	for n := range clients {
		waitLine(t, h, fmt.Sprintf("in %d.", n))
	}
	release(t, h, "all")
	all.Wait()
}

func TestRunEndsWithContextOrHost(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	root := stage(t, app{})
	err := Run(ctx, Options{Root: root, Env: []string{"FUNCHOST_ACT=serve"}, OnEvent: func(event Event) {
		if event.Kind == Ready {
			cancel()
		}
	}})
	if err != nil {
		t.Errorf("context ended: %v", err)
	}
	err = Run(context.Background(), Options{Root: root, Env: []string{"FUNCHOST_ACT=exit:1"}})
	if err == nil || !strings.Contains(err.Error(), "restart retry count") {
		t.Errorf("the host stopped with %v", err)
	}
	if err := Run(context.Background(), Options{Root: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "stage the app first") {
		t.Errorf("an empty folder: %v", err)
	}
}
