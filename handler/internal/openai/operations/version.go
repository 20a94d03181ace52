package operations

import (
	"net/url"
	"strings"
)

// APIVersion returns the value of the parameter api-version of a raw query, decoded.
// Its name may have any case, and be escaped, as the service reads it.
func APIVersion(query string) (version string, ok bool) {
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if strings.EqualFold(unescape(name), "api-version") {
			return unescape(value), true
		}
	}
	return "", false
}

// unescape is the text as it is when its escapes are no escapes.
func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}
