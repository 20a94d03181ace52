package api

import (
	"context"
	"errors"

	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// fileChecker checks the files of an upload. While their purpose is not known, since it
// comes behind them, they are checked for each that it may be, and what is refused for
// one of these waits for it.
type fileChecker struct {
	req        *proxy.Request
	candidates []*lineChecker
	refusals   []*Error // of the candidates
	undecided  bool
}

// readPurposes are the purposes whose lines are read in different ways.
var readPurposes = []string{"batch", "evals"}

func (s *Server) newFileChecker(ctx context.Context, req *proxy.Request) *fileChecker {
	c := &fileChecker{req: req}
	var purposes []string
	switch purpose := req.Form.Purpose; {
	case req.Operation.Name != "files":
	case purpose == "" && req.StreamedBody != nil:
		c.undecided, purposes = true, readPurposes
	case isBatch(purpose), isRead(purpose):
		purposes = []string{purpose}
	}
	for _, purpose := range purposes {
		c.candidates = append(c.candidates, &lineChecker{server: s, ctx: ctx, req: req, purpose: purpose, waiting: map[request.Reference]bool{}})
	}
	c.refusals = make([]*Error, len(purposes))
	return c
}

// add checks the next bytes of a file.
func (c *fileChecker) add(p []byte, ended bool) *Error {
	for i, lines := range c.candidates {
		if c.refusals[i] == nil {
			if c.refusals[i] = lines.add(p, ended); c.refusals[i] != nil {
				lines.drop()
			}
		}
	}
	if c.undecided || len(c.candidates) == 0 {
		return nil
	}
	return c.refusals[0]
}

// field reads a field that follows a file.
func (c *fileChecker) field(form *request.Form, name string, value []byte) *Error {
	if err := form.AddField(name, value); err != nil {
		return invalidForm(err)
	}
	if !c.undecided || form.Purpose == "" {
		return nil
	}
	c.undecided = false
	c.req.LatePurpose.Store(&form.Purpose)
	for i, lines := range c.candidates {
		if isBatch(lines.purpose) == isBatch(form.Purpose) && (isBatch(form.Purpose) || isRead(form.Purpose)) {
			lines.purpose = form.Purpose
			c.candidates, c.refusals = c.candidates[i:i+1], c.refusals[i:i+1]
			return c.refusals[0]
		}
		lines.drop()
	}
	c.candidates = nil // the service does not read its lines
	return nil
}

// ended is called where the form has ended.
func (c *fileChecker) ended() *Error {
	if c.undecided {
		return invalidForm(errors.New("the field purpose is missing"))
	}
	return nil
}
