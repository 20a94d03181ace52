package simulator

import (
	"fmt"
)

// responseStub is a response object without output, as error events carry it.
func (c *call) responseStub(status, reason, details string) string {
	return fmt.Sprintf(`{"id":%s,"object":"response","created_at":%d,"status":%s,"error":%s,"incomplete_details":%s,"model":%s,"output":[],"usage":null}`,
		quote(c.svc.identifier("resp_", c.seq, 4)), c.arrived.Unix(), quote(status), reason, details, quote(c.spec.Name))
}
