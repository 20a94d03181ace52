package simulator

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Config is a whole simulated service. Its zero value but for Resources is the
// fast, honest one: real clock, no limits, every request kept in the journal.
type Config struct {
	Resources []Resource

	// Seed makes text, ids, jitter and the chance of faults repeatable.
	Seed uint64

	// Now is the clock of limits, windows and the journal; nil is time.Now.
	// Latencies always use timers (which testing/synctest makes virtual).
	Now func() time.Time

	// Journal bounds the memory of the journal: 0 keeps every entry, N > 0 the
	// last N, a negative value none (counters only, bodies not even hashed).
	Journal int

	// Control opens /_control/ on every listener.
	Control bool

	// MaxCustomHeaders answers 431 to requests with more custom headers; Azure
	// documents 10 (facts/azure-openai.md §3.1). 0 is no limit.
	MaxCustomHeaders int

	// MaxBody answers 413 to larger bodies; 0 is no limit.
	MaxBody int64

	Strict Strict
}

// ErrConfig is wrapped by every error of Validate.
var ErrConfig = errors.New("simulated service misconfigured")

var nameShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Validate says what is wrong with a configuration, all of it at once.
func (c Config) Validate() error {
	var faults []error
	if len(c.Resources) == 0 {
		faults = append(faults, fmt.Errorf("%w: no resources; name at least one", ErrConfig))
	}
	seen := map[string]bool{}
	for i, r := range c.Resources {
		if seen[r.Name] {
			faults = append(faults, fmt.Errorf("%w: resources[%d]: name %q is taken; give each its own", ErrConfig, i, r.Name))
		}
		seen[r.Name] = true
		faults = append(faults, r.validate(i)...)
	}
	return errors.Join(faults...)
}

func (r Resource) validate(i int) []error {
	var faults []error
	if !nameShape.MatchString(r.Name) || r.Name == controlSegment {
		faults = append(faults, fmt.Errorf("%w: resources[%d]: name %q must match %s", ErrConfig, i, r.Name, nameShape))
	}
	if !r.Auth.known() {
		faults = append(faults, fmt.Errorf("%w: resources[%d]: auth %q is none of %v", ErrConfig, i, r.Auth, authModes))
	}
	if !r.TLS.known() {
		faults = append(faults, fmt.Errorf("%w: resources[%d]: tls %q is none of %v", ErrConfig, i, r.TLS, tlsModes))
	}
	seen := map[string]bool{}
	for k, d := range r.Deployments {
		at := fmt.Sprintf("resources[%d].deployments[%d]", i, k)
		if seen[d.Name] || !nameShape.MatchString(d.Name) {
			faults = append(faults, fmt.Errorf("%w: %s: name %q must be unique and match %s", ErrConfig, at, d.Name, nameShape))
		}
		seen[d.Name] = true
		if err := d.validate(); err != nil {
			faults = append(faults, fmt.Errorf("%w: %s: %w", ErrConfig, at, err))
		}
	}
	return faults
}
