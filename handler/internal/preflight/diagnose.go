package preflight

import (
	"net/http"
	"regexp"
	"strings"

	"spillway/handler/internal/backend"
)

// scope is what an answer says something scope.
type scope uint8

const (
	scopeNone       scope = iota // it is as it should be
	scopeDeployment              // this deployment is not there
	scopePath                    // nothing is at this path, or in this version
	scopeResource                // all of the resource
)

var (
	dataAction = regexp.MustCompile("data action `([^`]{1,160})`")
	principal  = regexp.MustCompile("principal `([A-Za-z0-9-]{1,64})`")
)

// diagnose says what the answer to a question tells, and of what. Refusals of
// the question itself prove that there was somebody to ask
// (facts/azure-openai.md §2, §4).
func diagnose(a *testResponse, t *backend.Target) (scope, diagnosis) {
	text := strings.ToLower(a.code + " " + a.message)
	switch {
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return scopeResource, diagnoseRefusal(a, t, text)
	case strings.Contains(text, "deploymentnotfound"), strings.Contains(text, "model_not_found"), strings.Contains(text, "existing deployment to match"):
		return scopeDeployment, diagnosis{"it does not exist (" + a.code + ")", `Create it, or correct "deployments"; one made in the last 5 minutes may need a moment.`}
	case a.status == http.StatusTooManyRequests: // a throttle is no fault, whatever version its text names
		return scopeNone, diagnosis{}
	case a.status == http.StatusNotFound, a.status == http.StatusMethodNotAllowed:
		return scopePath, diagnosis{a.summary(), "Check that the endpoint is the resource's address without a path of its own."}
	case strings.Contains(text, "api version"), strings.Contains(text, "api-version"):
		return scopePath, diagnosis{a.summary(), "Use a resource in a region and cloud that has this version."}
	case a.status >= 300 && a.status < 400:
		return scopeResource, diagnosis{a.summary() + ", a redirect, which is never followed", "Write the address that it points to."}
	case a.status == http.StatusRequestTimeout, a.status >= 500:
		return scopeResource, diagnosis{a.summary() + ", so it fails now", "Run this again in a minute; if it stays, see Azure's status page and the resource's health."}
	case a.status < 300 && !a.isObject:
		return scopeResource, diagnosis{a.summary() + " with something other than JSON", "Check that the endpoint is an address of Azure OpenAI, and not of a portal or a sign-in page."}
	}
	return scopeNone, diagnosis{}
}

// diagnoseRefusal is a credential, or a network, that is not let in, by the service's
// own words.
func diagnoseRefusal(a *testResponse, t *backend.Target, text string) diagnosis {
	switch {
	case strings.Contains(text, "permissiondenied"), strings.Contains(text, "data action"):
		return missingRole(a)
	case strings.Contains(text, "authenticationtypedisabled"), strings.Contains(text, "key based authentication is disabled"):
		return diagnosis{"keys are disabled at this resource", `Write "auth": {"mode": "managed-identity"} and give the identity the role Cognitive Services OpenAI User.`}
	case strings.Contains(text, "virtual network"), strings.Contains(text, "firewall"):
		return diagnosis{"its network rules do not let this machine in", "Add the app's subnet, or this machine's address, to the resource's network rules, or run this from inside the network."}
	case strings.Contains(text, "public access is disabled"), strings.Contains(text, "private endpoint"):
		return diagnosis{"it has no public access, and was not reached through its private endpoint", "Run this from inside the network, and link the private DNS zone privatelink.openai.azure.com to it."}
	case strings.Contains(text, "temporarily blocked"):
		return diagnosis{"the resource is blocked by Azure's abuse monitoring", "See https://aka.ms/aoaicodeofconduct and open a support request; weight 0 drains the backend until then."}
	case strings.Contains(text, "access token"), strings.Contains(text, "audience"):
		return diagnosis{"the token is refused: of another tenant or audience, or expired", "Check that the identity and the resource are in one tenant, and this machine's clock."}
	case strings.Contains(text, "subscription key"), strings.Contains(text, "invalid_api_key"):
		return badKey(t)
	}
	return diagnosis{a.summary() + ", a refusal that is not known", "Check the resource's keys, roles and network rules."}
}

func missingRole(a *testResponse) diagnosis {
	who, what := "the identity", "the data action"
	if m := principal.FindStringSubmatch(a.message); m != nil {
		who += " " + m[1]
	}
	if m := dataAction.FindStringSubmatch(a.message); m != nil {
		what += " " + m[1]
	}
	return diagnosis{who + " lacks " + what, "Give it the role Cognitive Services OpenAI User on this resource (Owner and Contributor allow no inference) and wait 5 minutes."}
}

func badKey(t *backend.Target) diagnosis {
	_, keyed := t.Credential.(backend.APIKey)
	switch {
	case keyed && t.OpenAI:
		return diagnosis{"the key is refused", "Put a key that this server accepts into the app setting that auth.setting names."}
	case keyed:
		return diagnosis{"the key is refused, or the endpoint is another resource's", "Copy KEY 1 of this very resource into the app setting that auth.setting names."}
	}
	return diagnosis{"a credential is demanded that was not sent", `Write "auth": {"mode": "managed-identity"}, or "api-key" with its setting.`}
}
