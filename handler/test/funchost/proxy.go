package funchost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Which side broke a response, as the host's log names it.
var (
	errHandlerResponse = errors.New("ResponseBodyDestination")
	errClientWrite     = errors.New("ResponseBodyClient")
	errResponseHeader  = errors.New("ResponseHeaders")
)

// proxy is a call in proxy mode: both directions stream.
func (c *call) proxy(port int, request *handlerRequest) {
	request.header = proxiedHeader(c.r, newGUID())
	if c.host.unsampled && request.header.Get("Traceparent") == "" {
		request.header.Set("Traceparent", unsampledTraceparent())
	}
	c.idle = time.AfterFunc(c.host.options.IdleTimeout, func() { c.cancel(errIdle) })
	defer c.idle.Stop()
	response, conn, err := c.host.send(c.ctx, port, request, c.progress)
	if err != nil {
		c.fail(err)
		return
	}
	defer response.Body.Close() // after conn is closed or the body was read
	if err := c.relay(response); err != nil {
		conn.discard()
		c.fail(err)
		return
	}
	if response.Close {
		conn.discard()
		return
	}
	c.host.conns.put(conn)
}

// progress restarts the idle timeout.
func (c *call) progress() { c.idle.Reset(c.host.options.IdleTimeout) }

// bodyRead is the result of one read of the handler's response.
type bodyRead struct {
	data []byte
	err  error
}

// relay passes the response on. Nothing is sent before there is a byte of the
// body or its end; then each read is written and flushed, unless the handler
// aborts within lossWindow of it. The caller closes the connection after an
// error, which ends the reading goroutine.
func (c *call) relay(response *http.Response) error {
	if !validHeader(response.Header) {
		return fmt.Errorf("%w: a value has a control character or is not ASCII", errResponseHeader)
	}
	stop := make(chan struct{})
	defer close(stop)
	reads := readResponse(response.Body, stop)
	var held []byte
	for {
		var settled <-chan time.Time
		if held != nil {
			settled = time.After(c.host.options.lossWindow)
		}
		var next bodyRead
		select {
		case next = <-reads:
			c.progress()
		case <-settled:
		}
		if next.err != nil && !errors.Is(next.err, io.EOF) {
			c.started = c.started || held != nil
			return fmt.Errorf("%w: %w", errHandlerResponse, next.err)
		}
		if err := c.write(response, held); err != nil {
			return err
		}
		held = next.data
		if next.err != nil {
			c.start(response)
			return nil
		}
	}
}

// readResponse reads a body in the background until its end or until stop.
// Each read has either data or an error.
func readResponse(body io.Reader, stop <-chan struct{}) <-chan bodyRead {
	reads := make(chan bodyRead)
	deliver := func(read bodyRead) bool {
		select {
		case reads <- read:
			return true
		case <-stop:
			return false
		}
	}
	go func() {
		for {
			data := make([]byte, 64<<10)
			n, err := body.Read(data)
			if n > 0 && !deliver(bodyRead{data: data[:n]}) {
				return
			}
			if err != nil {
				deliver(bodyRead{err: err})
				return
			}
		}
	}()
	return reads
}

// start sends the status line and the header, once. From then on the end of
// the call also ends a write to a client that does not read.
func (c *call) start(response *http.Response) {
	if c.started {
		return
	}
	c.started = true
	copyResponseHeader(c.w.Header(), response)
	c.w.WriteHeader(response.StatusCode)
	c.stopWriteWatch = context.AfterFunc(c.ctx, func() {
		_ = http.NewResponseController(c.w).SetWriteDeadline(time.Unix(1, 0))
	})
}

// write starts the response, writes data and flushes it. Without data it does
// nothing. A client that has left is an error, unless the front end hides it.
func (c *call) write(response *http.Response, data []byte) error {
	if len(data) == 0 || c.clientGone {
		return nil
	}
	c.start(response)
	_, err := c.w.Write(data)
	if err == nil {
		err = http.NewResponseController(c.w).Flush()
	}
	switch {
	case err == nil:
		c.progress()
		return nil
	case c.host.options.HideDisconnects:
		c.clientGone = true
		return nil
	}
	return fmt.Errorf("%w: %w", errClientWrite, err)
}

// hostVersion is the host of Core Tools 4.14.0.
const hostVersion = "4.1052.200"

// isDropped reports whether the host's proxy passes a header in neither
// direction (docs/functions-host.md#proxying).
func isDropped(name string) bool {
	switch strings.ToLower(name) {
	case "connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection",
		"proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "proxy-features",
		"proxy-instruction", "security-scheme", "alpn", "close", "http2-settings",
		"upgrade-insecure-requests", "te", "alt-svc", "strict-transport-security":
		return true
	}
	return false
}

// proxiedHeader is the request header of proxy mode.
func proxiedHeader(r *http.Request, invocation string) http.Header {
	header := http.Header{}
	for name, values := range r.Header {
		if !isDropped(name) {
			header[name] = joinValues(name, values)
		}
	}
	header.Del("Forwarded")
	header.Del("X-Forwarded-Prefix")
	remote, _, _ := net.SplitHostPort(r.RemoteAddr)
	header.Set("X-Forwarded-For", remote)
	header.Set("X-Forwarded-Host", r.Host)
	header.Set("X-Forwarded-Proto", "http")
	header.Set("X-Azure-Functions-Invocationid", invocation)
	header.Set("X-Azure-Functions-Hostversion", hostVersion)
	header.Set("X-Ms-Invocation-Id", invocation)
	return header
}

// unsampledTraceparent is the trace context that Application Insights gives a
// request without one.
func unsampledTraceparent() string {
	trace, span := strings.ReplaceAll(newGUID(), "-", ""), strings.ReplaceAll(newGUID(), "-", "")
	return "00-" + trace + "-" + span[:16] + "-00"
}

// joinValues joins the lines of one header as .NET's client does.
func joinValues(name string, values []string) []string {
	if len(values) < 2 {
		return values
	}
	separator := ", "
	switch name {
	case "Cookie":
		separator = "; "
	case "User-Agent":
		separator = " "
	}
	return []string{strings.Join(values, separator)}
}

// copyResponseHeader copies the handler's header to the response to the
// client. No Content-Type is added; trailers are not announced, since the host
// sends none to an HTTP/1.1 client.
func copyResponseHeader(to http.Header, response *http.Response) {
	for name, values := range response.Header {
		if !isDropped(name) {
			to[name] = values
		}
	}
	if _, typed := to["Content-Type"]; !typed {
		to["Content-Type"] = nil
	}
}

// validHeader reports whether the host's web server accepts every value.
func validHeader(header http.Header) bool {
	for _, values := range header {
		if slices.ContainsFunc(values, hasInvalidByte) {
			return false
		}
	}
	return true
}

// hasInvalidByte reports whether a header value has a control character or a
// byte outside ASCII.
func hasInvalidByte(value string) bool {
	return strings.ContainsFunc(value, func(char rune) bool { return (char < ' ' && char != '\t') || char > '~' })
}
