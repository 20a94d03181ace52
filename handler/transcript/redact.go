package transcript

import (
	"encoding/json"
	"fmt"
	"regexp"
)

// longest is how long a match may be to be surely found across two parts.
const longest = 64 << 10

// redactedMark stands where something was.
const redactedMark = "[redacted]"

// Patterns reads a JSON list of regular expressions in Go's syntax, which takes
// a time linear in the text whatever the pattern is. "" is none.
func Patterns(list string) ([]*regexp.Regexp, error) {
	if list == "" {
		return nil, nil
	}
	var texts []string
	if err := json.Unmarshal([]byte(list), &texts); err != nil {
		return nil, fmt.Errorf(`is no JSON list of texts, such as ["sk-[A-Za-z0-9]+"]: %w`, err)
	}
	var all []*regexp.Regexp
	for i, text := range texts {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("pattern %d: %w", i, err)
		}
		if pattern.MatchString("") {
			return nil, fmt.Errorf("pattern %d matches nothing at all, and so everything", i)
		}
		all = append(all, pattern)
	}
	return all, nil
}

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
