package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// baseModels are those a region offers whether anyone deployed them or not:
// the list is no list of deployments (facts/azure-openai.md §1.1).
var baseModels = []string{
	"gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "gpt-4o-2024-11-20", "gpt-4o-mini-2024-07-18", "o3-mini-2025-01-31",
	"text-embedding-3-large-1", "text-embedding-3-small-1", "whisper-001", "dall-e-3-3.0",
}

// models serves the list of models and one of it. It costs no tokens.
func (c *call) models() {
	if c.r.Method != http.MethodGet || len(c.route.rest) > 1 {
		c.writeError(resourceNotFound())
		return
	}
	if len(c.route.rest) == 1 {
		if id := c.route.rest[0]; slices.Contains(baseModels, id) {
			c.writeResponse(http.StatusOK, "", []byte(modelJSON(id)))
		} else {
			c.writeError(objectNotFound(id))
		}
		return
	}
	all := make([]string, len(baseModels))
	for i, id := range baseModels {
		all[i] = modelJSON(id)
	}
	c.writeResponse(http.StatusOK, "", []byte(`{"object":"list","data":[`+strings.Join(all, ",")+`]}`))
}

func modelJSON(id string) string {
	return fmt.Sprintf(`{"id":%s,"object":"model","created_at":1715644800,"status":"succeeded","lifecycle_status":"generally-available","capabilities":{"inference":true}}`, quote(id))
}
