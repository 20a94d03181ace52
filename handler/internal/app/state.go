package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/health"
	"spillway/handler/internal/health/latency"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/azure"
	"spillway/handler/internal/tablestore/memory"
	"spillway/handler/internal/transcript"
)

// state is everything that is kept in the storage account.
type state struct {
	replica     *fleet.Replica
	latency     *latency.Tracker
	quotas      *quotas
	affinity    *affinity.Store
	usage       *usageRecorder
	transcripts *transcript.Recorder // nil = no container is configured
	failures    *failures
	runners     []Runner
}

func newState(cfg *config.Config, slots *slotTable, log *slog.Logger, obs *observability) (*state, error) {
	usual := latency.New(modelsBySlot(cfg, slots))
	replica, err := newReplica(cfg, obs.recordChange, usual)
	if err != nil {
		return nil, err
	}
	failed := new(failures)
	quotas, err := newQuotas(cfg, log, func(err error) { failed.quotas.Failed(time.Now(), err) }, obs.recordWarning, func(ctx context.Context) (int, error) { return countInstances(ctx, replica) })
	if err != nil {
		return nil, err
	}
	locations, err := NewAffinity(cfg, func(err error) { failed.ids.Failed(time.Now(), err) })
	if err != nil {
		return nil, err
	}
	usage, err := newUsageRecorder(cfg)
	if err != nil {
		return nil, err
	}
	transcripts, err := newTranscripts(cfg)
	if err != nil {
		return nil, err
	}
	s := &state{replica: replica, latency: usual, quotas: quotas, affinity: locations, usage: usage, transcripts: transcripts, failures: failed}
	s.runners = []Runner{replica.Run, replica.WatchStalls, quotas.Run, locations.Run, usage.Run}
	if transcripts != nil {
		s.runners = append(s.runners, transcripts.Run)
	}
	if !cfg.Settings.State.Memory() {
		s.runners = append(s.runners, newJanitor(cfg, log, usage, quotas, replica).Run)
	}
	return s, nil
}

// Suffixes of the tables' names. The table of backend health has none.
const (
	quotaTable    = "books"
	affinityTable = "places"
	usageTable    = "usage"
)

// OpenStore opens one table of the configured storage account. Nothing is sent.
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

// NewReplica is the copy of the shared state of the backends' health. The
// commands use it to read the table and to write overrides.
func NewReplica(cfg *config.Config) (*fleet.Replica, error) { return newReplica(cfg, nil, nil) }

// newReplica leaves two fields of its configuration at their defaults: the
// instances count themselves (MaxInstances), and all apps with the same table
// share what they know of the same deployments (Group).
//
// LeaveAt is off unless the document sets throttle.leaveAt: provisioned
// capacity is paid for whether it is used or not, and the 429 that leaving
// early avoids costs the caller one short exchange, not an error.
func newReplica(cfg *config.Config, onChange func(slot health.Slot, before, after health.Record), usual *latency.Tracker) (*fleet.Replica, error) {
	store, err := OpenStore(cfg, cfg.Settings.StateTable)
	if err != nil {
		return nil, err
	}
	return fleet.New(fleet.Config{
		Store: store, Slots: cfg.Slots, Identities: cfg.Identities, Instance: cfg.Settings.Instance, Refresh: cfg.Settings.StateRefresh,
		Breakers: cfg.Breakers, Throttles: cfg.Throttles, OnChange: onChange, Usual: usual.Usual,
	}), nil
}

// modelsBySlot is the number of each slot's model.
func modelsBySlot(cfg *config.Config, slots *slotTable) []int {
	models := make([]int, len(cfg.Slots))
	for i := range cfg.Pools {
		for _, b := range cfg.Pools[i].Backends {
			models[b.Slot] = slots.model(cfg.Pools[i].Model)
		}
	}
	return models
}

// countInstances counts the instances that wrote to the table recently.
func countInstances(ctx context.Context, replica *fleet.Replica) (int, error) {
	all, err := replica.ReadState(ctx)
	if err != nil {
		return 0, fmt.Errorf("count instances: %w", err)
	}
	return len(all.Instances), nil
}

// NewAffinity is the store of which backend holds which stored object. Without
// a storage account it is this process's own. onError may be nil.
func NewAffinity(cfg *config.Config, onError func(error)) (*affinity.Store, error) {
	settings := affinity.Config{OnError: onError}
	if !cfg.Settings.State.Memory() {
		table, err := OpenStore(cfg, cfg.Settings.StateTable+affinityTable)
		if err != nil {
			return nil, err
		}
		settings.Table = table
	}
	return affinity.New(settings), nil
}
