package simulator

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
)

// Answers that only faults give. Where no body was captured (409, 413, 422,
// 424, 502, 504; facts/azure-openai.md §10) the status is what counts.

func otherClientError(action string) *apiError {
	switch action {
	case "408":
		return &apiError{name: action, status: http.StatusRequestTimeout, body: `{ "error": { "code": "Timeout", "message": "The operation was timeout." } }`}
	case "409":
		return &apiError{name: action, status: http.StatusConflict, body: errorBody("conflict", "The resource is being changed by another request.")}
	case "413":
		return bodyTooLarge()
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

// serverError is nil when the action is no 5xx.
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
	case "503-envoy":
		return &apiError{name: action, status: http.StatusServiceUnavailable, contentType: "text/plain", body: "no healthy upstream"}
	case "504-html":
		return &apiError{name: action, status: http.StatusGatewayTimeout, contentType: "text/html", body: strings.ReplaceAll(gatewayHTML, "502 Bad Gateway", "504 Gateway Time-out")}
	default:
		return nil
	}
}

// malformedResponse is a 200 that is none.
func malformedResponse(action string) *apiError {
	no := &apiError{name: action, status: http.StatusOK}
	switch action {
	case "empty-200":
	case "error-200":
		no.body = openaiBody("The server had an error while processing your request.", "server_error", "", "500")
	case "html-200":
		no.contentType, no.body = "text/html; charset=utf-8", "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to the network to continue.</body></html>"
	case "wrong-type-200":
		no.contentType, no.body = "text/plain", sampleCompletion
	case "half-json-200":
		no.body = sampleCompletion[:len(sampleCompletion)/2]
	case "gzip-200":
		no.body, no.header = gzipped([]byte(sampleCompletion)), map[string]string{"Content-Encoding": "gzip"}
	case "gzip-bomb-200":
		no.body, no.header = gzipped(make([]byte, 10<<20)), map[string]string{"Content-Encoding": "gzip"}
	case "redirect":
		no.status, no.contentType = http.StatusTemporaryRedirect, "none"
		no.header = map[string]string{"Location": "/elsewhere"}
	}
	return no
}

// sampleCompletion is a sound answer for faults to spoil.
const sampleCompletion = `{"id":"chatcmpl-spoilt","object":"chat.completion","created":1735689600,"model":"gpt-4o-2024-11-20","choices":[{"index":0,"message":{"role":"assistant","content":"This answer was spoilt on its way."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}`

func gzipped(plain []byte) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(plain) // a bytes.Buffer takes everything
	_ = z.Close()
	return b.String()
}
