package funchost

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestArgumentsEnvironmentAndWorkingDirectory(t *testing.T) {
	host := strings.Replace(plainHost, `"handler"`,
		`"handler","workingDirectory":"work","arguments":["--port","%FUNCTIONS_CUSTOMHANDLER_PORT%","two words","%UNSET_BY_ANYONE%","--home=%FUNCHOST_HOME%"]`, 1)
	root := stage(t, app{host: host})
	if err := os.Mkdir(filepath.Join(root, "work"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FUNCHOST_OF_PARENT", "kept")
	h := Start(t, Options{Root: root, Env: []string{"FUNCHOST_ACT=serve", "FUNCHOST_HOME=here"}})
	_, body := get(t, script(h, "echo"))
	seen := echoed(t, body)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(h.HandlerURL(), "http://"))
	want := []string{"--port", port, "two", "words", "--home=here"}
	if strings.Join(seen.Args, "\n") != strings.Join(want, "\n") {
		t.Errorf("arguments %q, want %q", seen.Args, want)
	}
	work, err := filepath.EvalSymlinks(filepath.Join(root, "work"))
	if err != nil || seen.Dir != work {
		t.Errorf("runs in %q, want %q (%v)", seen.Dir, work, err)
	}
	for name, value := range map[string]string{
		"FUNCTIONS_CUSTOMHANDLER_PORT": port, "FUNCTIONS_HTTPWORKER_PORT": port, "FUNCTIONS_APP_ROOT_PATH": root,
		"FUNCHOST_OF_PARENT": "kept", "FUNCTIONS_HTTPWORKER_ID": seen.Env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"],
	} {
		if seen.Env[name] != value || value == "" {
			t.Errorf("%s=%q, want %q", name, seen.Env[name], value)
		}
	}
}

func TestWorkingDirectoryDefaultsToTheRoot(t *testing.T) {
	h := start(t, app{}, Options{})
	_, body := get(t, script(h, "echo"))
	root, err := filepath.EvalSymlinks(h.options.Root)
	if seen := echoed(t, body); err != nil || seen.Dir != root || len(seen.Args) != 0 {
		t.Errorf("runs in %q with %q, want %q with nothing (%v)", seen.Dir, seen.Args, root, err)
	}
}

func TestProgramIsLookedForOnPath(t *testing.T) {
	elsewhere := t.TempDir()
	copyProgram(t, filepath.Join(elsewhere, "handler"))
	t.Setenv("PATH", elsewhere+string(os.PathListSeparator)+os.Getenv("PATH"))
	h := start(t, app{bare: true}, Options{})
	if response, _ := get(t, script(h, "status:204")); response.StatusCode != http.StatusNoContent {
		t.Errorf("response %d, want 204", response.StatusCode)
	}
}

func TestHostJSONThatStartsNothingIsRefused(t *testing.T) {
	for name, test := range map[string]struct{ host, want string }{
		"no custom handler": {`{"version":"2.0"}`, "no customHandler"},
		"no description":    {`{"customHandler":{"enableProxyingHttpRequest":true}}`, "Missing worker Description"},
		"empty path":        {strings.Replace(plainHost, `"handler"`, `""`, 1), "defaultExecutablePath is empty"},
		"json envelope":     {strings.Replace(plainHost, `true`, `false`, 1), "JSON envelope"},
		"no json":           {`{`, "read host.json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(Options{Root: stage(t, app{host: test.host, bare: true})})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestProgramWithoutExecuteBitHangsUntilTheHostStops(t *testing.T) {
	root := stage(t, app{bare: true})
	writeFile(t, filepath.Join(root, "handler"), "not executable")
	h := Start(t, Options{Root: root, ReadyTimeout: 50 * time.Millisecond})
	response, body := get(t, script(h, "echo"))
	wantEmpty500(t, response, body)
	waitEvent(t, h, StartFailed, 1)
	waitEvent(t, h, HostStopped, 1)
	if h.HandlerPID() != 0 || count(h, StartFailed) != 1 {
		t.Errorf("events %v, want one failed start and no process", h.Events())
	}
}

func count(h *Host, kind Kind) int {
	n := 0
	for _, e := range h.Events() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func TestEachStartGetsItsOwnPortUnlessOneIsFixed(t *testing.T) {
	h := start(t, app{}, Options{})
	first := waitEvent(t, h, Ready, 1)
	h.Restart()
	if second := waitEvent(t, h, Ready, 2); second.Port == first.Port || second.PID == first.PID {
		t.Errorf("second start has port %d pid %d, as the first", second.Port, second.PID)
	}

	port, err := freePort(0)
	if err != nil {
		t.Fatal(err)
	}
	host := strings.Replace(plainHost, `"customHandler":{`, `"customHandler":{"port":`+strconv.Itoa(port)+`,`, 1)
	fixed := start(t, app{host: host}, Options{})
	waitEvent(t, fixed, Ready, 1)
	fixed.Restart()
	if second := waitEvent(t, fixed, Ready, 2); second.Port != port {
		t.Errorf("second start has port %d, want the fixed %d", second.Port, port)
	}
}

func TestAnyStatusMeansReadyAndThePingIsPlain(t *testing.T) {
	h := start(t, app{}, Options{Env: []string{"FUNCHOST_PING=status:500|write:no"}})
	waitEvent(t, h, Ready, 1)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	seen := make(chan *http.Request, 1)
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r }))
	}()
	if err := h.awaitReady(testContext(t), listener.Addr().(*net.TCPAddr).Port); err != nil {
		t.Fatal(err)
	}
	if r := <-seen; r.Method != http.MethodGet || r.RequestURI != "/" || len(r.Header) > 1 { // the ping adds Connection only
		t.Errorf("ping is %s %s %v, want a bare GET /", r.Method, r.RequestURI, r.Header)
	}
}

func TestPingIsReadToItsEnd(t *testing.T) {
	h := start(t, app{}, Options{Env: []string{"FUNCHOST_PING=write:a|flush|print:pinged|wait:end|write:b"}})
	waitLine(t, h, "pinged")
	short, cancel := context.WithTimeout(context.Background(), quiet)
	defer cancel()
	if _, err := h.WaitEvent(short, Ready, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ready before the ping's response ended (%v)", err)
	}
	release(t, h, "end")
	waitEvent(t, h, Ready, 1)
}

func TestHandlerThatNeverListensStopsTheHost(t *testing.T) {
	address, _ := startLatch(t)
	h := start(t, app{}, Options{ReadyTimeout: 300 * time.Millisecond, Env: []string{"FUNCHOST_START_LATCH=" + address}})
	waitEvent(t, h, HostStopped, 1)
	if timeouts, starts := count(h, ReadyTimedOut), count(h, Started); timeouts != 3 || starts != 3 {
		t.Errorf("%d starts and %d timeouts, want 3 and 3", starts, timeouts)
	}
}

// startLatch holds a handler before it listens, until open is called.
func startLatch(t *testing.T) (address string, open func()) {
	t.Helper()
	at, held := acceptAll(t)
	return at.String(), func() { (<-held).Close() }
}

func TestRequestsAreHeldUntilReady(t *testing.T) {
	address, release := startLatch(t)
	h := start(t, app{}, Options{Env: []string{"FUNCHOST_START_LATCH=" + address}})
	statuses := make(chan int, 1)
	go func() {
		response, err := client().Get(script(h, "status:201"))
		if err != nil {
			t.Error(err)
			statuses <- 0
			return
		}
		response.Body.Close()
		statuses <- response.StatusCode
	}()
	select {
	case status := <-statuses:
		t.Fatalf("response %d before the handler was ready", status)
	case <-time.After(quiet):
	}
	release()
	if status := <-statuses; status != http.StatusCreated {
		t.Errorf("response %d, want 201", status)
	}
}

func TestAppWithoutFunctionsStartsNoProcess(t *testing.T) {
	h := start(t, app{functions: map[string]string{}}, Options{})
	response, _ := get(t, h.URL+"/anything")
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("response %d, want 404", response.StatusCode)
	}
	if home, body := get(t, h.URL+"/"); home.StatusCode != http.StatusOK || !strings.Contains(body, "up and running") {
		t.Errorf("home page is %d %q", home.StatusCode, body)
	}
	h.Stop()
	if count(h, Started) != 0 {
		t.Errorf("events %v, want no start", h.Events())
	}
}

func TestPortThatIsTakenIsAnError(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, err = Open(Options{Root: stage(t, app{bare: true}), Port: listener.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "listen as host") {
		t.Errorf("error %v", err)
	}
}
