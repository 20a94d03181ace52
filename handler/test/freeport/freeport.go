// Package freeport hands out ports of 127.0.0.1 to tests that must name a port
// before its process listens there. It does not know what they are for.
package freeport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// Ports below those that systems give to outgoing connections and to listeners
// on port 0 (from 32768 on Linux, from 49152 elsewhere): between the call and
// the use, only another call of Take could get the port.
const (
	first = 20_000
	count = 12_000
)

// next is where the search goes on. Each process begins elsewhere.
var next atomic.Uint32

func init() { next.Store(uint32(os.Getpid()) * 97) }

// Take returns a port that nobody listens on, and never the same one twice in a
// process before all others were tried.
func Take() (int, error) {
	for range count {
		port := first + int(next.Add(1)%count)
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // it is closed at once
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("release port %d: %w", port, err)
		}
		return port, nil
	}
	return 0, errors.New("no port is free")
}
