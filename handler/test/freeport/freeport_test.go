package freeport

import (
	"net"
	"strconv"
	"testing"
)

func TestPortsAreFreeAndNotTheSame(t *testing.T) {
	given := map[int]bool{}
	for range 100 {
		port, err := Take()
		if err != nil {
			t.Fatal(err)
		}
		if given[port] || port < first || port >= first+count {
			t.Errorf("port %d: given before, or outside of the range", port)
		}
		given[port] = true
	}
}

func TestPortInUseIsPassedOver(t *testing.T) {
	port, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	next.Store(uint32(port - first - 1)) // the next to be tried is this one
	if again, err := Take(); err != nil || again == port {
		t.Errorf("%d, %v: want another port than %d", again, err, port)
	}
}

// A port that another process has taken is not free, also while nobody listens on it.
func TestPortOfAnotherProcessIsPassedOver(t *testing.T) {
	port, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	next.Store(uint32(port - first - 1)) // as a process that begins there
	if again, err := Take(); err != nil || again == port {
		t.Errorf("%d, %v: want another port than %d", again, err, port)
	}
}
