package simulator

import (
	"net/http"
	"strconv"
)

// spill is where a request came from when its own deployment refused it
// (facts/azure-openai.md §3.6).
type spill struct {
	from   string
	status int
}

// spilloverName is the deployment that takes over: the property wins over the
// request's header.
func (c *call) spilloverName() string {
	if c.spec.Spillover != "" {
		return c.spec.Spillover
	}
	return c.r.Header.Get("x-ms-spillover-deployment")
}

func (c *call) canSpill(no *apiError) bool {
	if c.dep == nil || c.spec.SKU != Provisioned || c.spill.from != "" {
		return false
	}
	target := c.res.deployments[c.spilloverName()]
	if target == nil || target.spec.Load().SKU == Provisioned {
		return false
	}
	switch no.status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable:
		return true
	default:
		return no.name == "400-context"
	}
}

// spillOver serves by the other deployment; if that refuses as well, the
// answer is the first one's.
func (c *call) spillOver(family string, original *apiError) *apiError {
	dep, spec, rates := c.dep, c.spec, c.rateStatus
	c.spill = spill{from: spec.Name, status: original.status}
	c.dep = c.res.deployments[c.spilloverName()]
	c.spec = *c.dep.spec.Load()
	if no := c.admitToDeployment(family); no != nil {
		c.dep, c.spec, c.rateStatus, c.spill = dep, spec, rates, spill{}
		return original
	}
	c.update(func(e *Entry) { e.SpilledFrom, e.Deployment = spec.Name, c.spec.Name })
	return nil
}

func (s spill) headers(h http.Header) {
	h.Set("X-Ms-Is-Spilled-Over", strconv.FormatBool(s.from != ""))
	if s.from == "" {
		return
	}
	h.Set("x-ms-spillover-from-deployment", s.from)
	h.Set("x-ms-spillover-error", strconv.Itoa(s.status))
}
