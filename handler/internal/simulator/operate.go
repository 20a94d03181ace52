package simulator

import "strings"

// serveOperation does what was asked for. The request is past everything that could
// refuse it but the operation itself.
func (c *call) serveOperation() {
	op := c.route.operation
	switch family, _ := c.requiredCapability(); {
	case op == "responses" && family != "" && len(c.route.rest) > 0:
		c.compact()
	case op == "responses" && len(c.route.rest) > 0:
		c.responseByID()
	case family != "":
		c.serveCapability(family)
	case op == "models":
		c.models()
	case objectPrefix[op] != "":
		c.object()
	default:
		c.writeError(resourceNotFound())
	}
}

// serveCapability runs the operations of a deployment.
func (c *call) serveCapability(family string) {
	switch family {
	case "chat":
		c.chat()
	case "responses":
		c.responses()
	case "completions":
		c.completions()
	case "embeddings":
		c.embeddings()
	case "images":
		c.images()
	case "speech":
		c.speech()
	case "transcription":
		c.transcription()
	}
}

// triggered tells whether a fault or a word of the prompt asks for something.
func (c *call) triggered(action, trigger string) bool {
	return (c.fault != nil && c.fault.Action == action) || strings.Contains(c.prompt, trigger)
}
