package simulator

import "net/http"

// gatewayErrors are errors as gateways and compatible servers write them: about the
// backend, about what Spillway adds, and with the status of a success
// (docs/azure-openai.md#facts-about-a-backend, docs/azure-openai.md#errors-inside-a-success).
var gatewayErrors = map[string]apiError{
	"400-gateway":       {status: http.StatusBadRequest, body: `{"error":{"message":"litellm.BadRequestError: AzureException - The chatCompletion operation does not work with the specified model, gpt-4o. Please choose different model and try again.","type":null,"param":null,"code":"400"}}`},
	"400-list":          {status: http.StatusBadRequest, body: `[{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}]`},
	"400-model-version": {status: http.StatusBadRequest, body: errorBody("BadRequest", "Model gpt-4o is enabled only for api versions 2024-12-01-preview and later")},
	"400-verified":      {status: http.StatusBadRequest, body: openaiBody("Your organization must be verified to stream this model.", "invalid_request_error", "stream", "unsupported_value")},
	"404-api":           {status: http.StatusNotFound, body: `{"error":{"code":"api_not_supported","message":"Requested API is currently not supported","details":"Requested API is currently not supported"}}`},
	"404-other-api":     {status: http.StatusNotFound, body: openaiBody("This model is only supported in v1/responses and not in v1/chat/completions.", "invalid_request_error", "model", "")},

	"no-stream-options-500":        {status: http.StatusInternalServerError, body: `{"error":{"type":"request_fail","upstream_error":{"error":{"message":"stream_options: Extra inputs are not permitted","type":"invalid_request_error"}}}}`},
	"no-max-completion-tokens-422": {status: http.StatusUnprocessableEntity, body: `{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","input":1}]},"type":"invalid_request_error","param":null,"code":null}`},

	"object-error-200":  {status: http.StatusOK, body: `{"object":"error","message":"engine loop has died","type":"InternalServerError","param":null,"code":500}`},
	"null-message-200":  {status: http.StatusOK, body: `{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":null,"finish_reason":"stop"}]}`},
	"failed-finish-200": {status: http.StatusOK, body: `{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"half"},"finish_reason":"network_error"}]}`},
}

// gatewayError is nil for other actions.
func gatewayError(action string) *apiError {
	e, ok := gatewayErrors[action]
	if !ok {
		return nil
	}
	e.name = action
	return &e
}
