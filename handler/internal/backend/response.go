package backend

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/contentcoding"
	"spillway/handler/internal/proxy"
)

const (
	maxErrorBody     = 64 << 10        // read to classify an error
	errorBodyTimeout = 5 * time.Second // to read it, from the headers on
)

// classifyResponse classifies a response by its status, and an error by its
// body, too. An error that concerns the caller alone is returned whole; one of class
// Misconfigured with what was read of it, and its connection is released. What was read
// of any error is the third result.
func (c *Client) classifyResponse(a *attempt, t *Target, b *balancer.Backend, res *http.Response) (*http.Response, health.Outcome, []byte) {
	body := &responseBody{Reader: res.Body, closer: res.Body, attempt: a}
	decodeResponse(res, body)
	res.Body = body
	if res.StatusCode >= http.StatusOK && res.StatusCode < http.StatusMultipleChoices {
		if a.aborted() { // it ended with the headers
			defer func() { _ = body.Close() }()
			return nil, a.failure(errAttemptOver), nil
		}
		return res, t.classify(a, b, res, nil), nil
	}
	if res.StatusCode < http.StatusOK { // a switched protocol: no context ends its reads
		defer func() { _ = body.Close() }()
		o := t.classify(a, b, res, nil)
		o.Status = res.StatusCode
		return nil, o, nil
	}
	timeout := time.AfterFunc(errorBodyTimeout, func() { a.abort(errErrorBodyTimeout) })
	head, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	timeout.Stop()
	if err != nil && a.parent.Err() != nil {
		defer func() { _ = body.Close() }()
		return nil, a.failure(err), nil
	}
	o := t.classify(a, b, res, head)
	if o.Reason == classify.OutOfQuota {
		res.StatusCode = http.StatusPaymentRequired
	}
	o.Status = res.StatusCode
	if o.Class == health.Misconfigured && err == nil {
		_ = body.Close()
		res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(head)), int64(len(head))
		return res, o, head
	}
	if o.Class != health.Served && (o.Class != health.Throttled || !a.passThrottled) || err != nil {
		defer func() { _ = body.Close() }()
		if o.Class == health.Served || o.Class == health.Misconfigured {
			o.Class, o.Reason = health.Failed, "cut"
		}
		return nil, o, head
	}
	if o.Reason == proxy.ContentFilter && res.StatusCode >= http.StatusInternalServerError {
		res.StatusCode = http.StatusBadRequest // what SDKs do not send again
	}
	body.Reader = io.MultiReader(bytes.NewReader(head), body.Reader)
	return res, o, head
}

// decodeResponse has a response decoded that is compressed although none was asked
// for: else its caller, who may not have asked either, could not read it, and its
// usage would not be counted.
func decodeResponse(res *http.Response, body *responseBody) {
	coding := res.Header.Get("Content-Encoding")
	if coding == "" || len(res.Header["Content-Encoding"]) > 1 {
		return
	}
	decoded, err := contentcoding.NewReader(coding, body.Reader)
	if err != nil {
		return
	}
	body.Reader = decoded
	res.Header = res.Header.Clone()
	res.Header.Del("Content-Encoding")
	res.Header.Del("Content-Length")
	res.ContentLength = -1
}

func (t *Target) classify(a *attempt, b *balancer.Backend, res *http.Response, head []byte) health.Outcome {
	policy := t.Policy
	policy.Provisioned, policy.NamesObject = b.Provisioned, a.namesObject
	_, policy.CallerAuth = t.Credential.(PassThrough)
	return classify.Status(res.StatusCode, res.Header, head, time.Now(), policy)
}

// missingCallerToken is the response to a caller without the token that a
// pass-through backend needs.
func missingCallerToken() *http.Response {
	const body = `{"error":{"message":"The backend of this model takes the caller's own Microsoft Entra token. Send it as 'Authorization: Bearer <token>'.",` +
		`"type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`
	return &http.Response{
		StatusCode: http.StatusUnauthorized, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
}

// reasonReset is that of a connection that the other side reset.
const reasonReset = "connection reset"

// transportErrorKind is the kind of an error of the connection, as logs and
// metrics name it. The set is closed: no text of an error gets into it.
func transportErrorKind(err error) string {
	var lookup *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &lookup):
		return "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reasonReset
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case isTLSError(err):
		return "tls"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed idle connection"):
		return "eof"
	case strings.Contains(err.Error(), "response headers exceeded"):
		return "headers too large"
	case strings.Contains(err.Error(), "malformed"):
		return "protocol"
	}
	return "transport"
}

// isTLSError reports whether the handshake failed. crypto/tls has no type for
// most of its errors, only a prefix.
func isTLSError(err error) bool {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var alert tls.AlertError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &alert) || errors.As(err, &authority) ||
		strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "x509: ")
}
