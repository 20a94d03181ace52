package request

import (
	"bytes"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/operations"
)

// Rows of evaluations and fine-tuning are the caller's own, whatever their members are
// called, but any of them may be a list of messages, whose parts name files, and whose
// items may be references. A text that a template inserts is no id: where one is read,
// the template itself is checked. So each string of a row is judged by its form. A file
// must be the caller's; nothing else of a row is read, so that the rest must not be
// another's only: logs are full of ids that are long gone.

// ParseRow reads a line that is a row, or has one, and returns the stored objects that it
// names. The error is a *ParseError.
func (p *Parser) ParseRow(line []byte) ([]Reference, error) {
	s := parser{valueReader: valueReader{Iterator: jsonscan.Iterator{Data: line}, watch: p.reset()}, owner: p}
	s.watch.Root(rowName)
	end, _, reason := jsonscan.MeasureWatched(line, 0, s.watch)
	switch rest := jsonscan.SkipSpace(line, end); {
	case reason != jsonscan.OK:
		return nil, malformedAt(end, reason)
	case rest != len(line):
		return nil, malformed(rest, "something follows its closing brace")
	}
	err := s.readMatches()
	return s.parsed.References, err
}

// inRow reports whether a string of a row is looked up: an id such as services make, and
// where a message names a file also what only begins like one.
func inRow(name jsonscan.Name, text []byte) bool {
	if len(text) > maxStringLength {
		return false
	}
	if bytes.IndexByte(text, '\\') >= 0 {
		text = []byte(jsonscan.Unquote(text))
	}
	text = bytes.TrimSpace(text)
	return operations.IsServiceID(text) || fileNames.Has(name) && operations.StoredKind(text) == operations.KindFile
}
