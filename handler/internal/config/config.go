// Package config turns what an operator wrote into values that are known good:
// process settings and the pool document become pools, slots, resources,
// consumers and policies, or else a list of everything that is wrong, each
// fault with its place and its fix. It knows no network.
package config

import (
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
)

// Faults is everything that is wrong with a configuration, as one error.
type Faults = jsondoc.Faults

// Config is the whole configuration. It is immutable once loaded.
type Config struct {
	Settings  Settings
	Document  *document.Document // as written, defaults filled in
	Resources []Resource         // by pool.Backend.Index
	Pools     []balancer.Pool
	Slots     []string // by health.Slot: "backend/model", "backend/*"

	// By health.Slot: which deployment it is, whatever the document calls it, and
	// the policies that hold for it.
	Identities []string
	Breakers   []health.BreakerPolicy
	Throttles  []health.ThrottlePolicy

	Consumers []consumer.Consumer
	Keys      []Key
	Entra     []Identity
	Breaker   health.BreakerPolicy
	Throttle  health.ThrottlePolicy
	Warnings  Faults // suspicious, but no reason not to start

	index   map[string]int // of a pool, by model name and alias
	secrets *secrets       // of this process, for WithDocument; nil = they are not here
	allow   *allowed       // for a document from the table; nil = unknown here
}

// secrets is an environment. It is held by a pointer, which is all that prints.
type secrets struct{ all map[string]string }

// Load reads the environment of this process and the files it points to. The
// error, if any, is of type Faults and names everything that is wrong; the
// Config then holds Settings alone, as far as they could be understood, so
// that there is an address on which to say so.
func Load() (*Config, error) {
	in, err := environment()
	if err != nil {
		return &Config{}, Faults{{Path: "the environment", Problem: err.Error(), Fix: "Correct it."}}
	}
	return load(&in)
}

func load(in *inputs) (*Config, error) {
	c := &checker{env: in.all}
	cfg := &Config{Settings: c.settings(in)}
	d := c.document(in)
	if d == nil {
		c.unknownSettings(in, nil)
		return cfg, c.Faults.Err()
	}
	c.httpTimeout(in, &cfg.Settings)
	c.unknownSettings(in, d.Settings())
	c.checkConfigTable(&cfg.Settings)
	allow := c.allowed(in.ours.ConfigAllow, d)
	c.Check(d, cfg.Settings.Region)
	keys := c.checkSecrets(d, &cfg.Settings)
	c.Faults.Sort()
	if len(c.Faults) > 0 {
		return cfg, c.Faults
	}
	cfg.Keys = keys
	cfg.Warnings = c.Warnings
	cfg.secrets, cfg.allow = &secrets{in.all}, allow
	cfg.resolve(d, in.all)
	return cfg, nil
}

// resolve builds everything from a document without faults.
func (cfg *Config) resolve(d *document.Document, env map[string]string) {
	l := document.NewLayout(d, cfg.Settings.Region)
	cfg.Document = d
	for i := range d.Backends {
		cfg.Resources = append(cfg.Resources, cfg.resource(&d.Backends[i], env))
	}
	cfg.pools(l)
	cfg.consumers(l)
	cfg.Breaker = breakerPolicy(&d.CircuitBreaker)
	cfg.Throttle = throttlePolicy(&d.Throttle)
}
