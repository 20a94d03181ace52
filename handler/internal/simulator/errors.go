package simulator

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// apiError is a response of the service other than the one that was asked for.
// Bodies are written as they were captured (docs/azure-openai.md#errors,
// #429-bodies, #authentication).
type apiError struct {
	name           string // short name, as in Fault.Action and the journal
	status         int
	contentType    string // "" is application/json
	body           string
	retryAfter     time.Duration // sent with withRetryAfter
	withRetryAfter bool
	header         map[string]string
}

// errorBody is the usual envelope of an error.
func errorBody(code, message string) string {
	return fmt.Sprintf(`{"error":{"code":%s,"message":%s}}`, quote(code), quote(message))
}

// openaiBody is the envelope with OpenAI's four fields; an empty param or code is
// null.
func openaiBody(message, kind, param, code string) string {
	return fmt.Sprintf(`{"error":{"message":%s,"type":%s,"param":%s,"code":%s}}`,
		quote(message), quoteOrNull(kind), quoteOrNull(param), quoteOrNull(code))
}

func quote(s string) string {
	b, _ := json.Marshal(s) // never fails
	return string(b)
}

func quoteOrNull(s string) string {
	if s == "" {
		return "null"
	}
	return quote(s)
}

func resourceNotFound() *apiError {
	return &apiError{name: "404-resource", status: http.StatusNotFound, body: `{"error":{"code":"404","message": "Resource not found"}}`}
}

func invalidKey() *apiError {
	return &apiError{name: "401-key", status: http.StatusUnauthorized, body: errorBody("401",
		"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.")}
}

func invalidToken() *apiError {
	return &apiError{
		name: "401-token", status: http.StatusUnauthorized,
		body: `{ "statusCode": 401, "message": "Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired." }`,
	}
}

func permissionDenied(r route) *apiError {
	op := r.operation
	if op == "" {
		op = "chat/completions"
	}
	path := "/openai/deployments/{deployment-id}/" + op
	if r.family == familyV1 || r.family == familyRoot {
		path = "/openai/" + op
	}
	return &apiError{name: "401-permission", status: http.StatusUnauthorized, body: errorBody("PermissionDenied", fmt.Sprintf(
		"The principal `9f1c7c6e-0000-4000-8000-000000000000` lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/%s/action` to perform `POST %s` operation.", op, path))}
}

func networkDenied() *apiError {
	return &apiError{name: "403-network", status: http.StatusForbidden, body: errorBody("403", "Access denied due to Virtual Network/Firewall rules.")}
}

func publicAccessDisabled() *apiError {
	return &apiError{name: "403-private", status: http.StatusForbidden, body: errorBody("403", "Public access is disabled. Please configure private endpoint.")}
}

func keyAuthDisabled() *apiError {
	return &apiError{
		name: "403-keys-disabled", status: http.StatusForbidden,
		body: errorBody("AuthenticationTypeDisabled", "Key based authentication is disabled for this resource."),
	}
}

func resourceBlocked() *apiError {
	return &apiError{
		name: "403-blocked", status: http.StatusForbidden,
		body: `{"error":{"message":"Your resource has been temporarily blocked because we detected behavior that may violate our content policy. To learn more, visit https://aka.ms/aoaicodeofconduct"}}`,
	}
}

func deploymentNotFound(r route) *apiError {
	const text = "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."
	body := errorBody("DeploymentNotFound", text)
	if r.family == familyV1 {
		body = openaiBody(text, "invalid_request_error", "", "DeploymentNotFound")
	}
	return &apiError{name: "404-deployment", status: http.StatusNotFound, body: body}
}

func versionNotSupported() *apiError {
	return &apiError{name: "400-version", status: http.StatusBadRequest, body: errorBody("BadRequest", "API version not supported")}
}

func invalidRequest(message, param, code string) *apiError {
	return &apiError{name: "400-invalid", status: http.StatusBadRequest, body: openaiBody(message, "invalid_request_error", param, code)}
}

func operationNotSupported(operation, model string) *apiError {
	if operation == "responses" {
		return &apiError{name: "400-model", status: http.StatusBadRequest, body: openaiBody("Model not supported", "invalid_request_error", "model", "")}
	}
	return &apiError{name: "400-operation", status: http.StatusBadRequest, body: errorBody("OperationNotSupported", fmt.Sprintf(
		"The %s operation does not work with the specified model, %s. Please choose different model and try again. You can learn more about which models can be used with each operation here: https://go.microsoft.com/fwlink/?linkid=2197993.", operation, model))}
}

func contextLengthExceeded(window, asked int) *apiError {
	return &apiError{name: "400-context", status: http.StatusBadRequest, body: openaiBody(fmt.Sprintf(
		"This model's maximum context length is %d tokens. However, your messages resulted in %d tokens. Please reduce the length of the messages.", window, asked),
		"invalid_request_error", "messages", "context_length_exceeded")}
}

func promptFiltered() *apiError {
	return &apiError{name: "400-filter", status: http.StatusBadRequest, body: `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":true,"severity":"high"},"violence":{"filtered":false,"severity":"safe"}}}}}`}
}

func bodyTooLarge() *apiError {
	return &apiError{name: "413", status: http.StatusRequestEntityTooLarge, body: errorBody("413", "Request body too large.")}
}

func tooManyHeaders() *apiError {
	return &apiError{name: "431", status: http.StatusRequestHeaderFieldsTooLarge, body: errorBody("431", "Too many custom headers: the request may carry at most 10.")}
}

// throttle holds what the text of a 429 is made of.
type throttle struct {
	route          route
	model          string
	region         string
	retryAfter     time.Duration
	withRetryAfter bool
}

func (t throttle) apiError(name, body string) *apiError {
	return &apiError{name: name, status: http.StatusTooManyRequests, body: body, retryAfter: t.retryAfter, withRetryAfter: t.withRetryAfter}
}

func (t throttle) seconds() int { return wholeSeconds(t.retryAfter) }

// wholeSeconds rounds a wait up to the second, at least one.
func wholeSeconds(d time.Duration) int {
	return max(1, int(math.Ceil(d.Seconds())))
}

// classic is the text of 2023 and 2024; limit is "token" or "call".
func (t throttle) classic(what string) *apiError {
	name := "429-token"
	if what == "call" {
		name = "429-call"
	}
	return t.apiError(name, errorBody("429", fmt.Sprintf(
		"Requests to the %s Operation under Azure OpenAI API version %s have exceeded %s rate limit of your current OpenAI S0 pricing tier. Please retry after %d seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit.",
		t.route.operationID(), t.route.version, what, t.seconds())))
}

// regional is the text since 2025.
func (t throttle) regional() *apiError {
	return t.apiError("429-2025", errorBody("429", fmt.Sprintf(
		"Your requests to %[1]s for %[1]s in %[2]s have exceeded the token rate limit for your current AIServices S0 pricing tier. This request was for %[3]s under Azure OpenAI API version %[4]s. Please retry after %[5]d seconds. To increase your default rate limit, visit: https://aka.ms/oai/quotaincrease.",
		t.model, regionName(t.region), t.route.operationID(), t.route.version, t.seconds())))
}

func (t throttle) short() *apiError {
	return t.apiError("429-short", fmt.Sprintf(`{"error":{"code":"429","message": "Rate limit is exceeded. Try again in %d seconds."}}`, t.seconds()))
}

// capacity is the 429 of a region without capacity.
func (t throttle) capacity(code string) *apiError {
	name := "429-capacity"
	if code == "NoCapacity" {
		name = "429-nocapacity"
	}
	return t.apiError(name, errorBody(code, fmt.Sprintf(
		"The system is currently experiencing high demand and cannot process your request. Your request exceeds the maximum usage size allowed during peak load. Please retry after %d seconds. For improved latency reliability, consider switching to Provisioned Throughput.", t.seconds())))
}

// v1 is the text and envelope of the v1 paths.
func (t throttle) v1() *apiError {
	return t.apiError("429-v1", openaiBody(t.v1Text(), "too_many_requests", "", "rate_limit_exceeded"))
}

func (t throttle) v1Text() string {
	return fmt.Sprintf("Your requests to %[1]s for %[1]s in %[2]s have exceeded token rate limit.", t.model, t.region)
}

// provisioned is the 429 of a PTU above 100 %. Its body is inferred: none was
// captured (docs/azure-openai.md#429-bodies).
func (t throttle) provisioned() *apiError {
	if t.route.family == familyV1 {
		return t.apiError("429-ptu", openaiBody(fmt.Sprintf(
			"Your requests to %[1]s for %[1]s in %[2]s have exceeded the provisioned throughput of the deployment.", t.model, t.region),
			"too_many_requests", "", "rate_limit_exceeded"))
	}
	return t.apiError("429-ptu", errorBody("429", fmt.Sprintf(
		"Requests to the %s Operation under Azure OpenAI API version %s have exceeded the provisioned throughput of the deployment. Please retry after %d seconds.",
		t.route.operationID(), t.route.version, t.seconds())))
}

func (t throttle) flex() *apiError {
	return t.apiError("429-flex", openaiBody("Flex processing has no capacity at present. Retry with back-off or use the default service tier.",
		"too_many_requests", "service_tier", "resource_unavailable"))
}

// forLimit is the 429 of the deployment's own limits, in the form of its path.
func (t throttle) forLimit(what string) *apiError {
	if t.route.family == familyV1 {
		return t.v1()
	}
	return t.classic(what)
}

// otherClientError is the error of a 4xx that only faults cause. For 409, 413, 422
// and 424 the body is inferred. It is nil for other actions.

func otherClientError(action string) *apiError {
	switch action {
	case "408":
		return &apiError{name: action, status: http.StatusRequestTimeout, body: `{ "error": { "code": "Timeout", "message": "The operation was timeout." } }`}
	case "409":
		return &apiError{name: action, status: http.StatusConflict, body: errorBody("conflict", "The resource is being changed by another request.")}
	case "413":
		return bodyTooLarge()
	case "413-html", "421-html", "499-html":
		status, _ := strconv.Atoi(action[:3]) // by the cases
		return &apiError{name: action, status: status, contentType: "text/html", body: strings.ReplaceAll(gatewayHTML, "502 Bad Gateway", action[:3])}
	case "422":
		return &apiError{name: action, status: http.StatusUnprocessableEntity, body: errorBody("UnprocessableEntity", "The request could not be processed.")}
	case "424":
		return &apiError{
			name: action, status: http.StatusFailedDependency, body: errorBody("FailedDependency", "The model endpoint did not answer the request."),
			header: map[string]string{"ms-azureml-model-error-reason": "model_error", "ms-azureml-model-error-statuscode": "429"},
		}
	case "431":
		return tooManyHeaders()
	default:
		return nil
	}
}

const gatewayHTML = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>Microsoft-Azure-Application-Gateway/v2</center>\r\n</body>\r\n</html>\r\n"

// serverError is nil when the action is not a 5xx. The bodies of 502 and 504 are
// inferred.
func serverError(action, requestID string) *apiError {
	switch action {
	case "500":
		return &apiError{name: action, status: http.StatusInternalServerError, body: openaiBody(
			"The server had an error while processing your request. Sorry about that! You can retry your request, or contact us through an Azure support request at: https://go.microsoft.com/fwlink/?linkid=2213926 if the error persists. (Please include the request ID "+requestID+" in your message.)",
			"server_error", "", "")}
	case "502-html":
		return &apiError{name: action, status: http.StatusBadGateway, contentType: "text/html", body: gatewayHTML}
	case "502-empty":
		return &apiError{name: action, status: http.StatusBadGateway, contentType: "none"}
	case "503":
		return &apiError{name: action, status: http.StatusServiceUnavailable, body: errorBody("InternalServerError",
			"The service is temporarily unable to process your request. Please try again later.")}
	case "529":
		return &apiError{name: action, status: statusOverloaded, body: errorBody("529", "Overloaded")}
	case "503-envoy":
		return &apiError{name: action, status: http.StatusServiceUnavailable, contentType: "text/plain", body: "no healthy upstream"}
	case "504-html":
		return &apiError{name: action, status: http.StatusGatewayTimeout, contentType: "text/html", body: strings.ReplaceAll(gatewayHTML, "502 Bad Gateway", "504 Gateway Time-out")}
	default:
		return nil
	}
}

// malformedResponse is a 200 or a redirect that a client cannot use.
func malformedResponse(action string) *apiError {
	apiErr := &apiError{name: action, status: http.StatusOK}
	switch action {
	case "empty-200":
	case "error-200":
		apiErr.body = openaiBody("The server had an error while processing your request.", "server_error", "", "500")
	case "html-200":
		apiErr.contentType, apiErr.body = "text/html; charset=utf-8", "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to the network to continue.</body></html>"
	case "wrong-type-200":
		apiErr.contentType, apiErr.body = "text/plain", sampleCompletion
	case "half-json-200":
		apiErr.body = sampleCompletion[:len(sampleCompletion)/2]
	case "gzip-200":
		apiErr.body, apiErr.header = gzipped([]byte(sampleCompletion)), map[string]string{"Content-Encoding": "gzip"}
	case "gzip-bomb-200":
		apiErr.body, apiErr.header = gzipped(make([]byte, 10<<20)), map[string]string{"Content-Encoding": "gzip"}
	case "redirect":
		apiErr.status, apiErr.contentType = http.StatusTemporaryRedirect, "none"
		apiErr.header = map[string]string{"Location": "/elsewhere"}
	}
	return apiErr
}

// sampleCompletion is a valid response that faults alter.
const sampleCompletion = `{"id":"chatcmpl-sample","object":"chat.completion","created":1735689600,"model":"gpt-4o-2024-11-20","choices":[{"index":0,"message":{"role":"assistant","content":"This response was altered on purpose."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}`

func gzipped(plain []byte) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(plain) // never fails
	_ = z.Close()
	return b.String()
}
