package simulator

import (
	"net/http"
	"strings"
)

const (
	maxMessages  = 2048
	maxTools     = 128
	maxEmbedding = 2048
)

// checkBody refuses what the service refuses about a body.
func (c *call) checkBody(family string) *apiError {
	if no := c.checkTier(); no != nil {
		return no
	}
	if c.request.MaxTokens != nil && c.spec.reasons() && family == "chat" {
		return invalidRequest("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
			"max_tokens", "unsupported_parameter")
	}
	if len(c.request.Tools) > maxTools {
		return invalidRequest("Invalid 'tools': array too long. Expected an array with maximum length 128.", "tools", "array_above_max_length")
	}
	switch family {
	case "chat":
		return c.checkMessages()
	case "embeddings":
		return c.checkInputs()
	case "responses":
		return c.checkResponse()
	case "completions":
		return missingParameter(len(c.request.Prompt) == 0, "prompt")
	case "transcription":
		return missingParameter(c.request.FileName == "", "file")
	}
	return nil
}

func missingParameter(absent bool, param string) *apiError {
	if !absent {
		return nil
	}
	return invalidRequest("Missing required parameter: '"+param+"'.", param, "missing_required_parameter")
}

func (c *call) checkMessages() *apiError {
	if len(c.request.Messages) > maxMessages {
		return invalidRequest("Invalid 'messages': array too long. Expected an array with maximum length 2048.", "messages", "array_above_max_length")
	}
	return missingParameter(len(c.request.Messages) == 0, "messages")
}

// checkTier judges service_tier and the header that overrides it
// (facts/azure-openai.md §3.7).
func (c *call) checkTier() *apiError {
	tier := c.request.ServiceTier
	if over := c.r.Header.Get("x-ms-service-tier"); over != "" {
		tier = strings.ToLower(over)
	}
	switch tier {
	case "", "auto", "default":
		c.tier = "default"
	case "priority":
		c.tier = "priority"
		if c.spec.SKU != GlobalStandard {
			c.tier = "default"
		}
	case "flex":
		if c.spec.SKU == Provisioned {
			return invalidRequest("The flex service tier is not supported by this deployment.", "service_tier", "")
		}
		c.tier = "flex"
	default:
		return invalidRequest("Invalid value for service_tier: "+quote(tier)+".", "service_tier", "")
	}
	return nil
}

// customHeaders counts the headers that no standard and no SDK brings along.
func customHeaders(h http.Header) int {
	count := 0
	for name := range h {
		if !ordinaryHeader(strings.ToLower(name)) {
			count++
		}
	}
	return count
}

func ordinaryHeader(name string) bool {
	for _, prefix := range []string{"accept", "content-", "x-stainless-", "if-", "sec-", "proxy-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "authorization", "api-key", "user-agent", "connection", "keep-alive", "te", "trailer", "transfer-encoding",
		"upgrade", "expect", "cookie", "origin", "referer", "cache-control", "pragma", "date", "via", "forwarded",
		"traceparent", "tracestate", "x-ms-client-request-id", "openai-beta", "openai-organization", "openai-project":
		return true
	default:
		return false
	}
}
