//go:build unix

package http1

import (
	"errors"
	"syscall"
)

// quiet reports whether the socket is open and has nothing to say.
func quiet(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return errors.Is(err, syscall.EAGAIN)
}
