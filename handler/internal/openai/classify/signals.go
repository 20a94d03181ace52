package classify

import (
	"math"
	"strconv"
	"strings"

	"spillway/handler/internal/health"
)

// Signals is what an answer's headers say of how full its backend is. Limits
// of 0 and less are a quirk that makes all of their kind unknown, and what
// remains below 0 is no refusal: it is unknown too (facts/azure-openai.md §3.3,
// §3.4). Header names are spelt as net/http spells them.
func Signals(header map[string][]string) health.Signals {
	s := health.Signals{
		Utilization:       parsePercent(header["Azure-Openai-Deployment-Utilization"]),
		RemainingTokens:   parseAmount(header["X-Ratelimit-Remaining-Tokens"]),
		RemainingRequests: parseAmount(header["X-Ratelimit-Remaining-Requests"]),
		LimitTokens:       parseAmount(header["X-Ratelimit-Limit-Tokens"]),
	}
	if isUnknownLimit(header["X-Ratelimit-Limit-Tokens"]) {
		s.LimitTokens, s.RemainingTokens = -1, -1
	}
	if isUnknownLimit(header["X-Ratelimit-Limit-Requests"]) {
		s.RemainingRequests = -1
	}
	return s
}

// isUnknownLimit reports whether a limit is said to be 0 or less.
func isUnknownLimit(values []string) bool { return len(values) > 0 && parseAmount(values) <= 0 }

// parseAmount reads a whole number, -1 when it is none or negative.
func parseAmount(values []string) int64 {
	if len(values) == 0 {
		return -1
	}
	n, err := strconv.ParseInt(strings.TrimSpace(values[0]), 10, 64)
	if err != nil {
		return -1
	}
	return max(n, -1)
}

// parsePercent reads "94.5%", -1 when it is none. Short bursts go over 100 %; ten
// times that is nonsense.
func parsePercent(values []string) float64 {
	if len(values) == 0 {
		return -1
	}
	text := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(values[0]), "%"))
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1000 {
		return -1
	}
	return f
}
