package funchost

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of the host's web server (docs/functions-host.md#body-and-time-limits).
const (
	maxRequestLine  = 8 << 10
	maxHeaderBytes  = 32 << 10
	maxHeaderFields = 100
)

// ServeHTTP handles one request of a client: what the web server refuses, the
// host's own paths, the functions' routes in order, the key, the call.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := refused(r); status != 0 {
		w.Header().Set("Connection", "close")
		w.WriteHeader(status)
		return
	}
	if r.Host == "" {
		h.internalError(w, r, "Request", "no host")
		return
	}
	r.Method = canonicalMethod(r.Method)
	raw, query := splitTarget(r.RequestURI)
	path, err := decodePath(raw)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.dispatch(w, r, path, query)
}

// dispatch finds who serves a decoded path.
func (h *Host) dispatch(w http.ResponseWriter, r *http.Request, path, query string) {
	if reserved(path) {
		admin(w, path)
		return
	}
	one := match(h.functions, r.Method, path)
	switch {
	case one == nil && path == "/":
		h.homepage(w)
	case one == nil:
		w.WriteHeader(http.StatusNotFound)
	case !h.authorized(one.level, r):
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.invoke(w, r, encodePath(path), encodeQuery(query))
	}
}

// refused is the status with which the web server refuses a request before the
// host sees it; 0 when it does not.
func refused(r *http.Request) int {
	conn, _ := r.Context().Value(clientConnKey{}).(*clientConn)
	switch size, fields := headerSize(r); {
	case len(r.Method)+len(r.RequestURI)+len("  HTTP/1.1\r\n") > maxRequestLine:
		return http.StatusRequestURITooLong
	case size > maxHeaderBytes || fields > maxHeaderFields:
		return http.StatusRequestHeaderFieldsTooLarge
	case conn != nil && conn.foreignHost, !utf8Header(r.Header):
		return http.StatusBadRequest
	case r.Method == http.MethodConnect:
		return http.StatusNotFound
	}
	return 0
}

// headerSize is the size of the header lines in bytes, and their number.
func headerSize(r *http.Request) (size, fields int) {
	size, fields = len("Host: \r\n")+len(r.Host), 1
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
			fields++
		}
	}
	return size, fields
}

func utf8Header(header http.Header) bool {
	for _, values := range header {
		if slices.ContainsFunc(values, func(value string) bool { return !utf8.ValidString(value) }) {
			return false
		}
	}
	return true
}

// canonicalMethod is a known method in upper case; others stay.
func canonicalMethod(method string) string {
	upper := strings.ToUpper(method)
	switch upper {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return upper
	}
	return method
}

// reserved reports whether a path is the host's own: such never reach the
// handler, whatever the routes are (docs/functions-host.md#routes).
func reserved(path string) bool {
	lower := strings.ToLower(path) + "/"
	return strings.HasPrefix(lower, "/admin/") || strings.HasPrefix(lower, "/runtime/webhooks/")
}

// admin serves the host's own paths as far as a probe needs them.
func admin(w http.ResponseWriter, path string) {
	if strings.EqualFold(path, "/admin/host/ping") {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// homepage serves / when no function does.
func (h *Host) homepage(w http.ResponseWriter) {
	if strings.EqualFold(h.options.setting("AzureWebJobsDisableHomepage"), "true") {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!DOCTYPE html><title>Your Azure Function App is up and running.</title>\n"))
}

// authorized checks the key of a request against a function's level: the
// header x-functions-key when there is one, else the query's code.
func (h *Host) authorized(level string, r *http.Request) bool {
	if !h.options.Auth || level == "anonymous" {
		return true
	}
	key := r.URL.Query().Get("code")
	if sent := r.Header.Values("x-functions-key"); len(sent) > 0 {
		key = sent[0]
	}
	known := []string{h.options.MasterKey}
	if level == "function" {
		known = append(known, h.options.FunctionKeys...)
	}
	return slices.ContainsFunc(known, func(good string) bool {
		return good != "" && subtle.ConstantTimeCompare([]byte(good), []byte(key)) == 1
	})
}

// internalError ends a call that failed before anything was sent: 500 with no
// body, whatever the reason (docs/functions-host.md#proxying).
func (h *Host) internalError(w http.ResponseWriter, r *http.Request, what, why string) {
	h.emit(Event{Kind: CallFailed, Detail: r.Method + " " + r.URL.Path + ": " + what + ": " + why})
	w.WriteHeader(http.StatusInternalServerError)
}

// clientListener accepts clients' connections.
type clientListener struct{ net.Listener }

func (l clientListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &clientConn{Conn: conn, in: bufio.NewReaderSize(conn, 2*maxHeaderBytes)}, nil
}

// clientConn is a client's connection. It reads the head of the first request
// ahead, because net/http forgets a Host that differs from the request target.
type clientConn struct {
	net.Conn
	in          *bufio.Reader
	checked     bool
	foreignHost bool // the first request's target names another host than Host does
}

type clientConnKey struct{}

func (c *clientConn) Read(p []byte) (int, error) {
	if !c.checked {
		c.checked = true
		c.foreignHost = foreignHost(c.peekHead())
	}
	return c.in.Read(p)
}

// peekHead waits for the head of a request whose target is not a mere path.
func (c *clientConn) peekHead() []byte {
	for {
		_, err := c.in.Peek(c.in.Buffered() + 1)
		head, _ := c.in.Peek(c.in.Buffered())
		_, target, _ := bytes.Cut(head, []byte(" "))
		if err != nil || bytes.HasPrefix(target, []byte("/")) || bytes.Contains(head, []byte("\r\n\r\n")) {
			return head
		}
	}
}

// foreignHost reports whether a head has an absolute target, or one of CONNECT,
// that names another host than its Host header.
func foreignHost(head []byte) bool {
	in := textproto.NewReader(bufio.NewReader(bytes.NewReader(head)))
	line, _ := in.ReadLine()
	_, rest, _ := strings.Cut(line, " ")
	target, _, _ := strings.Cut(rest, " ")
	if target == "" || target == "*" || strings.HasPrefix(target, "/") {
		return false
	}
	header, err := in.ReadMIMEHeader()
	if err != nil {
		return false
	}
	host := target
	if absolute, err := url.Parse(target); err == nil && absolute.Host != "" {
		host = absolute.Host
	}
	return !strings.EqualFold(header.Get("Host"), host)
}

// errNullInPath is a path that the host's web server refuses with 400.
var errNullInPath = errors.New("the path contains a null character")

// splitTarget cuts a request target into its raw path and its raw query, the
// latter with its question mark.
func splitTarget(target string) (path, query string) {
	if strings.Contains(target, "://") && !strings.HasPrefix(target, "/") {
		if absolute, err := url.Parse(target); err == nil {
			target = strings.TrimPrefix(target, absolute.Scheme+"://"+absolute.Host)
		}
	}
	path, query, found := strings.Cut(target, "?")
	if found {
		query = "?" + query
	}
	return path, query
}

// decodePath is a raw path as the host's web server (Kestrel) decodes it: all
// but %2F and what is not UTF-8, without dot segments.
func decodePath(raw string) (string, error) {
	decoded := decodeEscapes(raw)
	if strings.ContainsRune(decoded, 0) {
		return "", errNullInPath
	}
	return removeDots(decoded), nil
}

func decodeEscapes(raw string) string {
	var out strings.Builder
	for i := 0; i < len(raw); {
		run := escapeRun(raw[i:])
		if len(run) == 0 {
			out.WriteByte(raw[i])
			i++
			continue
		}
		writeRun(&out, run, raw[i:i+3*len(run)])
		i += 3 * len(run)
	}
	return out.String()
}

// escapeRun decodes the escapes at the beginning of s.
func escapeRun(s string) []byte {
	var run []byte
	for len(s) >= 3 && s[0] == '%' {
		value, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			break
		}
		run = append(run, byte(value))
		s = s[3:]
	}
	return run
}

// writeRun writes a run's characters; a slash and bytes that are not UTF-8
// stay escaped.
func writeRun(out *strings.Builder, run []byte, escaped string) {
	for i := 0; i < len(run); {
		char, size := utf8.DecodeRune(run[i:])
		if run[i] == '/' || (char == utf8.RuneError && size == 1) {
			out.WriteString(escaped[3*i : 3*i+3])
			i++
			continue
		}
		out.Write(run[i : i+size])
		i += size
	}
}

// removeDots removes dot segments as RFC 3986 §5.2.4 does.
func removeDots(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	var kept []string
	parts := strings.Split(path, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part != "." && part != "..":
			kept = append(kept, part)
			continue
		case part == ".." && len(kept) > 1:
			kept = kept[:len(kept)-1]
		}
		if last {
			kept = append(kept, "")
		}
	}
	return strings.Join(kept, "/")
}

// encodePath is a decoded path as the host's proxy (YARP) encodes it: every
// byte but pchar and the slash is escaped, the percent sign too, so that a
// client's %2F arrives as %252F.
func encodePath(path string) string {
	const plain = "!$&'()*+,-./:;=@_~"
	var out strings.Builder
	for i := range len(path) {
		char := path[i]
		letter := char|0x20 >= 'a' && char|0x20 <= 'z'
		digit := char >= '0' && char <= '9'
		if letter || digit || strings.IndexByte(plain, char) >= 0 {
			out.WriteByte(char)
			continue
		}
		const hex = "0123456789ABCDEF"
		out.Write([]byte{'%', hex[char>>4], hex[char&15]})
	}
	return out.String()
}

// encodeQuery is a query as the host's proxy passes it: verbatim, but for a
// percent sign that begins no escape, and #.
func encodeQuery(query string) string {
	var out strings.Builder
	for i := range len(query) {
		switch char := query[i]; {
		case char == '#':
			out.WriteString("%23")
		case char == '%' && len(escapeRun(query[i:])) == 0:
			out.WriteString("%25")
		default:
			out.WriteByte(char)
		}
	}
	return out.String()
}
