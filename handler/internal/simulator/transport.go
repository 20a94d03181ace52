package simulator

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// breakTransport does to the connection what no answer does. Over HTTP/2,
// where there is no connection to take, the stream is reset instead.
func (c *call) breakTransport() {
	switch c.fault.Action {
	case "hang-before-headers":
		c.hang()
		panic(http.ErrAbortHandler)
	case "hang-after-headers":
		c.prepareHeaders()
		c.w.Header().Set("Content-Type", c.answerType())
		c.recordResponse(http.StatusOK)
		c.w.WriteHeader(http.StatusOK)
		c.flush()
		c.hang()
		panic(http.ErrAbortHandler)
	case "slow-drip":
		c.drip()
	case "early-hints-200":
		c.w.Header().Set("Link", "</style.css>; rel=preload")
		c.w.WriteHeader(http.StatusEarlyHints)
		c.w.Header().Del("Link")
		c.writeResponse(http.StatusOK, "", []byte(sampleCompletion))
	case "trailers-200":
		c.trailers()
	default:
		c.rawTransport()
	}
}

func (c *call) answerType() string {
	if c.request.Stream {
		return "text/event-stream; charset=utf-8"
	}
	return "application/json"
}

// hang holds until the caller leaves or Hold is over.
func (c *call) hang() {
	hold := c.fault.Hold
	if hold <= 0 {
		hold = 1 << 62
	}
	if !c.sleep(hold) {
		c.clientDisconnected()
		return
	}
	c.finish(Broken)
}

// drip sends a sound answer byte by byte.
func (c *call) drip() {
	c.prepareHeaders()
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", fmt.Sprint(len(sampleCompletion)))
	c.recordResponse(http.StatusOK)
	pause := c.fault.Pause
	if pause <= 0 {
		pause = 10 * time.Millisecond
	}
	for i := range len(sampleCompletion) {
		if i == len(sampleCompletion)-1 {
			c.finish(Served)
		}
		if _, err := c.out.Write([]byte(sampleCompletion[i : i+1])); err != nil {
			c.clientDisconnected()
			return
		}
		c.flush()
		if !c.sleep(pause) {
			c.clientDisconnected()
			return
		}
	}
}

func (c *call) trailers() {
	c.prepareHeaders()
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Trailer", "X-Checksum")
	c.recordResponse(http.StatusOK)
	c.finish(Served)
	_, _ = c.out.Write([]byte(sampleCompletion))
	h.Set("X-Checksum", "0000")
}

// rawTransport takes the connection over and writes what HTTP would not.
func (c *call) rawTransport() {
	head, reset := rawAnswer(c.fault.Action)
	if head != "" && !strings.HasPrefix(c.fault.Action, "reset-in") && c.fault.Action != "garbage" {
		c.update(func(e *Entry) { e.Status = http.StatusOK })
	}
	c.finish(Broken)
	conn, err := c.hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = conn.Write([]byte(head)) // the connection is about to be broken anyway
	closeConn(conn, reset)
}

// rawAnswer is the bytes of a broken answer, and whether a reset follows them
// rather than an ordinary close.
func rawAnswer(action string) (string, bool) {
	const okLine = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	half := sampleCompletion[:len(sampleCompletion)/2]
	size := len(sampleCompletion)
	switch action {
	case "refuse", "reset-before-headers":
		return "", true
	case "reset-in-headers":
		return okLine + "X-Ms-Reg", true
	case "reset-after-headers":
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n", okLine, size), true
	case "truncated-200":
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", okLine, size, half), false
	case "length-short":
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", okLine, len(half), sampleCompletion), false
	case "length-negative":
		return okLine + "Content-Length: -1\r\n\r\n" + sampleCompletion, false
	case "length-two":
		return fmt.Sprintf("%sContent-Length: %d\r\nContent-Length: %d\r\n\r\n%s", okLine, size, size-7, sampleCompletion), false
	case "http10-200":
		return "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + sampleCompletion, false
	case "garbage":
		return "\x16\x03\x01\x00\x2e this is no HTTP\r\n\r\n", false
	default: // eof-before-headers
		return "", false
	}
}

var errNoConnection = errors.New("the connection cannot be taken over")

// hijack takes the connection from the HTTP server.
func (c *call) hijack() (net.Conn, error) {
	conn, _, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoConnection, err)
	}
	return conn, nil
}

// closeConn closes a connection; with reset the peer sees RST, not an end.
func closeConn(conn net.Conn, reset bool) {
	if secure, ok := conn.(*tls.Conn); ok && reset {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // without it the peer merely sees an end
	}
	_ = conn.Close()
}
