package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"
)

// Config configures a simulated service. The zero value with Resources has a real
// clock, no limits, no delays, and keeps every request in the journal.
type Config struct {
	Resources []Resource

	// Seed makes text, ids, jitter and the probability of faults repeatable.
	Seed uint64

	// Now is the clock of limits, windows and the journal; nil is time.Now.
	// Latencies always use timers (which testing/synctest makes virtual).
	Now func() time.Time

	// Journal bounds the memory of the journal: 0 keeps every entry, N > 0 the
	// last N, a negative value none (counters only, bodies not even hashed).
	Journal int

	// Control serves /_control/ on every listener.
	Control bool

	// MaxCustomHeaders is the number of custom headers above which a request gets
	// 431; Azure documents 10 (docs/azure-openai.md#errors). 0 is no limit.
	MaxCustomHeaders int

	// MaxBody is the size of a body in bytes above which a request gets 413; 0 is no
	// limit.
	MaxBody int64

	Strict Strict
}

// ErrConfig is wrapped by every error of Validate.
var ErrConfig = errors.New("simulated service misconfigured")

var nameShape = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`) })

// Validate reports every fault of a configuration.
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
	if !nameShape().MatchString(r.Name) || r.Name == controlSegment {
		faults = append(faults, fmt.Errorf("%w: resources[%d]: name %q must match %s", ErrConfig, i, r.Name, nameShape()))
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
		if seen[d.Name] || !nameShape().MatchString(d.Name) {
			faults = append(faults, fmt.Errorf("%w: %s: name %q must be unique and match %s", ErrConfig, at, d.Name, nameShape()))
		}
		seen[d.Name] = true
		if err := d.validate(); err != nil {
			faults = append(faults, fmt.Errorf("%w: %s: %w", ErrConfig, at, err))
		}
	}
	return faults
}

// Resource is one simulated Azure OpenAI resource (an account with an
// endpoint, keys and deployments).
type Resource struct {
	Name   string `json:"name"`
	Region string `json:"region"`

	// Keys are the accepted API keys; when there are none any key is accepted.
	Keys []string `json:"keys,omitempty"`

	// Tokens are the accepted Entra tokens; when there are none, any JWT for this
	// audience is accepted that has not expired.
	Tokens []string `json:"tokens,omitempty"`

	// Auth is how credentials are treated; "" accepts the good ones.
	Auth AuthMode `json:"auth,omitempty"`

	Deployments []Deployment `json:"deployments"`

	// StoreDelay is how long a new response id is not found at its own resource:
	// the real store is eventually consistent
	// (docs/azure-openai.md#stateful-operations).
	StoreDelay time.Duration `json:"storeDelay,omitempty"`

	// TLS is the certificate under StartTLS; "" is a valid one.
	TLS TLSMode `json:"tls,omitempty"`
}

// resource is the state of a Resource.
type resource struct {
	Resource
	deployments map[string]*deployment
	order       []string
	cache       *promptCache
	store       *store
	objects     *objects
}

func newResource(cfg Resource, now func() time.Time) *resource {
	r := &resource{Resource: cfg, deployments: make(map[string]*deployment, len(cfg.Deployments)), cache: newPromptCache(), store: newStore(), objects: newObjects()}
	for _, d := range cfg.Deployments {
		r.deployments[d.Name] = newDeployment(d, now())
		r.order = append(r.order, d.Name)
	}
	return r
}

func (r *resource) reset(now time.Time) {
	r.cache.reset()
	r.store.reset()
	r.objects.reset()
	for _, d := range r.deployments {
		d.reset(now)
	}
}

// regionName is a region as the x-ms-region header and error texts write it.
func regionName(region string) string {
	switch region {
	case "uksouth":
		return "UK South"
	case "swedencentral":
		return "Sweden Central"
	case "francecentral":
		return "France Central"
	case "germanywestcentral":
		return "Germany West Central"
	case "westeurope":
		return "West Europe"
	case "northeurope":
		return "North Europe"
	case "eastus":
		return "East US"
	case "eastus2":
		return "East US 2"
	case "westus":
		return "West US"
	case "northcentralus":
		return "North Central US"
	default:
		return region
	}
}

// Durations are text in documents ("250ms") and time.Duration in Go. Unknown
// fields are errors.

var (
	resourceTimes   = []string{"storeDelay"}
	deploymentTimes = []string{"requestWindow", "provisionedBurst", "timeToFirstToken", "perToken", "perPromptToken"}
	faultTimes      = []string{"after", "for", "up", "down", "retryAfter", "dateSkew", "latency", "hold", "pause"}
)

type (
	plainResource   Resource
	plainDeployment Deployment
	plainFault      Fault
)

// UnmarshalJSON reads durations as text.
func (r *Resource) UnmarshalJSON(b []byte) error {
	return decodeTimed(b, (*plainResource)(r), resourceTimes)
}

// MarshalJSON writes durations as text.
func (r Resource) MarshalJSON() ([]byte, error) {
	return encodeTimed(plainResource(r), resourceTimes)
}

// UnmarshalJSON reads durations as text. Fields that the document does not name
// keep their value, so a document may be a change.
func (d *Deployment) UnmarshalJSON(b []byte) error {
	return decodeTimed(b, (*plainDeployment)(d), deploymentTimes)
}

// MarshalJSON writes durations as text.
func (d Deployment) MarshalJSON() ([]byte, error) {
	return encodeTimed(plainDeployment(d), deploymentTimes)
}

// UnmarshalJSON reads durations as text.
func (f *Fault) UnmarshalJSON(b []byte) error {
	return decodeTimed(b, (*plainFault)(f), faultTimes)
}

// MarshalJSON writes durations as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	return encodeTimed(plainFault(f), faultTimes)
}

func decodeTimed(b []byte, into any, times []string) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	for _, name := range times {
		if err := textToNumber(fields, name); err != nil {
			return err
		}
	}
	plain, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func textToNumber(fields map[string]json.RawMessage, name string) error {
	raw, ok := fields[name]
	if !ok {
		return nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("read %s %s: write a duration like \"250ms\"", name, raw)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("read %s %q: write a duration like \"250ms\": %w", name, text, err)
	}
	fields[name] = json.RawMessage(fmt.Sprint(int64(d)))
	return nil
}

func encodeTimed(plain any, times []string) ([]byte, error) {
	b, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return nil, err
	}
	for _, name := range times {
		var d time.Duration
		if raw, ok := fields[name]; ok && json.Unmarshal(raw, &d) == nil {
			fields[name] = json.RawMessage(fmt.Sprintf("%q", d.String()))
		}
	}
	return json.Marshal(fields)
}
