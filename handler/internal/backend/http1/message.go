package http1

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
)

// Message is a request. Names of headers are in their canonical form; values
// may be shared with others and are not written to. Content-Length,
// Transfer-Encoding and Host are made here, and must not be in Header.
type Message struct {
	Method string
	URI    string // path and query as they go on the wire
	Host   string
	Header http.Header
	Passes func(name string) bool // which of Header go out; nil = all
	Over   http.Header            // goes out instead of those of the same name; a nil value is none
	Body   []byte
	Rest   io.ReadCloser // what comes behind Body; nil mostly. It is closed
	Length int64         // of both; -1 = unknown
}

// ErrMessage is a request that cannot be written without changing what it says.
var ErrMessage = errors.New("http1: a control character in the request's head")

// head appends everything in front of the body.
func (m *Message) head(b []byte) ([]byte, error) {
	if !plain(m.URI, false) || !plain(m.Host, false) {
		return b, ErrMessage
	}
	b = append(b, m.Method...)
	b = append(b, ' ')
	b = append(b, m.URI...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, m.Host...)
	var err error
	for name, values := range m.Header {
		if _, replaced := m.Over[name]; !replaced && (m.Passes == nil || m.Passes(name)) && err == nil {
			b, err = field(b, name, values)
		}
	}
	for name, values := range m.Over {
		if err == nil {
			b, err = field(b, name, values)
		}
	}
	if err != nil {
		return b, err
	}
	switch {
	case m.Length < 0:
		b = append(b, "\r\nTransfer-Encoding: chunked"...)
	case m.Length > 0 || m.Method != http.MethodGet && m.Method != http.MethodHead && m.Method != http.MethodDelete:
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, m.Length, 10)
	}
	return append(b, "\r\n\r\n"...), nil
}

// field appends the lines of one header.
func field(b []byte, name string, values []string) ([]byte, error) {
	for _, value := range values {
		if !plain(name, false) || strings.IndexByte(name, ':') >= 0 || !plain(value, true) {
			return b, fmt.Errorf("%w: %.40q", ErrMessage, name)
		}
		b = append(b, "\r\n"...)
		b = append(b, name...)
		b = append(b, ": "...)
		b = append(b, value...)
	}
	return b, nil
}

// plain reports whether a text is safe in a head: no control characters, and
// unless it is a value no spaces.
func plain(s string, value bool) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && (c != '\t' || !value) || c == 0x7f || c == ' ' && !value {
			return false
		}
	}
	return true
}

// write sends the message behind its head, the first of Body along with it.
func (m *Message) write(w io.Writer, head []byte) error {
	if m.Length >= 0 && len(head) < atOnce {
		n := min(len(m.Body), atOnce-len(head))
		if _, err := w.Write(append(head, m.Body[:n]...)); err != nil {
			return err //nolint:wrapcheck // as the connection has it
		}
		return m.parts(w, m.Body[n:])
	}
	if _, err := w.Write(head); err != nil {
		return err //nolint:wrapcheck // as the connection has it
	}
	return m.follow(w, m.Body)
}

// follow writes what comes behind the head, and what of Body is left.
func (m *Message) follow(w io.Writer, left []byte) error {
	if m.Length < 0 {
		chunks := httputil.NewChunkedWriter(w)
		if err := m.parts(chunks, left); err != nil {
			return err
		}
		if err := chunks.Close(); err != nil {
			return fmt.Errorf("http1: write body: %w", err)
		}
		_, err := io.WriteString(w, "\r\n")
		return err //nolint:wrapcheck // as the connection has it
	}
	return m.parts(w, left)
}

func (m *Message) parts(w io.Writer, left []byte) error {
	if len(left) > 0 {
		if _, err := w.Write(left); err != nil {
			return err //nolint:wrapcheck // as the connection has it
		}
	}
	if m.Rest == nil {
		return nil
	}
	n, err := io.Copy(w, m.Rest)
	if err == nil && m.Length >= 0 && n+int64(len(m.Body)) != m.Length {
		err = io.ErrUnexpectedEOF // a backend would wait for the rest for ever
	}
	return err //nolint:wrapcheck // as the connection, or the caller's, has it
}
