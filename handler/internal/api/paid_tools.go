package api

import (
	"encoding/json"
	"slices"
	"strings"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// pricedTools begin the types of tools that the service runs for a price per call or
// session (docs/azure-openai.md#tools-that-cost-money).
var pricedTools = []string{"web_search", "file_search", "code_interpreter", "code_execution", "bing_"}

// unmeteredTool returns a tool of the request that its consumer's limits do not see; ""
// = there is none. A picture that a response draws has tokens of another model, which
// its usage leaves out; the other tools cost nothing but money.
func unmeteredTool(r *proxy.Request) string {
	if r.Consumer.MayUseUnmetered() || r.Operation.Free() {
		return ""
	}
	priced := !r.Consumer.MayUseUnpriced()
	if r.Parsed.SearchesWeb && priced {
		return "web_search_options"
	}
	switch r.Operation.Dialect {
	case operations.Plain, operations.Chat:
		return ""
	case operations.Responses, operations.Messages:
	}
	var tools []struct {
		Type        string
		Environment struct{ Type string }
	}
	_ = json.Unmarshal(r.Body[r.Parsed.Tools.From:r.Parsed.Tools.To], &tools) // a value of another type is the backend's to refuse
	for _, tool := range tools {
		begins := func(name string) bool { return strings.HasPrefix(strings.ToLower(tool.Type), name) }
		hosted := tool.Type == "shell" && tool.Environment.Type != "local"
		if begins("image_generation") || priced && (hosted || slices.ContainsFunc(pricedTools, begins)) {
			return tool.Type
		}
	}
	return ""
}
