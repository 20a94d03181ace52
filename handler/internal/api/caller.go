package api

import (
	"context"
	"sync/atomic"
	"time"
)

// usageTimeout is how long an attempt outlives its caller once the answer is
// complete and only its usage is missing.
const usageTimeout = 2 * time.Second

// callerContext is the context of a request's attempts: it ends when the caller
// leaves, but after finished was called only usageTimeout later. cancel ends it.
func callerContext(parent context.Context) (ctx context.Context, finished func(), cancel context.CancelCauseFunc) {
	ctx, end := context.WithCancelCause(context.WithoutCancel(parent))
	var complete atomic.Bool
	stop := context.AfterFunc(parent, func() {
		if !complete.Load() {
			end(context.Cause(parent))
			return
		}
		time.AfterFunc(usageTimeout, func() { end(context.Cause(parent)) })
	})
	return ctx, func() { complete.Store(true) }, func(cause error) {
		stop()
		end(cause)
	}
}
