package backend_test

import (
	"net"
	"syscall"
	"testing"

	"spillway/handler/internal/backend"
)

func TestKernelClosesConnectionsOfSilentPeers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	conn, err := backend.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	options := map[string][2]int{ // level and number, by their names in tcp(7) and socket(7)
		"TCP_USER_TIMEOUT": {syscall.IPPROTO_TCP, 18}, "SO_KEEPALIVE": {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
		"TCP_KEEPIDLE": {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE}, "TCP_KEEPINTVL": {syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL},
	}
	want := map[string]int{"TCP_USER_TIMEOUT": 20000, "SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5}
	err = raw.Control(func(fd uintptr) {
		for name, option := range options {
			if got, err := syscall.GetsockoptInt(int(fd), option[0], option[1]); err != nil || got != want[name] {
				t.Errorf("%s is %d, %v, want %d", name, got, err, want[name])
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
