package simulator

import (
	"fmt"
	"math"
	"net/http"
	"time"
)

// throttle is what a 429 is about, as its text needs it.
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

// classic is the text of 2023 and 2024: what is "token" or "call".
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

// capacity is the region's, not the caller's.
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

// provisioned is a PTU above 100 %. No body was ever captured
// (facts/azure-openai.md §3.2): the status and the headers are what counts.
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

// forLimit is the limiter's own 429 in the family's words.
func (t throttle) forLimit(what string) *apiError {
	if t.route.family == familyV1 {
		return t.v1()
	}
	return t.classic(what)
}
