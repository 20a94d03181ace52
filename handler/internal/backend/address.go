package backend

import (
	"net/url"
	"strings"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// requestURL is where at the target the request goes. It is made of configuration
// and of names that were looked up; of the caller's URL only the rest below
// the operation, which was checked, and the query remain
// (facts/azure-openai.md §1.1).
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
	default:
		u.Path = base + "/openai/v1/" + below
	}
	return u
}

// needsAPIVersion reports whether the backend is called in a family that demands an
// api-version.
func needsAPIVersion(t *Target, f operations.Family) bool {
	return !t.OpenAI && (f == operations.Deployments || f == operations.Unscoped)
}

// requestQuery is the caller's, byte for byte, without what is not for the backend.
func (c *Client) requestQuery(t *Target, r *proxy.Request) string {
	kept, version := filterQuery(r.Query, t.OpenAI)
	if version || !needsAPIVersion(t, r.Family) || c.APIVersion == "" {
		return kept
	}
	if kept != "" {
		kept += "&"
	}
	return kept + "api-version=" + url.QueryEscape(c.APIVersion)
}

// filterQuery drops credentials, and with foreign the api-version, which only Azure
// knows. It reports whether an api-version is in what is kept. A query with
// nothing to drop is returned as it is.
func filterQuery(raw string, foreign bool) (kept string, version bool) {
	kept = raw
	for from := 0; from < len(kept); {
		to := len(kept)
		if i := strings.IndexByte(kept[from:], '&'); i >= 0 {
			to = from + i
		}
		name := parameterName(kept[from:to])
		isVersion := name == "api-version"
		if isCredentialParameter(name) || foreign && isVersion {
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

// parameterName is the decoded name of a query parameterName, in lower case: the host
// reads them without regard to case.
func parameterName(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	if decoded, err := url.QueryUnescape(name); err == nil {
		name = decoded
	}
	return strings.ToLower(name)
}

// isCredentialParameter reports whether a query parameter is a key of the host's, or of ours.
func isCredentialParameter(name string) bool {
	switch name {
	case "code", "clientid", "x-functions-key", "api-key", "api_key", "apikey", "key", "subscription-key", "access_token", "token":
		return true
	}
	return false
}
