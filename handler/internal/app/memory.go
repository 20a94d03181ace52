package app

import (
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"spillway/handler/internal/overload"
)

// Parts of memory, in per cent: the Functions host needs the rest of the instance's,
// and the garbage collector the rest of what the process does not need itself.
const (
	ofInstance = 70
	ofProcess  = 60
	ownMemory  = 40 << 20
)

// memoryLimit is how much memory this process may use; 0 = unknown. configured is the
// setting, 0 = not set.
func memoryLimit(configured int64) int64 {
	if configured > 0 {
		return configured
	}
	if given := debug.SetMemoryLimit(-1); given < math.MaxInt64 { // GOMEMLIMIT
		return given
	}
	instance, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil || instance > math.MaxInt64/100 {
		return 0
	}
	return int64(instance) / 100 * ofInstance
}

// newBudget is the budget of the memory that requests hold, in a process that may use
// so much; nil = unbounded.
func newBudget(limit int64) *overload.Budget {
	if limit == 0 {
		return nil
	}
	guard := &overload.Guard{Limit: limit}
	return &overload.Budget{Limit: (limit - ownMemory) / 100 * ofProcess, Short: guard.Short}
}

// setMemoryLimit has the garbage collector keep the process within its limit, unless
// GOMEMLIMIT says otherwise.
func setMemoryLimit(limit int64) {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
}

// maxBody is the largest body that is accepted: one that is larger than the budget
// would never be served.
func maxBody(configured int64, budget *overload.Budget, log *slog.Logger) int64 {
	if budget == nil || configured <= budget.Largest() {
		return configured
	}
	log.Warn("SPILLWAY_MAX_BODY is more than the memory for one request: larger bodies get 413", "max_body", budget.Largest())
	return budget.Largest()
}
