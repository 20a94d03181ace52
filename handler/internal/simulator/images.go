package simulator

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// onePixel is a whole PNG.
const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// images serves images/generations and images/edits.
func (c *call) images() {
	if !c.sleep(c.answerDelay(0)) {
		c.clientDisconnected()
		return
	}
	data := make([]string, max(1, c.request.N))
	for i := range data {
		data[i] = `{"b64_json":"` + onePixel + `","revised_prompt":` + quote(c.prompt) + `,"content_filter_results":` + safeResults + `}`
	}
	c.recordUsage(tokenUsage{})
	c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{"created":%d,"data":[%s]}`, c.arrived.Unix(), strings.Join(data, ",")))
}

// imageDeployment is the second deployment that a Responses request with the
// image tool names by header (facts/azure-openai.md §1.1); "" without the tool.
func (c *call) imageDeployment() string {
	for _, raw := range c.request.Tools {
		var tool struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(raw, &tool) == nil && tool.Type == "image_generation" {
			if name := c.r.Header.Get("x-ms-oai-image-generation-deployment"); name != "" {
				return name
			}
			return "(none named)"
		}
	}
	return ""
}
