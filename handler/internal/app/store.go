package app

import (
	"fmt"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/azure"
	"spillway/handler/internal/tablestore/memory"
)

// Suffixes of the names of the tables; health has the bare name.
const (
	quotaTable    = "books"
	affinityTable = "places"
	usageTable    = "usage"
)

// OpenStore opens one table where shared state lives. Nothing is sent yet.
func OpenStore(cfg *config.Config, name string) (tablestore.Store, error) {
	where := &cfg.Settings.State
	switch {
	case where.Memory():
		return new(memory.Store), nil
	case where.Text.Set():
		store, err := azure.Connect(where.Text.Reveal(), name, azure.Options{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where.Setting, err)
		}
		return store, nil
	}
	identity, err := backend.IdentityCredential(where.ClientID, !cfg.Settings.Standalone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where.Setting, err)
	}
	store, err := azure.Open(where.TableURL, name, identity, azure.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where.Setting, err)
	}
	return store, nil
}

// FleetConfig is what the fleet's state is kept by. Two fields are left to
// their defaults because no setting is wanted for them: the fleet counts itself
// (MaxInstances), and apps that are given one table are one fleet, which shares
// what it knows of the backends that their documents call the same (Group).
// LeaveAt stays off unless the document says throttle.leaveAt, and is 95 % and
// 0.02 when it says no more than that: a provisioned deployment is paid for
// whether it is used or not, and the 429 that leaving early avoids costs its
// caller one short exchange, not an error. Who would rather pay for tokens
// elsewhere than lose those milliseconds asks for it.
func FleetConfig(cfg *config.Config, store tablestore.Store) fleet.Config {
	return fleet.Config{
		Store: store, Slots: cfg.Slots, Instance: cfg.Settings.Instance, Breaker: cfg.Breaker, Refresh: cfg.Settings.StateRefresh,
		Throttle: health.ThrottlePolicy{
			DefaultWait: cfg.Throttle.DefaultWait, MaxWait: cfg.Throttle.MaxWait,
			LeaveAt: health.LeaveAt{Utilization: cfg.Throttle.Utilization, RemainingTokens: cfg.Throttle.RemainingTokens},
		},
	}
}
