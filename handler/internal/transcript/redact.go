package transcript

import "regexp"

// maxMatch is the longest match that is found across two parts.
const maxMatch = 64 << 10

// redactedText replaces each match.
const redactedText = "[redacted]"

// redact is the part, redacted. The end of every part but the last is carried over:
// a match may begin there and end in the next.
func (t *blobWriter) redact(part []byte, last bool) []byte {
	if len(t.recorder.cfg.Redact) == 0 {
		return part
	}
	if t.joinEvents {
		part = joinStream(part)
	}
	text := append(t.carry, part...)
	cut := len(text)
	if !last {
		cut = settledLength(t.recorder.cfg.Redact, text)
	}
	t.carry = append([]byte(nil), text[cut:]...)
	text = text[:cut]
	for _, pattern := range t.recorder.cfg.Redact {
		text = pattern.ReplaceAllLiteral(text, []byte(redactedText))
	}
	return text
}

// settledLength is the length of the text that no match can change, whatever
// follows.
func settledLength(patterns []*regexp.Regexp, text []byte) int {
	cut := max(len(text)-maxMatch, 0)
	for moved := true; moved; {
		moved = false
		for _, pattern := range patterns {
			for _, at := range pattern.FindAllIndex(text, -1) {
				if at[0] < cut && at[1] > cut {
					cut, moved = at[0], true
				}
			}
		}
	}
	return cut
}
