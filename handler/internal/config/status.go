package config

import (
	"fmt"
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
)

// StatusCodes is a set of HTTP status codes. The zero StatusCodes is empty.
type StatusCodes struct{ ranges [][2]int }

// Match reports whether the code is in the set.
func (s StatusCodes) Match(code int) bool {
	for _, r := range s.ranges {
		if r[0] <= code && code <= r[1] {
			return true
		}
	}
	return false
}

// String is the set as it is written.
func (s StatusCodes) String() string {
	var words []string
	for _, r := range s.ranges {
		word := strconv.Itoa(r[0])
		if r[1] != r[0] {
			word = fmt.Sprintf("%d-%d", r[0], r[1])
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// statusCodes reads what codes and ranges say; malformed ones are left out.
func statusCodes(texts []string) StatusCodes {
	var s StatusCodes
	for _, text := range texts {
		if r, ok := document.StatusRange(text); ok {
			s.ranges = append(s.ranges, r)
		}
	}
	return s
}
