package funchost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// Whose fault a broken answer is, in the words of the host's log.
var (
	errHandlerResponse = errors.New("ResponseBodyDestination")
	errClientWrite     = errors.New("ResponseBodyClient")
)

// proxy is a call in proxy mode: everything streams.
func (c *call) proxy(port int, a handlerRequest) {
	a.header = proxiedHeader(c.r, newGUID())
	c.idle = time.AfterFunc(c.host.options.IdleTimeout, func() { c.cancel(errIdle) })
	defer c.idle.Stop()
	response, line, err := c.host.send(c.ctx, port, a, c.progress)
	if err != nil {
		c.fail(err)
		return
	}
	if err := c.relay(response); err != nil {
		line.discard()
		c.fail(err)
		return
	}
	if response.Close {
		line.discard()
		return
	}
	c.host.conns.put(line)
}

// progress tells the idle timer that something moved.
func (c *call) progress() { c.idle.Reset(c.host.options.IdleTimeout) }

// relay passes the answer on: each read is written and flushed at once (D 27),
// and nothing at all is sent before there is a byte of the body or its end (D 26).
func (c *call) relay(response *http.Response) error {
	defer response.Body.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := response.Body.Read(buffer)
		c.progress()
		if n > 0 {
			c.start(response)
			if err := c.writeToClient(buffer[:n]); err != nil {
				return err
			}
			c.progress()
		}
		switch {
		case errors.Is(err, io.EOF):
			c.start(response)
			c.discardTrailers(response)
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", errHandlerResponse, err)
		}
	}
}

// start sends the status line and the header, once. From then on the end of
// the call ends a write to a caller who does not read.
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

// writeToClient writes to the caller. One who has left is an error, unless the front
// end hides it (D 30).
func (c *call) writeToClient(bytes []byte) error {
	if c.clientGone {
		return nil
	}
	_, err := c.w.Write(bytes)
	if err == nil {
		err = http.NewResponseController(c.w).Flush()
	}
	if err == nil {
		return nil
	}
	if c.host.options.HideDisconnects {
		c.clientGone = true
		return nil
	}
	return fmt.Errorf("%w: %w", errClientWrite, err)
}

// discardTrailers adds the trailers that the handler sent (D 25).
func (c *call) discardTrailers(response *http.Response) {
	for name, values := range response.Trailer {
		c.w.Header()[http.TrailerPrefix+name] = values
	}
}

// hostVersion is the host of Core Tools 4.14.0 (facts/azure-functions-host.md §0).
const hostVersion = "4.1052.200"

// isDropped are the headers that the host's proxy passes in neither direction (D 19, D 25).
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

// proxiedHeader is the header that the handler gets in proxy mode (D 17 to D 19).
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

// joinValues joins the lines of a header as .NET's client does.
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

// forwardedHeader is the header that the handler gets in forward mode (D 45):
// the caller's own, less what describes a body, with the host's mark at the
// end of User-Agent.
func forwardedHeader(r *http.Request, invocation string) http.Header {
	header := http.Header{}
	for name, values := range r.Header {
		lost := strings.HasPrefix(name, "Content-") && name != "Content-Type" && name != "Content-Length"
		if !lost && name != "Transfer-Encoding" && name != "Connection" && name != "Allow" && name != "Expires" && name != "Last-Modified" {
			header[name] = joinValues(name, values)
		}
	}
	header.Set("User-Agent", strings.TrimSpace(r.Header.Get("User-Agent")+" Azure-Functions-Host/"+hostVersion))
	header.Set("X-Azure-Functions-Invocationid", invocation)
	header.Set("X-Azure-Functions-Hostversion", hostVersion)
	return header
}

// copyResponseHeader puts the handler's header on the answer to the caller. What the
// handler did not say is not made up: no Content-Type is guessed.
func copyResponseHeader(to http.Header, response *http.Response) {
	for name, values := range response.Header {
		if !isDropped(name) {
			to[name] = values
		}
	}
	if _, typed := to["Content-Type"]; !typed {
		to["Content-Type"] = nil
	}
	for name := range response.Trailer {
		to.Add("Trailer", textproto.CanonicalMIMEHeaderKey(name))
	}
}
