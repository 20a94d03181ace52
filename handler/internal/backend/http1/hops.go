package http1

import (
	"net/textproto"
	"strings"
)

// Listed reports whether a message's Connection header makes the header of
// this name one of this hop only, which is not passed on (RFC 9110 §7.6.1).
func Listed(connection []string, name string) bool {
	for _, value := range connection {
		for option := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(textproto.TrimString(option), name) {
				return true
			}
		}
	}
	return false
}
