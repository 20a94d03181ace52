package backend

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// requestURL is built from the configuration and from names that were looked
// up (docs/azure-openai.md#addresses). Of the caller's URL it takes only the
// validated path below the operation, and the query.
func (c *Client) requestURL(t *Target, deployment string, r *proxy.Request) *url.URL {
	base := strings.Trim(t.Endpoint.Path, "/")
	if base != "" {
		base = "/" + base
	}
	below := r.Operation.Path
	if r.Subpath != "" {
		below = strings.TrimPrefix(below+"/"+r.Subpath, "/")
	}
	u := &url.URL{Scheme: t.Endpoint.Scheme, Host: t.Endpoint.Host, RawQuery: c.requestQuery(t, r)}
	switch {
	case t.OpenAI:
		u.Path = base + "/" + below
	case r.Family == operations.Deployments:
		u.Path = base + "/openai/deployments/" + deployment + "/" + below
		if escaped := url.PathEscape(deployment); escaped != deployment {
			u.RawPath = base + "/openai/deployments/" + escaped + "/" + below
		}
	case r.Family == operations.Unscoped:
		u.Path = base + "/openai/" + below
	case r.Family == operations.Anthropic:
		u.Path = base + "/anthropic/v1/" + below
	default:
		u.Path = base + "/openai/v1/" + below
	}
	return u
}

// needsAPIVersion reports whether requests of the family need an api-version.
func needsAPIVersion(t *Target, f operations.Family) bool {
	return !t.OpenAI && (f == operations.Deployments || f == operations.Unscoped)
}

// requestQuery is the caller's query, byte for byte, without what filterQuery
// removes and with an api-version where one is needed.
func (c *Client) requestQuery(t *Target, r *proxy.Request) string {
	kept, version := filterQuery(r.Query, t.OpenAI, r.Fenced && r.Method == http.MethodPost)
	if version || !needsAPIVersion(t, r.Family) || c.APIVersion == "" {
		return kept
	}
	if kept != "" {
		kept += "&"
	}
	return kept + "api-version=" + url.QueryEscape(c.APIVersion)
}

// filterQuery removes credentials, an api-version without a value, and for an
// OpenAI-compatible backend any, since only Azure knows it. With fenced it removes what
// chooses a model, too: that is checked where it is in the path or the body. It reports
// whether an api-version is left.
func filterQuery(raw string, openAI, fenced bool) (kept string, version bool) {
	kept = raw
	for from := 0; from < len(kept); {
		to := len(kept)
		if i := strings.IndexByte(kept[from:], '&'); i >= 0 {
			to = from + i
		}
		name := parameterName(kept[from:to])
		isVersion := name == "api-version"
		if isCredentialParameter(name) || fenced && choosesByName(kept[from:to]) || isVersion && (openAI || !strings.Contains(strings.TrimSuffix(kept[from:to], "="), "=")) {
			kept = kept[:from] + kept[min(to+1, len(kept)):]
			continue
		}
		version = version || isVersion
		from = to + 1
	}
	if len(kept) < len(raw) {
		kept = strings.TrimSuffix(kept, "&")
	}
	return kept, version
}

// parameterName is the decoded name of a query parameter, in lower case, since
// the host reads names without regard to case.
func parameterName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	if decoded, err := url.QueryUnescape(name); err == nil {
		name = decoded
	}
	return strings.ToLower(name)
}

// choosesByName reports whether a pair of a query, which some servers end at a
// semicolon, has a name that chooses a deployment or project, as a header may.
func choosesByName(pair string) bool {
	for part := range strings.SplitSeq(pair, ";") {
		name := parameterName(part)
		if name == "engine" || slices.ContainsFunc(choosing, func(word string) bool { return strings.Contains(name, strings.ToLower(word)) }) {
			return true
		}
	}
	return false
}

// isCredentialParameter reports whether a query parameter, by its lower-case
// name, holds a key of the host or of the gateway.
func isCredentialParameter(name string) bool {
	switch name {
	case "code", "clientid", "x-functions-key", "api-key", "api_key", "apikey", "key", "subscription-key", "access_token", "token":
		return true
	}
	return false
}
