package classify

import (
	"testing"
	"time"

	"spillway/handler/internal/health"
)

func classifyRecorded(t *testing.T, name string, p Policy) health.Outcome {
	t.Helper()
	res, body := recorded(t, name)
	return plain(Status(res.StatusCode, res.Header, body, time.Time{}, p))
}

func TestProvisionedThrottle(t *testing.T) {
	got := classifyRecorded(t, "429-call-rate-classic", Policy{Provisioned: true})
	want := throttledFor(health.LimitProvisioned, 7250*time.Millisecond, 7250*time.Millisecond, "429 provisioned")
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestErrorsOfTheCallersCredential(t *testing.T) {
	for name, want := range map[string]health.Outcome{
		"401-token": servedWith("401"), "401-role": servedWith("401"), "403-network": servedWith("403"),
		"404-deployment": misconfigured("deployment not found"),
	} {
		if got := classifyRecorded(t, name, Policy{CallerAuth: true}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestWhichStatusesAreFailures(t *testing.T) {
	tests := []struct {
		name string
		want health.Outcome
	}{
		{"500", failedWith("500")},
		{"408", failedWith("408")},
		{"413", misconfigured("413")},
		{"429-v1", throttledFor(health.LimitTokens, 23*time.Second, 23*time.Second, "429 tokens")},
		{"401-key", misconfigured("401")},
		{"400-content-filter", servedWith("content filter")},
		{"400-context-length", servedWith("context length")},
		{"200", servedWith("")},
	}
	for _, tt := range tests {
		if got := classifyRecorded(t, tt.name, Policy{}); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// Messages quote what callers sent, and parameters are theirs: neither may make a
// backend look unhealthy.
func TestCallersCannotMakeABackendLookUnhealthy(t *testing.T) {
	tests := map[string]struct {
		code int
		body string
	}{
		"a quoted text":     {400, `{"error":{"message":"Invalid value: 'Could not find an existing deployment to match the model'.","type":"invalid_request_error","param":"tool_choice","code":"invalid_value"}}`},
		"a model in a tool": {404, `{"error":{"message":"The model 'x' does not exist.","type":"invalid_request_error","param":"tools[0].model","code":"model_not_found"}}`},
		"a server code":     {400, `{"error":{"message":"m","code":"server_error"}}`},
		"a limit in a text": {400, `{"error":{"message":"rate limit, retry after 60 seconds","code":"429"}}`},
		"a status in a 404": {404, `{"error":{"message":"m","code":"500"}}`},
	}
	for name, tt := range tests {
		got := Status(tt.code, nil, []byte(tt.body), time.Time{}, Policy{})
		if got.Class != health.Served {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestModelNotFoundIsMisconfigured(t *testing.T) {
	for _, param := range []string{`null`, `"model"`} {
		body := `{"error":{"message":"The model 'x' does not exist or you do not have access to it.","type":"invalid_request_error","param":` + param + `,"code":"model_not_found"}}`
		got := plain(Status(404, nil, []byte(body), time.Time{}, Policy{}))
		if want := misconfigured("deployment not found"); got != want {
			t.Errorf("param %s: %+v, want %+v", param, got, want)
		}
	}
}

// A failure that names a wait is no throttle: the wait is for the log alone.
func TestWaitOfAFailure(t *testing.T) {
	for code, name := range map[int]string{408: "Retry-After", 500: "Retry-After", 503: "Retry-After", 529: "Retry-After-Ms"} {
		got := Status(code, map[string][]string{name: {"30"}}, nil, time.Time{}, Policy{})
		if got.Class != health.Failed || got.Wait != 0 || got.RawWait == 0 || got.Limit != health.LimitUnknown {
			t.Errorf("%d: %+v", code, got)
		}
	}
}

// Facts about a backend come with the statuses of callers' mistakes.
func TestFactsAboutABackend(t *testing.T) {
	tests := []struct {
		code int
		body string
		want string
	}{
		{410, ``, "retired"},
		{410, `{"error":{"code":"DeploymentRetired","message":"m"}}`, "retired"},
		{402, `{"error":{"message":"no credit"}}`, "402"},
		{404, `<html><title>404 Not Found</title></html>`, "operation not supported"},
		{404, ``, "operation not supported"},
		{404, `{}`, "operation not supported"},
		{404, `404 page not found`, "operation not supported"},
		{404, `{"detail":"Not Found"}`, "operation not supported"},
		{404, `{"error":{"code":"404","message": "Resource not found"}}`, "operation not supported"},
		{404, `{ "statusCode": 404, "message": "Resource not found" }`, "operation not supported"},
		{404, `{"error":{"message":"Invalid URL (POST /v1/chat/completion)","type":"invalid_request_error","param":null,"code":null}}`, "operation not supported"},
		{404, `{"error":{"message":"Unknown request URL: POST /openai/v1/responses. Please check the URL for typos","type":"invalid_request_error","code":"unknown_url"}}`, "operation not supported"},
		{404, `{"message":"no Route matched with those values"}`, "operation not supported"},
		{405, `{"detail":"Method Not Allowed"}`, "operation not supported"},
		{400, `{"error":{"code":"OperationNotSupported","message":"The chatCompletion operation does not work with the specified model, o3-pro."}}`, "operation not supported"},
		{400, `{"error":{"code":"BadRequest","message":"API version not supported"}}`, "operation not supported"},
		{400, `{"error":{"code":"BadRequest","message":"Azure OpenAI Responses API is enabled only for api-version 2025-03-01-preview and later"}}`, "operation not supported"},
		{400, `{"error":{"message":"Model not supported","type":"invalid_request_error","param":"model","code":null}}`, "operation not supported"},
		{400, `{"error":{"message":"The requested operation is unsupported.","type":"invalid_request_error","param":null,"code":null}}`, "operation not supported"},
		{400, `{"error":{"code":"unavailable_model","message":"Unavailable model: gpt-4o"}}`, "deployment not found"},
		{404, `{"error":{"code":"unknown_model","message":"Unknown model: Phi-3.5"}}`, "deployment not found"},
		{400, `{"error":{"message":"Invalid model name passed in model=gpt-9. Call /v1/models","type":"None","param":"None","code":"400"}}`, "deployment not found"},
		{400, `{"error":{"message":"Model Not Exist","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}`, "deployment not found"},
		{404, "{\"object\":\"error\",\"message\":\"The model `gpt-4o` does not exist.\",\"type\":\"NotFoundError\",\"param\":null,\"code\":404}", "deployment not found"},
		{404, `{"error":{"message":"model \"llama3\" not found, try pulling it first","type":"api_error","param":null,"code":null}}`, "deployment not found"},
		{404, `{"error":{"code":"DeploymentNotFound","message":"m"}}`, "deployment not found"},
		{400, "{\"error\":{\"message\":\"The model `gemma2-9b-it` has been decommissioned and is no longer supported.\",\"type\":\"invalid_request_error\",\"code\":\"model_decommissioned\"}}", "deployment not found"},
		{400, `{"error":{"message":"Unable to access non-serverless model mistralai/x. Please visit","type":"invalid_request_error","param":null,"code":"model_not_available"}}`, "deployment not found"},
		{400, `{"error":{"message":"The dedicated endpoint for mistralai/x is not running.","type":"invalid_request_error","param":null,"code":"dedicated_endpoint_not_running"}}`, "deployment not found"},
		{400, `{"object":"error","message":"Invalid model: mistral-medium-3.5","type":"invalid_model","param":null,"code":"1500","raw_status_code":400}`, "deployment not found"},
		{400, `{"error":{"message":"The requested model is not supported.","code":"model_not_supported","param":"model","type":"invalid_request_error"}}`, "deployment not found"},
		{404, `{"error":{"message":"No endpoints found for 01-ai/yi-34b.","code":404},"user_id":"user_2"}`, "deployment not found"},
		{404, `{"type":"error","error":{"type":"not_found_error","message":"model: claude-2.1"}}`, "deployment not found"},
		{400, `{"error":{"code":"BadRequest","message":"Model {modelName} is enabled only for api versions 2024-12-01-preview and later"}}`, "operation not supported"},
		{404, `{"error":{"code":"api_not_supported","message":"Requested API is currently not supported","details":"Requested API is currently not supported"}}`, "operation not supported"},
		{400, `{"error":{"code":"BadRequest","message":"Missing required query parameter: api-version"}}`, "operation not supported"},
		{404, `{"error":{"message":"This model is only supported in v1/responses and not in v1/chat/completions.","type":"invalid_request_error","param":"model","code":null}}`, "operation not supported"},
		{404, `{"error":{"message":"This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use v1/completions?","type":"invalid_request_error","param":"model","code":null}}`, "operation not supported"},
		{400, `{"error":{"type":"invalid_request_error","message":"Unsupported legacy protocol: /v1/chat/completions is not supported. Please use /v1/responses."}}`, "operation not supported"},
		{400, `{"error":{"message":"Your organization must be verified to stream this model. Please go to: https://platform.openai.com","type":"invalid_request_error","param":"stream","code":"unsupported_value"}}`, "operation not supported"},
		{400, `[{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}]`, "operation not supported"},
		{400, `{"object":"error","message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","type":"BadRequestError","param":null,"code":400}`, "operation not supported"},
		{400, `{"object":"error","message":"As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat template.","type":"BadRequestError","param":null,"code":400}`, "operation not supported"},
		{400, `{"error":{"message":"litellm.BadRequestError: AzureException - The chatCompletion operation does not work with the specified model, gpt-35-turbo. Please choose different model","type":null,"param":null,"code":"400"}}`, "operation not supported"},
		{404, `{"error":{"message":"litellm.NotFoundError: AzureException NotFoundError - Resource not found","type":null,"param":null,"code":"404"}}`, "operation not supported"},
		{400, `{"error":{"message":"/chat/completions: Invalid model name passed in model=gpt-4o. Call /v1/models","type":"invalid_request_error","param":"None","code":"400"}}`, "deployment not found"},
		{400, `{"error":"/responses: Invalid model name passed in model=gpt-5. Call /v1/models"}`, "deployment not found"},
		{400, `{"error":{"message":"The requested model 'gpt-4o-search-preview' is not supported with the Responses API.","type":"invalid_request_error","param":"model","code":"model_not_found"}}`, "deployment not found"},
		{400, "{\"error\":{\"message\":\"The model `gpt-4o` does not exist.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}", "deployment not found"},
		{400, `{"code":20012,"message":"Model does not exist. Please check it carefully.","data":null}`, "deployment not found"},
		{404, `{"error":{"message":"Model not found, inaccessible, and/or not deployed","param":"model","code":"NOT_FOUND","type":"error"}}`, "deployment not found"},
		{404, `[{"error":{"code":404,"message":"models/gemini-x is not found for API version v1main, or is not supported for generateContent.","status":"NOT_FOUND"}}]`, "deployment not found"},
		{404, `{"error":{"message":"No models loaded. Please load a model in the developer page or use the 'lms load' command.","type":"invalid_request_error","param":"model","code":null}}`, "deployment not found"},
		{400, `{"error":"Failed to load model \"gpt-oss-20b\". Error: Error loading model."}`, "deployment not found"},
		{404, `{"code":"Some requested entity was not found","error":"The model grok-9 does not exist or your team does not have access to it."}`, "deployment not found"},
		{400, `{"error":{"message":"meta/llama-9 is not a valid model ID","code":400},"user_id":"user_2"}`, "deployment not found"},
		{400, `{"message":"The provided model identifier is invalid."}`, "deployment not found"},
		{400, `{"error":{"message":"litellm.BadRequestError: BedrockException - {\"message\":\"The provided model identifier is invalid.\"}. Received Model Group=m","type":null,"param":null,"code":"400"}}`, "deployment not found"},
		{404, `{"code":"Some requested entity was not found","error":"No handler found on route. Please double check your URL."}`, "operation not supported"},

		// These are about the request.
		{400, `{"error":{"message":"Invalid value: 'The model gpt-4o does not exist'.","type":"invalid_request_error","param":"user"}}`, ""},
		{400, `{"error":{"message":"The model of tool x does not exist.","type":"invalid_request_error","param":null}}`, ""},
		{400, `{"error":{"message":"litellm.BadRequestError: OpenAIException - Invalid value: 'Model does not exist'.","type":null,"param":null,"code":"400"}}`, ""},
		{400, `{"error":{"message":"'x' : a text: Model does not exist","type":"invalid_request_error","param":null}}`, ""},
		{400, `{"error":{"message":"Invalid value: 'API version not supported'.","type":"invalid_request_error","param":"user"}}`, ""},
		{400, `{"error":{"message":"Invalid 'input': Resource not found","type":"invalid_request_error","param":"input","code":"OperationNotSupportedX"}}`, ""},
		{404, `{"error":{"message":"No such File object: Resource not found","type":"invalid_request_error","param":"id","code":null}}`, ""},
		{404, `{"error":{"message":"Response with id 'resp_1' not found.","type":"invalid_request_error","param":null,"code":null}}`, ""},
		{400, `{"error":{"message":"model: field required","type":"invalid_request_error","param":null,"code":null}}`, ""},
		{400, `{"error":{"message":"m","type":"invalid_request_error","param":"tools[0].model","code":"model_not_available"}}`, ""},
		{404, "{\"error\":{\"message\":\"The model `x` does not exist.\",\"param\":\"tools[0].model\",\"code\":\"model_not_found\"}}", ""},
		{400, `{"error":{"message":"Resource not found","type":"invalid_request_error","param":null,"code":null}}`, ""},
		{409, `{"error":{"code":"OperationNotSupported","message":"m"}}`, ""},
		{422, `{"detail":"Not Found"}`, ""},
		{413, `{"error":{"message":"m","type":"request_too_large"}}`, ""},
		{409, `{"error":{"code":"RequestConflict","message":"m"}}`, ""},
		{400, `[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]`, ""},
	}
	for _, tt := range tests {
		got := Status(tt.code, nil, []byte(tt.body), time.Time{}, Policy{})
		if tt.want == "" && got.Class != health.Served || tt.want != "" && (got.Class != health.Misconfigured || got.Reason != tt.want) {
			t.Errorf("%d %s: %v, %q; want %q", tt.code, tt.body, got.Class, got.Reason, tt.want)
		}
	}
}

// What is no error of the model service is of a server in front of it, and no word
// about the request.
func TestAnswersOfServersInFrontOfTheService(t *testing.T) {
	const page = "<!DOCTYPE HTML><HTML><TITLE>Bad Request</TITLE><h2>Bad Request - Invalid Hostname</h2></HTML>"
	object := func(code string) string { return `{"error":{"code":"` + code + `","message":"m"}}` }
	for _, tt := range []struct {
		code       int
		body, want string
	}{
		{400, page, "400"},
		{400, "", "400"},
		{400, " \r\n", "400"},
		{400, "{}", "400"},
		{400, "[]", "400"},
		{400, "upstream connect error", "400"},
		{409, page, "409"},
		{411, page, "411"},
		{413, page, "413"},
		{414, "", "414"},
		{415, page, "415"},
		{418, "", "418"},
		{422, page, "422"},
		{424, "", "424"},
		{431, page, "431"},
		{407, object("407"), "407"},
		{421, object("421"), "421"},
		{423, object("423"), "423"},
		{425, object("425"), "425"},
		{426, "", "426"},
		{444, "", "444"},
		{451, object("451"), "451"},
		{460, "", "460"},
		{498, object("498"), "498"},
		{499, page, "499"},
		{404, object("ResourceNotFound"), "operation not supported"},
		{400, object("insufficient_quota"), "out of quota"},
		{403, object("insufficient_quota"), "403"},
		{400, `{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","code":"billing_hard_limit_reached"}}`, "out of quota"},
		{400, `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}`, "out of quota"},
	} {
		if got := plain(Status(tt.code, nil, []byte(tt.body), time.Time{}, Policy{})); got != misconfigured(tt.want) {
			t.Errorf("%d %s: %v, %q; want %q", tt.code, tt.body, got.Class, got.Reason, tt.want)
		}
	}
	if got := plain(Status(404, nil, []byte(object("ResourceNotFound")), time.Time{}, Policy{NamesObject: true})); got != servedWith("404") {
		t.Errorf("of a stored object: %v, %q", got.Class, got.Reason)
	}
}

func TestInvalidStatusesAreFailures(t *testing.T) {
	for _, code := range []int{-1, 0, 99, 101, 199, 600, 999, 1000} {
		if got := plain(Status(code, nil, nil, time.Time{}, Policy{})); got != failedWith("bad status") {
			t.Errorf("%d: %+v", code, got)
		}
	}
}

func TestLimitKindOf429(t *testing.T) {
	head := func(pairs ...string) map[string][]string {
		h := map[string][]string{}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = []string{pairs[i+1]}
		}
		return h
	}
	tests := map[string]struct {
		header map[string][]string
		body   string
		want   health.LimitKind
	}{
		"nothing":               {nil, ``, health.LimitUnknown},
		"tokens used up":        {head("X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Remaining-Requests", "5"), `{"error":{"message":"call rate limit"}}`, health.LimitTokens},
		"requests used up":      {head("X-Ratelimit-Remaining-Tokens", "9", "X-Ratelimit-Remaining-Requests", "0"), `{"error":{"message":"token rate limit"}}`, health.LimitRequests},
		"both used up":          {head("X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Remaining-Requests", "0"), ``, health.LimitUnknown},
		"quirk":                 {head("X-Ratelimit-Remaining-Tokens", "-1", "X-Ratelimit-Limit-Tokens", "-1", "X-Ratelimit-Remaining-Requests", "7"), ``, health.LimitUnknown},
		"a capacity code":       {head("X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Remaining-Requests", "5"), `{"error":{"code":"NoCapacity","message":"m"}}`, health.LimitCapacity},
		"OpenAI's types":        {nil, `{"error":{"type":"requests","code":"rate_limit_exceeded","message":"Rate limit reached for gpt-4o on requests per min (RPM)"}}`, health.LimitRequests},
		"OpenAI's text":         {nil, `{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000. Please try again in 6m0s."}}`, health.LimitTokens},
		"a provisioned backend": {head("Azure-Openai-Deployment-Utilization", "100.1%"), `{"error":{"message":"token rate limit"}}`, health.LimitProvisioned},
	}
	for name, tt := range tests {
		got := Status(429, tt.header, []byte(tt.body), time.Time{}, Policy{})
		if got.Limit != tt.want || got.Class != health.Throttled {
			t.Errorf("%s: %v of kind %d, want %d", name, got.Class, got.Limit, tt.want)
		}
	}
}

func TestParseErrorBody(t *testing.T) {
	tests := map[string]struct {
		body string
		want errorObject
	}{
		"an object":        {`{"error":{"code":429,"message":"m"}}`, errorObject{status: 429, code: "429", message: "m"}},
		"a text":           {`{"error":"Too Many Requests"}`, errorObject{message: "Too Many Requests"}},
		"flat":             {`{"statusCode":401,"message":"m"}`, errorObject{status: 401, message: "m"}},
		"null":             {`{"error":null,"message":"m"}`, errorObject{message: "m"}},
		"plain text":       {"  no healthy upstream", errorObject{message: "no healthy upstream", opaque: true}},
		"nothing":          {``, errorObject{opaque: true}},
		"cut":              {`{"error":{"code":"DeploymentNotFound","mess`, errorObject{code: "deploymentnotfound"}},
		"inner_error":      {`{"error":{"inner_error":{"code":"ResponsibleAIPolicyViolation"},"status":400}}`, errorObject{status: 400, inner: "responsibleaipolicyviolation"}},
		"odd types":        {`{"error":{"code":{"a":1},"type":[],"message":7,"param":true,"innererror":"x"}}`, errorObject{}},
		"a list":           {`{"error":[{"code":"429"}]}`, errorObject{}},
		"in a list":        {` [ {"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]`, errorObject{status: 429, code: "429", message: "m"}},
		"an empty list":    {`[]`, errorObject{opaque: true}},
		"with an escape":   {`{"err\u006fr":{"code":"\u0034\u0032\u0039"}}`, errorObject{status: 429, code: "429"}},
		"no status at all": {`{"error":{"code":"12"}}`, errorObject{code: "12"}},
	}
	for name, tt := range tests {
		if got := parseErrorBody([]byte(tt.body)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// FuzzStatus checks that no answer panics, that only a 429, outer or inner, is
// a throttle, and that its wait is positive and within the bound.
func FuzzStatus(f *testing.F) {
	f.Add(429, `{"error":{"code":"429","message":"Please retry after 60 seconds"}}`, "Retry-After", "-5", uint16(300))
	f.Add(424, `no`, "Ms-Azureml-Model-Error-Statuscode", "429", uint16(0))
	f.Add(404, `{"error":{"code":"DeploymentNotFound"}}`, "Azure-Openai-Deployment-Utilization", "NaN%", uint16(1))
	f.Fuzz(func(t *testing.T, code int, body, name, value string, limit uint16) {
		p := Policy{MaxWait: time.Duration(limit) * time.Second}
		got := Status(code, map[string][]string{name: {value}}, []byte(body), time.Time{}, p)
		if (got.Class == health.Throttled) != (code == 429 || code == 424 && got.Class == health.Throttled) {
			t.Fatalf("%d is %v", code, got.Class)
		}
		if got.Class == health.Throttled && (got.Wait <= 0 || got.Wait > p.maxWait() || got.RawWait < 0) {
			t.Fatalf("a wait of %v (%v), at most %v", got.Wait, got.RawWait, p.maxWait())
		}
		if got.Class != health.Throttled && code != 503 && code != 424 && (got.Wait != 0 || got.Limit != health.LimitUnknown) {
			t.Fatalf("%v with a wait of %v", got.Class, got.Wait)
		}
		if len(got.Reason) > 32 {
			t.Fatalf("the reason is %q", got.Reason)
		}
	})
}
