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
// under another name. The name of a model that a tool or a part of the request asks
// for is the caller's.
func (e *errorObject) lacksModel(status int) bool {
	switch e.param {
	case "", "none", "model":
	default:
		return false
	}
	switch e.code {
	case "deploymentnotfound", "unavailable_model", "unknown_model", "modeldeprecated", "model_deprecated", "servicemodeldeprecated", "deploymentmodelnotsupported",
		"model_decommissioned", "model_not_available", "model_not_supported", "dedicated_endpoint_not_running":
		return true
	case "model_not_found":
		return status == 404
	}
	message := strings.ToLower(e.message)
	if e.errorType == "invalid_model" || startsWith(message, "could not find an existing deployment to match the model", "unavailable model: ", "unknown model: ", "invalid model name passed in model=", "model not exist") {
		return true
	}
	return status == 404 && startsWith(message, "the model `", "the model '", `model "`, "model '", "model: ", "no endpoints found for ")
}

// lacksOperation reports whether the backend has the deployment, but not for this
// operation or API version.
func (e *errorObject) lacksOperation() bool {
	switch e.code {
	case "operationnotsupported", "operation_not_supported", "unsupportedapiversion", "unsupported_api_version", "invalidapiversionparameter", "apiversionnotsupported", "unknown_url":
		return true
	}
	return startsWith(strings.ToLower(e.message), "api version not supported", "unsupported api version", "azure openai responses api is enabled only for api-version",
		"model not supported", "the requested operation is unsupported")
}

// lacksPath reports whether a 404 is about the address: it has the text of a server
// that has no such path, or none.
func (e *errorObject) lacksPath() bool {
	if e.opaque {
		return true
	}
	switch message := strings.ToLower(strings.TrimRight(e.message, ". ")); message {
	case "":
		return e.code == "" && e.errorType == ""
	case "not found", "404 not found", "404 page not found":
		return true
	default:
		return startsWith(message, "resource not found", "invalid url (", "unknown request url", "no route matched", "no static resource", "the requested url was not found")
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
