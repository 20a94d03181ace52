package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spillway/handler/internal/config"
	"spillway/handler/internal/configstore"
	"spillway/handler/internal/telemetry/condition"
)

const (
	configTable = "config" // suffix of the name of the table
	// configTimeout bounds one look at the table: how long a start waits for it.
	configTimeout = 2 * time.Second
)

// OpenConfigStore opens the versions of the app's pool document. Nothing is sent.
func OpenConfigStore(cfg *config.Config) (*configstore.Store, error) {
	table, err := OpenStore(cfg, cfg.Settings.StateTable+configTable)
	if err != nil {
		return nil, err
	}
	return &configstore.Store{Table: table, App: cfg.Settings.ConfigApp}, nil
}

// ReadVersion is the configuration of setting with the current version of the document
// in the table; setting itself when nothing was pushed, or a rollback restored
// SPILLWAY_CONFIG. The error is of type config.Faults when the document has faults.
func ReadVersion(ctx context.Context, store *configstore.Store, setting *config.Config) (*config.Config, configstore.Version, error) {
	head, err := store.Head(ctx)
	if err != nil {
		return nil, configstore.Version{}, err
	}
	cfg, err := buildVersion(ctx, store, setting, &head.Version)
	return cfg, head.Version, err
}

func buildVersion(ctx context.Context, store *configstore.Store, setting *config.Config, v *configstore.Version) (*config.Config, error) {
	if v.Document == "" {
		return setting, nil
	}
	text, err := store.Document(ctx, v)
	if err != nil {
		return nil, err
	}
	return setting.WithDocument(fmt.Sprintf("version %d", v.Number), text)
}

// configSource is where this process has its pool document from: the version that is
// current in the table, or SPILLWAY_CONFIG. A nil configSource is SPILLWAY_CONFIG
// alone.
type configSource struct {
	store   *configstore.Store
	setting *config.Config // with the document of SPILLWAY_CONFIG
	log     *slog.Logger

	wakeups  chan struct{} // reads the table at once
	lastRead atomic.Int64  // Unix milliseconds

	mu      sync.Mutex
	serving configstore.Version // whose document is served
	adopted bool                // a version of the table is served, and be it that there is none
	head    string              // the state of the table that was dealt with, if looked is set
	looked  bool
	refused string // the state of the table that problem is of
	problem error  // why the current version is not served; nil = it is
	unread  int    // reads that failed in a row
	readErr error  // of the last one of them
}

// newConfigSource is nil where the setting is the only source.
func newConfigSource(setting *config.Config, log *slog.Logger) (*configSource, error) {
	if setting.Settings.ConfigApp == "" {
		return nil, nil
	}
	store, err := OpenConfigStore(setting)
	return &configSource{store: store, setting: setting, log: log, wakeups: make(chan struct{}, 1)}, err
}

// first is the configuration to start with: that of the current version, or of
// SPILLWAY_CONFIG when the table does not answer in time or the version cannot be
// used.
func (s *configSource) first(ctx context.Context) *config.Config {
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	head, err := s.store.Head(ctx)
	cfg := s.setting
	if err == nil {
		cfg, err = buildVersion(ctx, s.store, s.setting, &head.Version)
	}
	if err != nil {
		s.refuse(ctx, &head, err)
		return s.setting
	}
	s.adopt(ctx, &head)
	return cfg
}

// adopt records that the version is served.
func (s *configSource) adopt(ctx context.Context, head *configstore.Head) {
	s.mu.Lock()
	before := s.serving.Number
	s.serving, s.adopted, s.problem, s.unread = head.Version, true, nil, 0
	s.head, s.looked = head.ID(), true
	s.mu.Unlock()
	s.log.InfoContext(ctx, "configuration adopted", "version", head.Number, "before", before, "by", head.By, "at", head.At, "document", short(head.Document))
}

// refuse records why the version is not served. What cannot change while this process
// runs is not tried again.
func (s *configSource) refuse(ctx context.Context, head *configstore.Head, why error) {
	_, faulty := errors.AsType[config.Faults](why)
	final := faulty || errors.Is(why, configstore.ErrDamaged)
	s.mu.Lock()
	known := s.problem != nil && s.problem.Error() == why.Error() && s.refused == head.ID()
	s.problem, s.refused, s.unread = why, head.ID(), 0
	if final {
		s.head, s.looked = head.ID(), true
	}
	serving := s.serving.Number
	s.mu.Unlock()
	if known {
		return
	}
	for line := range strings.Lines(why.Error()) { // a fault each
		s.log.ErrorContext(ctx, "configuration not adopted", "version", head.Number, "by", head.By, "serving", serving, "fault", strings.TrimSuffix(line, "\n"))
	}
}

// known reports whether this state of the table was looked at before.
func (s *configSource) known(head *configstore.Head) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = 0
	return s.looked && s.head == head.ID()
}

// serves reports whether this document is served already.
func (s *configSource) serves(v *configstore.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serving.Document == v.Document
}

// readFailed records that the table did not answer.
func (s *configSource) readFailed(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread++
	s.readErr = err
	if s.unread == configFailures {
		s.log.WarnContext(ctx, "the table of the configuration cannot be read", "error", err)
	}
}

// wake has the table read at once.
func (s *configSource) wake() {
	select {
	case s.wakeups <- struct{}{}:
	default:
	}
}

// short is enough of a hash to compare by eye.
func short(hash string) string { return hash[:min(len(hash), 12)] }

// Status is what readiness shows: "current", "fallback" where SPILLWAY_CONFIG serves
// because no version could be used since the start, or "behind" where an earlier
// version serves; "" where there is no table. version is the one that serves.
func (s *configSource) Status() (status string, version int) {
	if s == nil {
		return "", 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.problem == nil:
		return "current", s.serving.Number
	case s.adopted:
		return "behind", s.serving.Number
	}
	return "fallback", 0
}

// part is the source among the parts that may fail.
func (s *configSource) part() condition.Part {
	return condition.Part{
		Name: "configuration", Works: "requests are served by the last version that this instance could use, or by SPILLWAY_CONFIG",
		Fix: "correct and push it, or \"spillway config rollback\"; see that the app has the settings that it names and reads the table",
		Check: func(time.Time) (condition.State, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.problem == nil && s.unread >= configFailures {
				return degradedBy(s.readErr)
			}
			return degradedBy(s.problem)
		},
	}
}
