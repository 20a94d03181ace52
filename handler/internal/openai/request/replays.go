package request

import (
	"slices"

	"spillway/handler/internal/openai/jsonscan"
)

// freeOutputs are the types of items whose output is JSON of the model's own, or of what
// it called.
var freeOutputs = []string{
	"structured_outputs", "mcp_call", "a2a_preview_call_output", "azure_ai_search_call_output", "azure_function_call_output", "bing_custom_search_preview_call_output",
	"bing_grounding_call_output", "browser_automation_preview_call_output", "fabric_dataagent_preview_call_output", "openapi_call_output",
	"sharepoint_grounding_preview_call_output",
}

// isCiting reports whether an object of this type names what a call used, not what the
// request uses.
func isCiting(kind []byte) bool {
	return slices.ContainsFunc(citingTypes, func(t string) bool { return jsonscan.EqualUnquoted(kind, t) })
}

// isFreeOutput reports whether the output of an item of this type is data.
func isFreeOutput(kind []byte) bool {
	return slices.ContainsFunc(freeOutputs, func(t string) bool { return string(kind) == t })
}
