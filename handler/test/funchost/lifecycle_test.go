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

func TestExitZeroIsNeverRestarted(t *testing.T) { // D 40
	h := start(t, app{}, Options{})
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "exit:0"), strings.NewReader("x")))
	bare500(t, response, body)
	if exited := event(t, h, Exited, 1); exited.Code != 0 {
		t.Errorf("exit code %d", exited.Code)
	}
	response, body = get(t, script(h, "echo"))
	bare500(t, response, body)
	if starts := count(h, Started); starts != 1 {
		t.Errorf("%d starts, want 1", starts)
	}
}

func TestExit200IsRestartedWithoutCounting(t *testing.T) { // D 40
	h := start(t, app{}, Options{})
	for n := 1; n <= 4; n++ {
		event(t, h, Ready, n)
		response, body := do(t, newRequest(t, http.MethodPost, script(h, "exit:200"), strings.NewReader("x")))
		bare500(t, response, body)
	}
	event(t, h, Ready, 5)
	if count(h, HostStopped) != 0 {
		t.Errorf("events %v, want the host to go on", h.Events())
	}
}

func TestThirdFailureStopsTheHost(t *testing.T) { // D 40
	h := start(t, app{}, Options{})
	for n := 1; n <= 3; n++ {
		event(t, h, Ready, n)
		h.Kill()
		if exited := event(t, h, Exited, n); exited.Code != 137 {
			t.Errorf("exit code %d, want 137", exited.Code)
		}
	}
	if stopped := event(t, h, HostStopped, 1); !strings.Contains(stopped.Detail, "restart retry count") {
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

func TestCallsThatWaitWhenTheHostStopsGetABare500(t *testing.T) { // D 40
	address, _ := startGate(t)
	h := start(t, app{}, Options{Env: []string{"HOSTTEST_GATE=" + address}})
	var answers []*bufio.Reader
	for range 8 {
		conn, _ := dial(t, h)
		send(t, conn, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
		// The host asks for the body, so the call has begun.
		in := bufio.NewReader(conn)
		if asked, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(asked, "HTTP/1.1 100") {
			t.Fatalf("read %q %v, want a 100", asked, err)
		}
		_, _ = in.ReadString('\n')
		send(t, conn, "x")
		answers = append(answers, in)
	}
	for n := 1; n <= 3; n++ {
		event(t, h, Started, n)
		h.Kill()
	}
	for _, in := range answers {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		bare500(t, response, "")
		response.Body.Close()
	}
}

func TestFailuresFarApartAreForgotten(t *testing.T) { // D 40
	h := start(t, app{}, Options{RestartWindow: time.Nanosecond})
	for n := 1; n <= 4; n++ {
		event(t, h, Ready, n)
		h.Kill()
	}
	event(t, h, Ready, 5)
}

func TestHandlerThatFailsAtOnceStopsTheHost(t *testing.T) { // D 40
	h := start(t, app{}, Options{Env: []string{"HOSTTEST_ACT=exit:7"}})
	event(t, h, HostStopped, 1)
	if exits := count(h, Exited); exits != 3 {
		t.Errorf("%d exits, want 3", exits)
	}
}

func TestRequestsWaitForTheNextProcess(t *testing.T) { // D 7, D 40
	h := start(t, app{}, Options{})
	first := event(t, h, Ready, 1)
	h.Kill()
	event(t, h, Exited, 1)
	if response, _ := get(t, script(h, "status:201")); response.StatusCode != http.StatusCreated {
		t.Errorf("answer %d, want the next process's 201", response.StatusCode)
	}
	if h.HandlerPID() == first.PID {
		t.Error("the process is still the first")
	}
}

func TestStopIsSIGKILL(t *testing.T) { // D 41
	h := start(t, app{}, Options{})
	event(t, h, Ready, 1)
	h.Stop()
	if exited := event(t, h, Exited, 1); exited.Code != 137 {
		t.Errorf("exit code %d, want 137", exited.Code)
	}
	if len(h.Stdout()) != 0 {
		t.Errorf("the handler had a last word: %v", h.Stdout())
	}
}

func TestTerminateLetsTheHandlerFinish(t *testing.T) { // D 41
	h := start(t, app{}, Options{Env: []string{"HOSTTEST_TERM_CODE=9"}})
	event(t, h, Ready, 1)
	if code := h.Terminate(10 * time.Second); code != 9 {
		t.Errorf("exit code %d, want the handler's 9", code)
	}
	line(t, h, "got SIGTERM")
	if count(h, Started) != 1 {
		t.Errorf("events %v, want no second start", h.Events())
	}
}

func TestTerminateEndsWithItsGrace(t *testing.T) { // D 41
	h := start(t, app{}, Options{Env: []string{"HOSTTEST_TERM_CODE=never"}})
	event(t, h, Ready, 1)
	if code := h.Terminate(200 * time.Millisecond); code != 137 {
		t.Errorf("exit code %d, want 137", code)
	}
	line(t, h, "got SIGTERM")
}

func TestExitCodeOfASignalIsTheShells(t *testing.T) { // D 40
	address, _ := startGate(t)
	// Held before it listens, the actor has not asked for the signal, which
	// ends it then: 128 + 15.
	h := start(t, app{}, Options{Env: []string{"HOSTTEST_GATE=" + address}})
	event(t, h, Started, 1)
	if code := h.Terminate(10 * time.Second); code != 143 {
		t.Errorf("exit code %d, want 143", code)
	}
}

func TestCallsGoOnWhileTheHandlerEnds(t *testing.T) { // D 41
	h := start(t, app{}, Options{Env: []string{"HOSTTEST_TERM_CODE=9", "HOSTTEST_TERM_GATE=finish"}})
	heads := begun(t, newRequest(t, http.MethodGet, script(h, "write:a", "flush", "print:working", "wait:more", "write:b", "flush", "wait:end"), nil))
	line(t, h, "working")
	response := <-heads
	defer response.Body.Close()
	code := make(chan int, 1)
	go func() { code <- h.Terminate(10 * time.Second) }()
	line(t, h, "got SIGTERM")
	open(t, h, "more")
	both := make([]byte, 2)
	if _, err := io.ReadFull(response.Body, both); err != nil || string(both) != "ab" {
		t.Errorf("read %q %v after SIGTERM, want ab", both, err)
	}
	// The handler may be gone before it has said that the gate is open.
	if opened, err := http.Get(h.HandlerURL() + "/__open/finish"); err == nil {
		opened.Body.Close()
	}
	if got := <-code; got != 9 {
		t.Errorf("exit code %d, want 9", got)
	}
}

func TestLevelsOfLines(t *testing.T) { // D 42
	h := start(t, app{}, Options{})
	get(t, script(h, `print:{"level":"error"}`, "complain:it is a Warning", "complain:all is well"))
	for text, want := range map[string]Line{
		`"error"`: {Stream: "stdout", Level: Information}, "Warning": {Stream: "stderr", Level: Warning}, "well": {Stream: "stderr", Level: Error},
	} {
		if got := line(t, h, text); got.Level != want.Level || got.Stream != want.Stream {
			t.Errorf("%q is %s on %s, want %s on %s", got.Text, got.Level, got.Stream, want.Level, want.Stream)
		}
	}
	if out, errs := h.Stdout(), h.Stderr(); len(out) != 1 || len(errs) != 2 {
		t.Errorf("%d and %d lines, want 1 and 2", len(out), len(errs))
	}
}

func TestLevelsOfLinesByTheirWords(t *testing.T) { // D 42
	host := strings.Replace(plainHost, `"handler"`, `"handler","useStdErrorStreamForErrorsOnly":false`, 1)
	h := start(t, app{host: host}, Options{})
	get(t, script(h, "complain:all is well", "complain:a Failure"))
	if well, failure := line(t, h, "well"), line(t, h, "Failure"); well.Level != Information || failure.Level != Error {
		t.Errorf("levels %s and %s, want Information and Error", well.Level, failure.Level)
	}
}

func TestFunctionTimeoutOfOneCallKillsAll(t *testing.T) { // D 43
	host := strings.Replace(plainHost, `{"version"`, `{"functionTimeout":"00:00:01","version"`, 1)
	h := start(t, app{host: host}, Options{})
	event(t, h, Ready, 1)
	late := make(chan string, 1)
	go func() {
		response, body := do(t, newRequest(t, http.MethodPost, script(h, "drain", "print:late", "pause:30s"), strings.NewReader("x")))
		late <- fmt.Sprint(response.StatusCode, body)
	}()
	line(t, h, "late")
	get(t, script(h, "pause:500ms"))
	response, body := do(t, newRequest(t, http.MethodPost, script(h, "drain", "pause:30s"), strings.NewReader("x")))
	bare500(t, response, body)
	if got := <-late; got != "500" {
		t.Errorf("the late call got %q, want a bare 500", got)
	}
	event(t, h, Ready, 2)
	if late := count(h, FunctionTimedOut); late != 1 {
		t.Errorf("%d calls timed out, want only the first: the other was taken along", late)
	}
	if count(h, HostStopped) != 0 {
		t.Error("a timeout must not count as a failure")
	}
}

func TestManyCallsAtOnceShareOneProcess(t *testing.T) { // D 44
	h := start(t, app{}, Options{})
	event(t, h, Ready, 1)
	const callers = 100
	var all sync.WaitGroup
	for n := range callers {
		all.Go(func() {
			response, body := get(t, script(h, fmt.Sprintf("print:in %d.", n), "wait:all", "echo"))
			if response.StatusCode != http.StatusOK || echoed(t, body).Hits != callers {
				t.Errorf("caller %d: %d", n, response.StatusCode)
			}
		})
	}
	for n := range callers {
		line(t, h, fmt.Sprintf("in %d.", n))
	}
	open(t, h, "all")
	all.Wait()
}

func TestRunStaysUntilItIsToldOrTheHostGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	root := stage(t, app{})
	err := Run(ctx, Options{Root: root, Env: []string{"HOSTTEST_ACT=serve"}, OnEvent: func(event Event) {
		if event.Kind == Ready {
			cancel()
		}
	}})
	if err != nil {
		t.Errorf("told to stop: %v", err)
	}
	err = Run(context.Background(), Options{Root: root, Env: []string{"HOSTTEST_ACT=exit:1"}})
	if err == nil || !strings.Contains(err.Error(), "restart retry count") {
		t.Errorf("the host gave up with %v", err)
	}
	if err := Run(context.Background(), Options{Root: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "stage the app first") {
		t.Errorf("an empty folder: %v", err)
	}
}
