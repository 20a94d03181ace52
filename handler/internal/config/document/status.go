package document

import (
	"strconv"
	"strings"
)

// StatusRange reads a status code or a range of them: "408", "500-599".
func StatusRange(text string) ([2]int, bool) {
	first, last, isRange := strings.Cut(text, "-")
	from, err := strconv.Atoi(first)
	if err != nil {
		return [2]int{}, false
	}
	if !isRange {
		return [2]int{from, from}, true
	}
	to, err := strconv.Atoi(last)
	return [2]int{from, to}, err == nil
}
