package app

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// hostMakesUpParents reports whether the Functions host gives requests without a
// trace context one of its own, which is never sampled: it does with Application
// Insights, unless host.json says otherwise (docs/observability.md#traces).
func hostMakesUpParents(getenv func(string) string) bool {
	if getenv("APPLICATIONINSIGHTS_CONNECTION_STRING") == "" && getenv("APPINSIGHTS_INSTRUMENTATIONKEY") == "" {
		return false
	}
	var file struct {
		Logging struct {
			Insights struct {
				HTTP struct {
					W3C *bool `json:"enableW3CDistributedTracing"`
				} `json:"httpAutoCollectionOptions"`
			} `json:"applicationInsights"`
		} `json:"logging"`
	}
	text, err := os.ReadFile(filepath.Join(getenv("FUNCTIONS_APP_ROOT_PATH"), "host.json"))
	if err != nil || json.Unmarshal(text, &file) != nil {
		return true
	}
	w3c := file.Logging.Insights.HTTP.W3C
	return w3c == nil || *w3c
}
