package transcript

import "regexp"

// maxMatch is how long a match may be to be surely found across two parts.
const maxMatch = 64 << 10

// redactedText stands where something was.
const redactedText = "[redacted]"

// redact is the part as it may be kept. Of all but the last, the end is held
// back: a match may begin there and end in the next.
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

// settledLength is how much of the text no match can change any more, whatever comes
// behind it.
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
