package jsonscan

import "bytes"

// isAttachment reports whether a long string carries data rather than prose: a
// data: URL, or base64 as sound and files are sent.
func isAttachment(quoted []byte) bool {
	if bytes.HasPrefix(quoted, []byte(`"data:`)) {
		return true
	}
	for _, c := range quoted[1:257] {
		if !isBase64(c) {
			return false
		}
	}
	return true
}

func isBase64(c byte) bool {
	letter := c | 0x20
	return ('a' <= letter && letter <= 'z') || isDigit(c) || c == '+' || c == '/' || c == '-' || c == '_'
}
