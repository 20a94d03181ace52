package simulator

import "fmt"

// Words that make the simulated content filter act (facts/azure-openai.md
// §4.1). A prompt that holds the first is refused with 400; with the second
// its answer is cut off by the filter; with the third the filter is out of
// order and says so in a 200.
const (
	TriggerPromptFilter = "[[filter-prompt]]"
	TriggerOutputFilter = "[[filter-output]]"
	TriggerFilterOutage = "[[filter-outage]]"
)

const (
	safeResults = `{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}`
	cutResults  = `{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":true,"severity":"medium"}}`
	outResults  = `{"error":{"code":"content_filter_error","message":"The contents are not filtered"}}`
)

// filterResult is what the filter says of a piece of an answer, under its name.
func (c *call) filterResult() string {
	if c.triggered("filter-outage", TriggerFilterOutage) {
		return `"content_filter_result":` + outResults
	}
	return `"content_filter_results":` + safeResults
}

// cutByFilter tells whether the filter cuts this answer off.
func (c *call) cutByFilter() bool { return c.triggered("filter-output", TriggerOutputFilter) }

// promptFilterResults is the filter's word on the prompt.
func promptFilterResults() string {
	return `"prompt_filter_results":[{"prompt_index":0,"content_filter_results":` + safeResults + `}]`
}

// lateAnnotation is what the asynchronous filter sends after the fact: a chunk
// whose choice has no delta (facts/azure-openai.md §5.1).
func lateAnnotation(index, from, to int, usage string) event {
	return event{data: fmt.Appendf(nil,
		`{"id":"","object":"","created":0,"model":"","choices":[{"index":%d,"finish_reason":null,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"content_filter_raw":[],"content_filter_offsets":{"check_offset":%d,"start_offset":%d,"end_offset":%d}}]%s}`,
		index, from, from, to, usage)}
}
