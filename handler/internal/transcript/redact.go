package transcript

import "regexp"

// longest is how long a match may be to be surely found across two parts.
const longest = 64 << 10

// redactedMark stands where something was.
const redactedMark = "[redacted]"

// redacted is the part as it may be kept. Of all but the last, the end is held
// back: a match may begin there and end in the next.
func (t *tape) redacted(part []byte, last bool) []byte {
	if len(t.of.cfg.Redact) == 0 {
		return part
	}
	if t.joined {
		part = join(part)
	}
	text := append(t.seam, part...)
	cut := len(text)
	if !last {
		cut = settled(t.of.cfg.Redact, text)
	}
	t.seam = append([]byte(nil), text[cut:]...)
	text = text[:cut]
	for _, pattern := range t.of.cfg.Redact {
		text = pattern.ReplaceAllLiteral(text, []byte(redactedMark))
	}
	return text
}

// settled is how much of the text no match can change any more, whatever comes
// behind it.
func settled(patterns []*regexp.Regexp, text []byte) int {
	cut := max(len(text)-longest, 0)
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
