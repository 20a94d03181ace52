package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// apiError is an answer that is not what the caller wanted. Bodies are spelled
// as they were captured (facts/azure-openai.md §2, §3.2, §4).
type apiError struct {
	name           string // short name, as in Fault.Action and the journal
	status         int
	contentType    string // "" is application/json
	body           string
	retryAfter     time.Duration // goes into the retry headers when hinted
	withRetryAfter bool
	header         map[string]string
}

// errorBody is the envelope of every JSON refusal but one.
func errorBody(code, message string) string {
	return fmt.Sprintf(`{"error":{"code":%s,"message":%s}}`, quote(code), quote(message))
}

// openaiBody is the envelope with OpenAI's four fields; "" param and code are null.
func openaiBody(message, kind, param, code string) string {
	return fmt.Sprintf(`{"error":{"message":%s,"type":%s,"param":%s,"code":%s}}`,
		quote(message), quoteOrNull(kind), quoteOrNull(param), quoteOrNull(code))
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
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
