package classify

import "strings"

// backendFact is the Reason of an error that says something about the backend and
// nothing about the request, although it has a status of the caller's: the
// deployment, its model, the operation or the API version is not there. It is "" for
// any other error. status is that of the answer, or the one that an error inside a
// success names; 0 = none.
//
// Such an error is known by its code, or by the beginning of its message: services
// quote what callers wrote further on (docs/azure-openai.md#facts-about-a-backend).
func (e *errorObject) backendFact(status int) string {
	switch {
	case status == 410:
		return retired
	case !mayBeFact(status) || e.isUnknownReference():
		return ""
	case e.lacksModel(status):
		return notDeployed
	case status == 405, e.lacksOperation(), status == 404 && e.lacksPath():
		return notSupported
	}
	return ""
}

// mayBeFact reports whether errors of this status may be facts about a backend.
func mayBeFact(status int) bool {
	return status == 0 || status == 400 || status == 404 || status == 405
}

// lacksModel reports whether the backend has no such deployment, or has its model
// under another name, or not loaded. The name of a model that a tool or a part of the
// request asks for is the caller's.
func (e *errorObject) lacksModel(status int) bool {
	switch e.param {
	case "", "none", "model":
	default:
		return false
	}
	switch e.code {
	case "deploymentnotfound", "unavailable_model", "unknown_model", "modeldeprecated", "model_deprecated", "servicemodeldeprecated", "deploymentmodelnotsupported",
		"model_decommissioned", "model_not_available", "model_not_supported", "model_not_found", "dedicated_endpoint_not_running":
		return true
	}
	message := e.ownMessage()
	switch {
	case e.errorType == "invalid_model":
		return true
	case startsWith(message, "could not find an existing deployment to match the model", "the api deployment for this resource does not exist", "unavailable model: ", "unknown model: ",
		"invalid model name passed in model=", "model not exist", "model does not exist", "model not found", "no models loaded", "failed to load model",
		"the provided model identifier is invalid", "invocation of model id "):
		return true
	case namesBetween(message, "the model ", " does not exist"), namesBetween(message, "", " is not a valid model id"):
		return true
	}
	return status == 404 && startsWith(message, "the model `", "the model '", `model "`, "model '", "model: ", "models/", "no endpoints found for ")
}

// lacksOperation reports whether the backend has the deployment, but not for this
// operation or API version, or is not set up for it.
func (e *errorObject) lacksOperation() bool {
	switch e.code {
	case "operationnotsupported", "operation_not_supported", "unsupportedapiversion", "unsupported_api_version", "invalidapiversionparameter", "apiversionnotsupported", "unknown_url",
		"api_not_supported":
		return true
	}
	message := e.ownMessage()
	return startsWith(message, "api version not supported", "unsupported api version", "azure openai responses api is enabled only for api-version", "missing required query parameter: api-version",
		"model not supported", "the requested operation is unsupported", "requested api is currently not supported", "unsupported legacy protocol: ",
		"this model is only supported in ", "this is not a chat model ", "this is a chat model ",
		"your organization must be verified to ", "user location is not supported ",
		"\"auto\" tool choice requires --", "tools param requires --jinja", "as of transformers v") ||
		namesBetween(message, "model ", " is enabled only for api version") || namesBetween(message, "the ", " operation does not work with the specified model")
}

// ownMessage is the message in lower case, without what gateways put ahead of the text
// of the service behind them: the names of their exceptions, or the path.
func (e *errorObject) ownMessage() string {
	message := strings.ToLower(e.message)
	if strings.HasPrefix(message, "litellm.") {
		if _, rest, ok := strings.Cut(message, " - "); ok {
			message = rest
		}
	}
	if path, rest, ok := strings.Cut(message, ": "); ok && strings.HasPrefix(path, "/") && !strings.Contains(path, " ") {
		message = rest
	}
	return strings.TrimPrefix(strings.TrimPrefix(message, "openai error: "), `{"message":"`)
}

// namesBetween reports whether a message begins with a text, one word and another text.
// The word is the name that the backend was asked for.
func namesBetween(message, before, after string) bool {
	rest, ok := strings.CutPrefix(message, before)
	name := strings.IndexByte(rest, ' ')
	return ok && name > 0 && strings.HasPrefix(rest[name:], after)
}

// lacksPath reports whether a 404 is about the address: it has the text of a server
// that has no such path, or none.
func (e *errorObject) lacksPath() bool {
	if e.opaque {
		return true
	}
	switch message := strings.TrimRight(e.ownMessage(), ". "); message {
	case "":
		return e.code == "" && e.errorType == ""
	case "not found", "404 not found", "404 page not found":
		return true
	default:
		return startsWith(message, "resource not found", "invalid url (", "unknown request url", "no route matched", "no static resource", "the requested url was not found", "no handler found on route")
	}
}

// saysOutOfQuota reports whether the subscription pays for no more.
func (e *errorObject) saysOutOfQuota() bool {
	switch e.code {
	case "insufficient_quota", "billing_hard_limit_reached", "billing_not_active":
		return true
	}
	return e.errorType == "insufficient_quota" || startsWith(strings.ToLower(e.message), "your credit balance is too low")
}

// OfServerBetween reports whether a status of 4xx is never the model service's word
// about a request: it is of a proxy, of TLS, or of no standard.
func OfServerBetween(status int) bool {
	switch status {
	case 407, 421, 423, 425, 426:
		return true
	}
	return status > 431 && status < 500
}

func startsWith(s string, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}
