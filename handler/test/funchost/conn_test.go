package funchost

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
)

// startPeer is a handler that answers every request and gives its connections to
// the test.
func startPeer(t *testing.T) (port int, conns <-chan net.Conn) {
	t.Helper()
	address, accepted := acceptAll(t)
	served := make(chan net.Conn, cap(accepted))
	go func() {
		for conn := range accepted {
			served <- conn
			go respondAll(conn)
		}
	}()
	return address.Port, served
}

// acceptAll listens on a free port until the test ends.
func acceptAll(t *testing.T) (*net.TCPAddr, chan net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	accepted := make(chan net.Conn, 16)
	go func() {
		defer close(accepted)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	return listener.Addr().(*net.TCPAddr), accepted
}

func respondAll(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
	}
}

// exchangeOnce makes one exchange on a connection of the pool and returns it.
func exchangeOnce(t *testing.T, w *connPool, port int) *conn {
	t.Helper()
	c, err := w.get(context.Background(), port)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.exchange(&handlerRequest{method: http.MethodGet, target: "/", length: -1, header: http.Header{}}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); string(body) != "x" || err != nil {
		t.Fatalf("response %q %v", body, err)
	}
	w.put(c)
	return c
}

func TestConnectionIsUsedAgain(t *testing.T) {
	port, _ := startPeer(t)
	var w connPool
	defer w.close()
	first := exchangeOnce(t, &w, port)
	for range 3 {
		if again := exchangeOnce(t, &w, port); again != first {
			t.Error("a new connection, though one was idle")
		}
	}
}

func TestConnectionThatTheHandlerClosedIsNotUsedAgain(t *testing.T) {
	port, conns := startPeer(t)
	var w connPool
	defer w.close()
	first := exchangeOnce(t, &w, port)
	(<-conns).Close()
	<-first.peeked
	if second := exchangeOnce(t, &w, port); second == first {
		t.Error("the closed connection was used again")
	}
}

func TestConnectionWithUnaskedBytesIsNotUsedAgain(t *testing.T) {
	port, conns := startPeer(t)
	var w connPool
	defer w.close()
	first := exchangeOnce(t, &w, port)
	_, _ = io.WriteString(<-conns, "HTTP/1.1 200 OK\r\n\r\n")
	<-first.peeked
	if second := exchangeOnce(t, &w, port); second == first {
		t.Error("a connection with unread bytes was used again")
	}
}

func TestConnectionOfAnEndedCallIsNotKept(t *testing.T) {
	port, _ := startPeer(t)
	var w connPool
	defer w.close()
	ctx, cancel := context.WithCancel(context.Background())
	c, err := w.get(ctx, port)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	w.put(c)
	if len(w.idle[port]) != 0 {
		t.Error("the connection of an ended call is idle")
	}
}

func TestClosedPoolKeepsNothing(t *testing.T) {
	port, _ := startPeer(t)
	var w connPool
	w.close()
	c := exchangeOnce(t, &w, port)
	if _, err := c.Write([]byte("x")); err == nil || len(w.idle) != 0 {
		t.Error("a connection outlived the pool")
	}
}
