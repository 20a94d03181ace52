package aoaitest

import "strings"

// operate does what was asked for. The request is past everything that could
// refuse it but the operation itself.
func (c *call) operate() {
	switch c.route.operation {
	case "chat/completions":
		c.chat()
	default:
		c.refuse(refuseResourceNotFound())
	}
}

// wants tells whether a fault or a word of the prompt asks for something.
func (c *call) wants(action, trigger string) bool {
	return (c.fault != nil && c.fault.Action == action) || strings.Contains(c.prompt, trigger)
}
