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

// matchFaults finds the faults of the request: delays add up, the first other
// fault is kept.
func (c *call) matchFaults() {
	q := faultTarget{
		deployment: c.entry.Deployment, operation: c.route.operation, stream: c.request.Stream, now: c.arrived,
		options: c.request.StreamOptions != nil, bound: c.request.MaxCompletionTokens != nil,
	}
	for _, f := range c.svc.faults.match(c.res.Name, q, false) {
		c.update(func(e *Entry) { e.Fault = f.Action })
		c.latency += f.Latency
		if actions[f.Action] != actionDelays {
			c.fault = &f
			return
		}
		if f.Factor > 0 {
			c.factor *= f.Factor
		}
		c.addHeaders(f)
	}
}

func (c *call) addHeaders(f Fault) {
	for name, value := range f.Header {
		c.w.Header().Set(name, value)
	}
}

// faultHeaders overwrites headers with those of the fault.
func (c *call) faultHeaders(h http.Header) {
	if c.fault == nil {
		return
	}
	c.addHeaders(*c.fault)
	if c.fault.RetryRaw != nil {
		h["Retry-After"] = c.fault.RetryRaw
	}
	if c.fault.DateSkew != 0 {
		h.Set("Date", c.now().Add(c.fault.DateSkew).UTC().Format(http.TimeFormat))
	}
}

// applyFault applies a fault that replaces the response and reports whether it
// did.
func (c *call) applyFault() bool {
	if k := actions[c.fault.Action]; k != actionResponds && k != actionBreaksConn {
		return false
	}
	if c.dep != nil {
		c.countRequest()
	}
	if !c.sleep(c.latency) {
		c.clientDisconnected()
		return true
	}
	if actions[c.fault.Action] == actionBreaksConn {
		c.breakTransport()
		return true
	}
	apiErr := c.faultResponse(c.fault)
	family, ok := c.requiredCapability()
	if ok && family != "" && c.canSpill(apiErr) && c.checkRequest() == nil && c.spillOver(family, apiErr) == nil {
		c.fault = nil
		c.serveOperation()
		return true
	}
	c.writeError(apiErr)
	return true
}

// faultResponse is the response of a fault that answers.
func (c *call) faultResponse(f *Fault) *apiError {
	if f.Action == "status" {
		return &apiError{
			name: f.Action, status: f.Status, body: f.Body, contentType: f.ContentType,
			retryAfter: f.RetryAfter, withRetryAfter: f.RetryAfter > 0,
		}
	}
	if apiErr := c.throttleResponse(f); apiErr != nil {
		return apiErr
	}
	apiErr := c.clientErrorResponse(f.Action)
	if apiErr == nil {
		apiErr = serverError(f.Action, c.entry.RequestID)
	}
	if apiErr == nil {
		apiErr = unhelpfulResponse(f.Action)
	}
	if apiErr == nil {
		apiErr = malformedResponse(f.Action)
	}
	if f.RetryAfter > 0 && f.For == 0 {
		apiErr.retryAfter, apiErr.withRetryAfter = f.RetryAfter, true
	}
	return apiErr
}

// throttleResponse is nil when the action is not a 429. Without RetryAfter the wait
// is 60 s, as captured; RetryNone sends no retry header.
func (c *call) throttleResponse(f *Fault) *apiError {
	t := c.newThrottle(f.RetryAfter)
	if f.RetryAfter <= 0 {
		t.retryAfter = time.Minute
		t.withRetryAfter = f.RetryRaw == nil
	}
	switch f.Action {
	case "429":
		if c.spec.SKU == Provisioned {
			return t.provisioned()
		}
		return t.forLimit("token")
	case "429-token":
		return t.classic("token")
	case "429-call":
		return t.classic("call")
	case "429-2025":
		return t.regional()
	case "429-short":
		return t.short()
	case "429-capacity":
		return t.capacity("429")
	case "429-nocapacity":
		return t.capacity("NoCapacity")
	case "429-v1":
		return t.v1()
	case "429-ptu":
		return t.provisioned()
	case "429-flex":
		return t.flex()
	case "429-empty":
		return t.apiError("429-empty", "")
	default:
		return nil
	}
}

// clientErrorResponse is nil when the action is not another 4xx.
func (c *call) clientErrorResponse(action string) *apiError {
	switch action {
	case "401-key":
		return invalidKey()
	case "401-token":
		return invalidToken()
	case "401-permission":
		return permissionDenied(c.route)
	case "403-permission":
		apiErr := permissionDenied(c.route)
		apiErr.name, apiErr.status = "403-permission", http.StatusForbidden
		return apiErr
	case "403-network":
		return networkDenied()
	case "403-private":
		return publicAccessDisabled()
	case "403-keys-disabled":
		return keyAuthDisabled()
	case "403-blocked":
		return resourceBlocked()
	case "404-deployment":
		return deploymentNotFound(c.route)
	case "404-resource":
		return resourceNotFound()
	case "400-context":
		return contextLengthExceeded(8192, 9001)
	case "400-filter":
		return promptFiltered()
	case "400-invalid":
		return invalidRequest("Invalid value for 'temperature'.", "temperature", "")
	case "400-version":
		return versionNotSupported()
	case "400-model":
		return operationNotSupported("responses", c.spec.Model)
	case "400-operation":
		return operationNotSupported("chatCompletion", c.spec.Model)
	}
	if apiErr := backendError(action); apiErr != nil {
		return apiErr
	}
	return otherClientError(action)
}

// breakTransport applies the faults of the connection. Over HTTP/2 the stream is
// reset instead.
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

// hang blocks until the client leaves or Hold is over.
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

// drip sends a valid response byte by byte.
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

// rawTransport hijacks the connection and writes what net/http would refuse.
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
	_, _ = conn.Write([]byte(head)) // the connection is closed next
	closeConn(conn, reset)
}

// rawAnswer is the bytes of a broken response, and whether the connection is then
// reset rather than closed.
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

// closeConn closes a connection; with reset the peer gets RST.
func closeConn(conn net.Conn, reset bool) {
	if secure, ok := conn.(*tls.Conn); ok && reset {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // without it the peer gets FIN
	}
	_ = conn.Close()
}
