package app

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"spillway/handler/internal/configstore"
	"spillway/handler/internal/tablestore"
)

const (
	configIdle     = time.Minute      // after this time without requests the table is not read
	configRetry    = 10 * time.Second // longest time between two reads that fail
	configFailures = 3                // reads that fail in a row before it is said
)

// noteTraffic records that there are requests, to within a tenth of a second.
func (a *App) noteTraffic(now time.Time) {
	if at := now.UnixMilli(); at-a.lastRequest.Load() > 100 {
		a.lastRequest.Store(at)
		if a.source != nil && at-a.source.lastRead.Load() > 2*configIdle.Milliseconds() {
			a.source.wake()
		}
	}
}

// followSource adopts each version that becomes current in the table, as often as the
// shared state is read. Without requests it is not read.
func (a *App) followSource(ctx context.Context) {
	refresh, failures := a.config.Settings.StateRefresh, 0
	for ctx.Err() == nil {
		wait := time.Duration((0.8 + 0.2*rand.Float64()) * float64(refresh)) //nolint:gosec // it spreads the instances
		if failures > 0 {
			wait = min(refresh<<min(failures, 10), configRetry)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-a.source.wakeups:
		case <-timer.C:
		}
		timer.Stop()
		if time.Since(time.UnixMilli(a.lastRequest.Load())) > configIdle {
			continue
		}
		failures++
		if a.checkSource(ctx) {
			failures = 0
		}
	}
}

// checkSource reads the current version once, and adopts it unless that was done. It
// reports whether the table answered.
func (a *App) checkSource(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	s := a.source
	s.lastRead.Store(time.Now().UnixMilli())
	head, err := s.store.Head(ctx)
	switch damaged := errors.Is(err, configstore.ErrDamaged); {
	case err != nil && !damaged:
		s.readFailed(ctx, err)
		return false
	case s.known(&head):
		return true
	case damaged:
		s.refuse(ctx, &head, err)
		return true
	case s.serves(&head.Version):
		s.adopt(ctx, &head)
		return true
	}
	return a.adoptVersion(ctx, &head)
}

// adoptVersion builds and adopts the version, or records why not. It reports whether
// the table answered.
func (a *App) adoptVersion(ctx context.Context, head *configstore.Head) bool {
	cfg, err := buildVersion(ctx, a.source.store, a.source.setting, &head.Version)
	if errors.Is(err, tablestore.ErrUnknown) || errors.Is(err, tablestore.ErrRefused) {
		a.source.readFailed(ctx, err)
		return false
	}
	if err == nil {
		err = a.Adopt(cfg)
	}
	if err != nil {
		a.source.refuse(ctx, head, err)
		return true
	}
	a.source.adopt(ctx, head)
	return true
}
