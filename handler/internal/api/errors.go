package api

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/openai/classify"
	"spillway/handler/internal/openai/contentcoding"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// Error is an error response that no backend sent, in the form of the API that the
// path belongs to. Message tells the caller what to do.
type Error struct {
	Status     int
	Type       string
	Code       string
	Detail     string // in Anthropic's API: what its SDKs act on; "" = nothing
	Param      string
	Rule       string // for the log: what refused the request; "" = by the code
	Message    string
	RetryAfter time.Duration // with 429 and 503; 0 = no such headers
	Final      bool          // adds x-should-retry: false
	Challenge  string        // WWW-Authenticate, with 401; "" = none
	Early      bool          // answered before the body was read
	Cause      error         // for the log
}

// write reads the rest of the request's body and sends the response.
func (f *Error) write(w http.ResponseWriter, r *http.Request) {
	if f.Status == statusClientClosed {
		panic(http.ErrAbortHandler) // the connection is closed
	}
	if f.Early {
		_ = http.NewResponseController(w).EnableFullDuplex() // or the server reads the body first
		defer drainEarly(w, r)
	} else {
		drainBody(r)
	}
	h := w.Header()
	if f.Challenge != "" {
		h.Set("WWW-Authenticate", f.Challenge)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if f.RetryAfter > 0 {
		h.Set("Retry-After-Ms", strconv.FormatInt(f.RetryAfter.Milliseconds(), 10))
		h.Set("Retry-After", strconv.Itoa(wholeSeconds(f.RetryAfter)))
	}
	if f.Final {
		h.Set("X-Should-Retry", "false")
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write(f.body(h.Get("X-Request-Id"), isBelow(r.URL.Path, anthropicPath))) //nolint:gosec // JSON by its content type, with nosniff
}

// body is the error in Anthropic's form or in OpenAI's.
func (f *Error) body(requestID string, anthropic bool) []byte {
	failure := classify.Failure{Status: f.Status, Message: f.Message, Type: f.Type, Param: f.Param, Code: f.Code, Detail: f.Detail, RequestID: requestID}
	return failure.Format(anthropic)
}

func wholeSeconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

const (
	invalidRequest = "invalid_request_error"
	serverError    = "server_error"
	// statusClientClosed is written to the log only, as nginx does.
	statusClientClosed = 499
)

func unauthorized(cause error) *Error {
	if errors.Is(cause, auth.ErrUnavailable) {
		return &Error{
			Status: http.StatusServiceUnavailable, Type: serverError, Code: "credential_unavailable", RetryAfter: 2 * time.Second, Cause: cause,
			Message: "The credential of this request cannot be verified at the moment. Please retry after 2 seconds.",
		}
	}
	return &Error{
		Status: http.StatusUnauthorized, Type: invalidRequest, Code: "invalid_api_key", Final: true, Cause: cause,
		Challenge: challenge(cause), Message: wrongCredential(cause),
	}
}

// challenge is the WWW-Authenticate of RFC 6750. Without a credential it names no
// error.
func challenge(cause error) string {
	const scheme = `Bearer realm="spillway"`
	if errors.Is(cause, auth.ErrMissing) {
		return scheme
	}
	return scheme + `, error="invalid_token"`
}

// wrongCredential says what is wrong with a credential, and what to do: the key, the
// audience, the lifetime, the application, or the token itself. It says nothing of
// others' credentials.
func wrongCredential(cause error) string {
	const send = " Send the key that your platform team gave you in the api-key header or as Authorization: Bearer."
	var reason auth.Error
	_ = errors.As(cause, &reason)
	switch reason {
	case auth.ErrMissing:
		return "This request has no key or token." + send
	case auth.ErrInQuery:
		return "A key or token in the query is not accepted, since logs keep it." + send
	case auth.ErrDuplicate, auth.ErrConflicting:
		return "This request has more than one credential, and they differ. Send one."
	case auth.ErrExpired, auth.ErrNotYetValid:
		return "The lifetime of this key or token is over, or has not begun. Get a new one."
	case auth.ErrAudience:
		return "The audience of this token is another one. Request a token for the audience that your platform team named."
	case auth.ErrNoApplication, auth.ErrUnmapped, auth.ErrAmbiguous, auth.ErrGroupsOverage:
		return "This token is valid, but its application has no access here, or is not named. Ask your platform team to admit the application, with the x-request-id of this answer."
	case auth.ErrMalformed, auth.ErrAlgorithm, auth.ErrSigningKey, auth.ErrSignature, auth.ErrIssuer, auth.ErrTenant:
		return "This token is not one that is accepted here: it is malformed, of another issuer, or its signature is wrong. Get one from your own tenant."
	case auth.ErrUnknown:
	}
	return "The key of this request is not valid here." + send
}

func pathNotFound(r *http.Request, cause error) *Error {
	f := &Error{Status: http.StatusNotFound, Type: invalidRequest, Code: "not_found", Cause: cause}
	f.Message = fmt.Sprintf("There is no such path here: %s. %s", printable(r.URL.Path), servedInstead(r.URL.Path))
	if errors.Is(cause, errUnsafePath) {
		f.Code, f.Param, f.Rule = "model_not_found", "model", "path"
		f.Message = "A name in this path is not acceptable: names are letters, digits, dots, underscores, dashes and colons, and begin with a letter or digit."
	}
	return f
}

// servedInstead says what is served of the API that a path belongs to.
func servedInstead(path string) string {
	switch {
	case isBelow(path, anthropicPath):
		return "Of Anthropic's API, Foundry has POST /anthropic/v1/messages and /anthropic/v1/messages/count_tokens: no batches, files or lists of models."
	case isBelow(path, foundryPath):
		return "Of the model inference API, POST /models/chat/completions and /models/embeddings are served. For anything else use /openai/v1/{operation}."
	}
	const use = "Use /openai/deployments/{model}/{operation}?api-version=…, /openai/v1/{operation} or /v1/{operation}."
	if isBelow(path, unscopedPath) {
		if why := operations.RefusalOf(strings.TrimLeft(path[len(unscopedPath):], "/")); why != "" {
			return "It is not served here: " + why + "."
		}
	}
	return use
}

func methodNotAllowed(method string, allowed []string) *Error {
	return &Error{
		Status: http.StatusMethodNotAllowed, Type: invalidRequest, Code: "method_not_allowed",
		Message: fmt.Sprintf("%s is not a method of this path. Use %s.", printable(method), strings.Join(allowed, " or ")),
	}
}

func unsupportedEncoding(encoding string) *Error {
	return &Error{
		Status: http.StatusUnsupportedMediaType, Type: invalidRequest, Code: "unsupported_encoding",
		Message: fmt.Sprintf("A request body with Content-Encoding %s is not accepted. Send it in one of %s, or uncompressed.", printable(encoding), contentcoding.Known),
	}
}

func bodyError(err error, limit int64) *Error {
	if refused, ok := errors.AsType[*refusedBodyError](err); ok {
		return refused.apiErr
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{
			Status: http.StatusRequestTimeout, Type: invalidRequest, Code: "body_timeout", Cause: err,
			Message: "The request body did not arrive in time. Send it again.",
		}
	case errors.Is(err, contentcoding.ErrRatio):
		return &Error{
			Status: http.StatusRequestEntityTooLarge, Type: invalidRequest, Code: "request_too_large", Final: true, Cause: err,
			Message: "The request body grows too much when it is decompressed. Send it uncompressed.",
		}
	case errors.Is(err, errEncoding):
		return &Error{
			Status: http.StatusBadRequest, Type: invalidRequest, Code: "invalid_encoding", Final: true, Cause: err,
			Message: "The request body is not in the Content-Encoding that its header names. Name the right one, or send it uncompressed.",
		}
	}
	if errors.Is(err, errTooLarge) {
		return &Error{
			Status: http.StatusRequestEntityTooLarge, Type: invalidRequest, Code: "request_too_large", Final: true,
			Message: fmt.Sprintf("The request body is larger than %d bytes. Send less, or ask for a higher SPILLWAY_MAX_BODY.", limit),
		}
	}
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "incomplete_body", Cause: err,
		Message: "The request body ended before it was complete. Send it again.",
	}
}

// overloaded is the error for a request for which there is no memory.
func (s *Server) overloaded() *Error {
	wait := s.outageWait(time.Time{})
	return &Error{
		Status: http.StatusServiceUnavailable, Type: serverError, Code: "overloaded", RetryAfter: wait,
		Message: fmt.Sprintf("Too many or too large requests are under way here. Please retry after %d seconds.", wholeSeconds(wait)),
	}
}

func invalidJSON(err error) *Error {
	param := ""
	if fault := new(request.ParseError); errors.As(err, &fault) {
		param = printable(fault.Member)
	}
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "invalid_json", Param: param, Final: true,
		Message: "The request body could not be read: " + err.Error() + ".",
	}
}

func modelMissing(req *proxy.Request) *Error {
	where := `Name it in the body: {"model": "…"}.`
	switch {
	case req.Family == operations.Deployments:
		where = "Name it in the path: /openai/deployments/{model}/…"
	case req.Form != nil && req.StreamedBody != nil:
		where = fmt.Sprintf("Send the field model ahead of the file: a form is searched for it up to %d MiB.", maxBufferedUpload>>20)
	case req.Form != nil:
		where = "Name it in the field model of the form."
	}
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "model_missing", Param: "model", Final: true,
		Message: "This request names no model. " + where,
	}
}

func modelNotFound(name string, known []string) *Error {
	return &Error{
		Status: http.StatusNotFound, Type: invalidRequest, Code: "model_not_found", Param: "model", Final: true,
		Message: fmt.Sprintf("The model %q does not exist here. You may use: %s.", printable(name), joinNames(known)),
	}
}

// deploymentNotFound is modelNotFound as the classic address of Azure has it.
func deploymentNotFound(req *proxy.Request, known []string) *Error {
	f := modelNotFound(req.Model, known)
	if req.Family == operations.Deployments {
		f.Code = "DeploymentNotFound"
		f.Message = fmt.Sprintf("The API deployment %q does not exist here. You may use: %s.", printable(req.Model), joinNames(known))
	}
	return f
}

func modelNotAllowed(name string, known []string) *Error {
	return &Error{
		Status: http.StatusForbidden, Type: invalidRequest, Code: "model_not_allowed", Param: "model", Final: true,
		Cause:   fmt.Errorf("the model %q is not among the consumer's models", printable(name)),
		Message: fmt.Sprintf("Your key may not use the model %q. You may use: %s.", printable(name), joinNames(known)),
	}
}

func unmeteredNotAllowed(operation string) *Error {
	return &Error{
		Status: http.StatusForbidden, Type: invalidRequest, Code: "unmetered_not_allowed", Final: true,
		Message: fmt.Sprintf("You have a limit of tokens or money, and the usage of %s is not reported here. Ask the operator for allowUnmetered.", operation),
	}
}

func unmeteredToolNotAllowed(tool string) *Error {
	return &Error{
		Status: http.StatusForbidden, Type: invalidRequest, Code: "unmetered_not_allowed", Param: "tools", Final: true,
		Message: fmt.Sprintf("You have a limit that does not see what the tool %q of the service costs besides tokens of this model. Leave the tool out, or ask the operator for allowUnmetered.", printable(tool)),
	}
}

// operationRefused is the error for what every backend of the model says it does not
// have, without an answer that can be passed on.
func operationRefused(req *proxy.Request, status int) *Error {
	return &Error{
		Status: status, Type: invalidRequest, Code: "operation_not_supported", Final: true,
		Message: fmt.Sprintf("No backend of the model %q has %s as this request asks for it. Check the operation, the api-version and the model.", printable(req.Model), operationPath(req)),
	}
}

// refusedWithoutReason is the error for what every backend refuses with this status
// in a form that says nothing, such as HTML of a server in front of it.
func refusedWithoutReason(req *proxy.Request, status int) *Error {
	return &Error{
		Status: status, Type: invalidRequest, Code: strconv.Itoa(status), Rule: "backends", Final: true,
		Message: fmt.Sprintf("The backends of the model %q refuse this request with the status %d and give no reason that can be shown. Check its size, its headers and its form.", printable(req.Model), status),
	}
}

// deploymentGone is the error for a model that the gateway has and whose deployments
// are gone, or never were: nothing that its caller can mend.
func deploymentGone(req *proxy.Request, status int) *Error {
	return &Error{
		Status: status, Type: invalidRequest, Code: "DeploymentNotFound", Rule: "backends", Final: true,
		Cause:   fmt.Errorf("no backend of the model %q has its deployment", printable(req.Model)),
		Message: fmt.Sprintf("The deployments behind the model %q do not exist. Give your platform team the x-request-id of this answer, or use another model.", printable(req.Model)),
	}
}

// requestTooLargeForPool is the error for a request that backends refuse for its size
// while they serve smaller ones.
func requestTooLargeForPool(model string, wait time.Duration) *Error {
	return &Error{
		Status: http.StatusTooManyRequests, Type: "too_many_requests", Code: "rate_limit_exceeded", RetryAfter: wait, Final: true,
		Message: fmt.Sprintf("This request needs more tokens than the token rate limit of the Azure OpenAI backends for %q leaves, which serve smaller ones. Send a shorter prompt or ask for fewer tokens; or retry after %d seconds.", model, wholeSeconds(wait)),
	}
}

func upstreamTimeout(req *proxy.Request) *Error {
	f := &Error{Status: http.StatusGatewayTimeout, Type: serverError, Code: "upstream_timeout"}
	f.Message = fmt.Sprintf("None of the %s answered in time. Try again, or ask for less in one request.", backendsFor(req.Model, req.Consumer, proxy.NoFence))
	if isPinned(req) {
		f.Message = theOnlyBackend + " did not answer in time. Try again, or ask for less in one request."
	}
	return f
}

func clientClosed() *Error {
	return &Error{Status: statusClientClosed, Code: "caller_left"}
}

func joinNames(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// printable makes a caller's text safe to log: printable ASCII, 100 characters.
func printable(s string) string {
	const most = 100
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(clean) > most {
		return clean[:most] + "…"
	}
	return clean
}

// referenceNotFound is the error for an object that does not exist and, so that
// ids cannot be probed, for one of another consumer. It begins as OpenAI's does.
func referenceNotFound(ref reference) *Error {
	f := &Error{Status: http.StatusNotFound, Type: invalidRequest, Code: "not_found", Param: ref.param, Rule: "owner", Final: true}
	noun := ref.noun()
	noun = strings.ToUpper(noun[:1]) + noun[1:]
	if ref.param == "previous_response_id" {
		f.Code, noun = "previous_response_not_found", "Previous response"
	}
	if ref.kind == operations.KindMessage && !ref.described {
		return threadNotFound(ref)
	}
	f.Message = fmt.Sprintf("%s with id '%s' not found. It may have been deleted, or have expired; send the request without it.", noun, printable(ref.id))
	return f
}

// threadNotFound is the error for a thread that cannot be continued. Its caller has all
// messages, and begins another (docs/azure-openai.md#stateful-operations).
func threadNotFound(ref reference) *Error {
	return &Error{
		Status: http.StatusNotFound, Type: invalidRequest, Code: "not_found", Detail: "thread_not_found", Param: ref.param, Rule: "owner", Final: true,
		Message: fmt.Sprintf("The thread of the message '%s' cannot be continued. Begin another with all messages: send \"thread\": {\"type\": \"create\"}.", printable(ref.id)),
	}
}

// modelMismatch is the error for an object held by a backend that does not serve
// the requested model.
func modelMismatch(req *proxy.Request, ref reference) *Error {
	if ref.kind == operations.KindMessage {
		return threadNotFound(ref)
	}
	return &Error{
		Status: http.StatusBadRequest, Type: invalidRequest, Code: "model_mismatch", Param: ref.param, Final: true,
		Message: fmt.Sprintf("The %s '%s' is held by a backend that does not serve the model %q. Use the model that it was created with, or send the request without it.",
			ref.noun(), printable(ref.id), printable(req.Model)),
	}
}

// locationUnknown is the error for an object whose backend cannot be determined
// now.
func locationUnknown(ref reference, cause error) *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Type: serverError, Code: "no_backend_available", Rule: "owner", RetryAfter: 2 * time.Second, Cause: cause,
		Message: fmt.Sprintf("The backend that holds the %s '%s' cannot be determined at the moment. Please retry after 2 seconds.", ref.noun(), printable(ref.id)),
	}
}
