// Package freeport hands out ports of 127.0.0.1 to tests that must name a port
// before its process listens there. It does not know what they are for.
package freeport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
)

// Ports below those that systems give to outgoing connections and to listeners
// on port 0 (from 32768 on Linux, from 49152 elsewhere): between the call and
// the use, only another call of Take could get the port, and that finds it taken.
const (
	first = 20_000
	count = 12_000
)

// next is where the search goes on. Each process begins elsewhere.
var next atomic.Uint32

func init() { next.Store(uint32(os.Getpid()) * 97) }

// Take returns a port that nobody listens on, never the same one twice, and none that
// another process took and has not ended: the port of UDP is kept as the sign of that.
func Take() (int, error) {
	for range count {
		port := first + int(next.Add(1)%count)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		sign, err := net.ListenPacket("udp4", address) //nolint:noctx // it is open as long as the process
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp4", address) //nolint:noctx // it is closed at once
		if err != nil {
			_ = sign.Close()
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("release port %d: %w", port, err)
		}
		mu.Lock()
		defer mu.Unlock()
		signs = append(signs, sign)
		return port, nil
	}
	return 0, errors.New("no port is free")
}

// signs are kept from the garbage collector, which would close them.
var (
	mu    sync.Mutex
	signs []net.PacketConn
)
