package simulator

import (
	"net/http"
	"strings"
)

// backendError is an error that is about the backend although its status is one of
// the caller's: a deployment, an operation or a version that is not there. The texts
// are those of Azure and of OpenAI-compatible servers
// (docs/azure-openai.md#facts-about-a-backend). It is nil for other actions.
func backendError(action string) *apiError {
	e := &apiError{name: action, status: http.StatusNotFound}
	switch action {
	case "400-unavailable-model":
		e.status, e.body = http.StatusBadRequest, `{"error":{"code":"unavailable_model","message":"Unavailable model: gpt-4o","details":"Unavailable model: gpt-4o"}}`
	case "400-unknown-model":
		e.status, e.body = http.StatusBadRequest, `{"error":{"code":"unknown_model","message":"Unknown model: gpt-4o","details":"Unknown model: gpt-4o"}}`
	case "400-responses-version":
		e.status, e.body = http.StatusBadRequest, errorBody("BadRequest", "Azure OpenAI Responses API is enabled only for api-version 2025-03-01-preview and later")
	case "402":
		e.status, e.body = http.StatusPaymentRequired, errorBody("402", "The subscription of this resource has no credit left.")
	case "404-html":
		e.contentType, e.body = "text/html", strings.ReplaceAll(gatewayHTML, "502 Bad Gateway", "404 Not Found")
	case "404-text":
		e.contentType, e.body = "text/plain; charset=utf-8", "404 page not found\n"
	case "404-detail":
		e.body = `{"detail":"Not Found"}`
	case "404-empty":
		e.contentType = "none"
	case "404-status-code":
		e.body = `{ "statusCode": 404, "message": "Resource not found" }`
	case "404-unknown-url":
		e.body = openaiBody("Unknown request URL: POST /v1/responses. Please check the URL for typos.", "invalid_request_error", "", "unknown_url")
	case "405":
		e.status, e.body = http.StatusMethodNotAllowed, `{"detail":"Method Not Allowed"}`
	case "410":
		e.status, e.body = http.StatusGone, errorBody("ModelDeprecated", "The model 'gpt-4o' of this deployment has been retired. Please use another model.")
	case "no-stream-options":
		e.status, e.body = http.StatusBadRequest, errorBody("BadRequest", "Validation error at #/stream_options: Extra inputs are not permitted")
	case "no-stream-options-422":
		e.status, e.body = http.StatusUnprocessableEntity, `{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{"include_usage":true}}]}`
	case "500-filter":
		e.status, e.body = http.StatusInternalServerError, promptFiltered().body
	default:
		return gatewayError(action)
	}
	return e
}

// unhelpfulResponse is a success that is no answer, or an error that came with the
// status of one. It is nil for other actions.
func unhelpfulResponse(action string) *apiError {
	e := &apiError{name: action, status: http.StatusOK}
	switch action {
	case "garbage-200":
		e.body = `{"id":"chatcmpl-1", so far so good}`
	case "object-200":
		e.body = `{}`
	case "array-200":
		e.body = `[]`
	case "null-200":
		e.body = `null`
	case "no-choices-200":
		e.body = `{"id":"chatcmpl-1","object":"chat.completion","choices":null,"usage":null}`
	case "empty-choices-200":
		e.body = `{"id":"chatcmpl-1","object":"chat.completion","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":0,"total_tokens":9}}`
	case "list-200":
		e.body = `{"object":"list","data":[]}`
	case "filter-200":
		e.body = promptFiltered().body
	case "invalid-200":
		e.body = openaiBody("Invalid value for 'temperature'.", "invalid_request_error", "temperature", "invalid_value")
	case "model-200":
		e.body = deploymentNotFound(route{}).body
	case "error-text-200":
		e.body = `{"error":"Too many requests"}`
	case "204", "205":
		e.status, e.contentType = map[string]int{"204": http.StatusNoContent, "205": http.StatusResetContent}[action], "none"
	case "206":
		e.status, e.body, e.header = http.StatusPartialContent, sampleCompletion[:100], map[string]string{"Content-Range": "bytes 0-99/300"}
	default:
		return nil
	}
	return e
}
