package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
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

	mu      sync.Mutex
	serving configstore.Version // whose document is served
	read    bool                // a version was adopted: serving is not the fallback
	problem error               // why the current version is not served; nil = it is
}

// newConfigSource is nil where the setting is the only source.
func newConfigSource(setting *config.Config, log *slog.Logger) (*configSource, error) {
	if setting.Settings.ConfigApp == "" {
		return nil, nil
	}
	store, err := OpenConfigStore(setting)
	return &configSource{store: store, setting: setting, log: log}, err
}

// first is the configuration to start with: that of the current version, or of
// SPILLWAY_CONFIG when the table does not answer in time or the version cannot be
// used.
func (s *configSource) first(ctx context.Context) *config.Config {
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	cfg, version, err := ReadVersion(ctx, s.store, s.setting)
	if err != nil {
		s.refuse(ctx, &version, err)
		return s.setting
	}
	s.adopt(ctx, &version)
	return cfg
}

// adopt records that the version is served.
func (s *configSource) adopt(ctx context.Context, v *configstore.Version) {
	s.mu.Lock()
	before := s.serving.Number
	s.serving, s.read, s.problem = *v, true, nil
	s.mu.Unlock()
	s.log.InfoContext(ctx, "configuration adopted", "version", v.Number, "before", before, "by", v.By, "at", v.At, "document", short(v.Document))
}

// refuse records why the version is not served.
func (s *configSource) refuse(ctx context.Context, v *configstore.Version, why error) {
	s.mu.Lock()
	serving := s.serving.Number
	s.problem = fmt.Errorf("version %d: %w", v.Number, why)
	if v.Number == 0 {
		s.problem = why
	}
	s.mu.Unlock()
	for line := range strings.Lines(why.Error()) { // a fault each
		s.log.ErrorContext(ctx, "configuration not adopted", "version", v.Number, "by", v.By, "serving", serving, "fault", strings.TrimSuffix(line, "\n"))
	}
}

// short is enough of a hash to compare by eye.
func short(hash string) string { return hash[:min(len(hash), 12)] }

// Status is what readiness shows: "current", "fallback" where SPILLWAY_CONFIG serves
// because no version could be used since the start, or "behind" where an earlier
// version serves; "" where there is no table.
func (s *configSource) Status() string {
	if s == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.problem == nil:
		return "current"
	case s.read:
		return "behind"
	}
	return "fallback"
}

// part is the source among the parts that may fail.
func (s *configSource) part() condition.Part {
	return condition.Part{
		Name: "configuration", Works: "requests are served by the last version that this instance could use, or by SPILLWAY_CONFIG",
		Fix: "correct and push it, or \"spillway config rollback\"; see that the app has the settings that it names and reads the table",
		Check: func(time.Time) (condition.State, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return degradedBy(s.problem)
		},
	}
}
