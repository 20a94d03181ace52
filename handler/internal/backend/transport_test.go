package backend_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spillway/handler/internal/backend"
)

// fakeNetwork dials connections in memory, whose servers answer every request.
type fakeNetwork struct{ dials, closed atomic.Int32 }

func (n *fakeNetwork) dial(context.Context, string, string) (net.Conn, error) {
	n.dials.Add(1)
	ours, theirs := net.Pipe()
	go func() {
		defer n.closed.Add(1)
		for r := bufio.NewReader(theirs); ; {
			if _, err := readRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(theirs, ok); err != nil {
				return
			}
		}
	}()
	return ours, nil
}

// A name is resolved when a connection is made, so a change of DNS is seen when
// a busy connection is not kept for ever.
func TestConnectionsAreRenewedAtTheirMaximumAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(fakeNetwork)
		client := newClient(t, "http://backend.example")
		connect(t, client.Targets[0], backend.TransportOptions{MaxAge: 10 * time.Minute, DialContext: network.dial})
		request := func() {
			t.Helper()
			res, outcome := send(t, client, newBackend(), newRequest())
			readAll(t, res, outcome)
		}
		for range 17 { // for 8 minutes: the age varies by a tenth
			request()
			time.Sleep(30 * time.Second)
		}
		if n := network.dials.Load(); n != 1 {
			t.Errorf("%d connections in 8 minutes, want 1", n)
		}
		time.Sleep(90 * time.Second)
		request()
		synctest.Wait()
		if dials, closed := network.dials.Load(), network.closed.Load(); dials != 2 || closed != 1 {
			t.Errorf("after 10 minutes %d connections were made and %d closed, want 2 and 1", dials, closed)
		}
		client.Targets[0].Transport.CloseIdleConnections()
	})
}

func TestRequestUnderWayOutlivesTheMaximumAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		client := newClient(t, "http://backend.example")
		connect(t, client.Targets[0], backend.TransportOptions{
			MaxAge: time.Minute, DialContext: func(context.Context, string, string) (net.Conn, error) { return ours, nil },
		})
		go func() {
			_, _ = readRequest(bufio.NewReader(theirs))
			_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{")
			time.Sleep(10 * time.Minute)
			_, _ = io.WriteString(theirs, "}")
			_, _ = theirs.Read(make([]byte, 1)) // until it is closed
		}()
		res, o := client.Send(context.Background(), newBackend(), newRequest(), nil)
		time.Sleep(5 * time.Minute)
		client.Targets[0].Transport.CloseIdleConnections()
		if body := readAll(t, res, o.Reason); body != "{}" {
			t.Errorf("body %q", body)
		}
		client.Targets[0].Transport.CloseIdleConnections()
	})
}

// The proxy of the environment is read once per process, so each case needs one.
func TestProxyOfTheEnvironmentIsNotForLocalAddresses(t *testing.T) {
	if os.Getenv("SPILLWAY_TEST_PROXY") != "" {
		checkProxy(t)
		return
	}
	again := exec.Command(os.Args[0], "-test.run=^TestProxyOfTheEnvironmentIsNotForLocalAddresses$")
	again.Env = append(os.Environ(), "SPILLWAY_TEST_PROXY=1", "HTTP_PROXY=http://proxy.invalid:3128", "HTTPS_PROXY=http://proxy.invalid:3128", "NO_PROXY=")
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func checkProxy(t *testing.T) {
	for address, want := range map[string]bool{
		"https://contoso.openai.azure.com/": true, "http://10.0.0.4/": true,
		"http://127.0.0.1:8080/": false, "http://[::1]/": false, "http://localhost/": false, "http://169.254.169.254/metadata": false, "http://[fe80::1]/": false,
	} {
		r, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if proxy, err := backend.ProxyFor(r); err != nil || (proxy != nil) != want {
			t.Errorf("%s: proxy %v, %v", address, proxy, err)
		}
	}
}
