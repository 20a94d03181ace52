package api

import (
	"errors"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/openai/request"
)

// lineReference is an object that a line of a file names.
type lineReference struct {
	reference
	line int
}

// maxNamed is how many objects of lines wait to be looked up together: one after the
// other would take a round trip to the table for each line.
const maxNamed = 512

// names has the objects that the line names be looked up.
func (c *lineChecker) names(named []request.Reference) *Error {
	if !c.server.StrictIDs || len(named) == 0 {
		return nil
	}
	refs := make([]reference, len(named))
	for i, r := range named {
		refs[i] = reference{id: r.ID, kind: r.Kind, param: r.Param, described: r.Described}
		if key := (request.Reference{Kind: r.Kind, ID: r.ID, Described: r.Described}); !c.waiting[key] {
			c.waiting[key] = true
			c.named = append(c.named, lineReference{refs[i], c.number})
		}
	}
	if apiErr := tooManyObjects(c.req, refs); apiErr != nil {
		return inLine(c.number, apiErr)
	}
	if len(c.named) >= maxNamed {
		return c.lookup()
	}
	return nil
}

// lookup checks the objects that lines named.
func (c *lineChecker) lookup() *Error {
	if len(c.named) == 0 {
		return nil
	}
	named := c.named
	c.named = nil
	clear(c.waiting)
	refs := make([]reference, len(named))
	for i := range named {
		refs[i] = named[i].reference
	}
	_, errs := c.server.lookupAll(c.ctx, c.req, refs)
	for i := range refs {
		switch {
		case errors.Is(errs[i], affinity.ErrUnavailable):
			return inLine(named[i].line, locationUnknown(refs[i], errs[i]))
		case errors.Is(errs[i], affinity.ErrOtherOwner), errs[i] != nil && !refs[i].described:
			return inLine(named[i].line, referenceNotFound(refs[i]))
		}
	}
	return nil
}
