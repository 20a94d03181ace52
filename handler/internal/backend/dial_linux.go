package backend

import "syscall"

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7), which package syscall lacks.
const tcpUserTimeout = 18

// boundSilence has the kernel close a connection whose peer acknowledges
// neither data nor keep-alive probes for silentPeerTimeout, which by default
// takes a quarter of an hour. A kernel that refuses it is no reason to fail.
func boundSilence(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(silentPeerTimeout.Milliseconds()))
	})
}
