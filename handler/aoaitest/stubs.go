package aoaitest

func (c *call) checkInputs() *refusal   { return nil }
func (c *call) checkResponse() *refusal { return nil }
