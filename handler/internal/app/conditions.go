package app

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"spillway/handler/internal/auth/entra"
	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/fleet"
	"spillway/handler/internal/telemetry"
	"spillway/handler/internal/telemetry/condition"
)

// conditions are the parts of this instance that may fail while it serves
// (docs/operations.md#parts-that-fail).
func conditions(cfg *config.Config, source *configSource, s *state, tokens func() map[string]*backend.Token, verifier *entra.Verifier, provider *telemetry.Provider) *condition.Set {
	var parts []condition.Part
	if source != nil {
		parts = append(parts, source.part())
	}
	if !cfg.Settings.State.Memory() {
		parts = append(parts, tableParts(len(cfg.Consumers) > 0 || source != nil, s)...)
	}
	if source != nil || slices.ContainsFunc(cfg.Resources, func(r config.Resource) bool { return r.Mode == config.ManagedIdentity }) {
		parts = append(parts, condition.Part{
			Name: "backend-identity", Works: "backends with keys; the token that is held, until it expires",
			Fix:   "check the app's managed identity and its role Cognitive Services OpenAI User: spillway validate --live",
			Check: func(time.Time) (condition.State, error) { return worstToken(tokens()) },
		})
	}
	if verifier != nil {
		parts = append(parts, condition.Part{
			Name: "entra-keys", Works: "callers with keys; tokens signed by keys that were fetched in the last 72 hours",
			Fix:   "check that this app reaches the issuer of SPILLWAY_ENTRA_TENANT (login.microsoftonline.com): DNS, firewall, proxy",
			Check: func(time.Time) (condition.State, error) { return stateOfKeys(verifier) },
		})
	}
	if s.transcripts != nil {
		parts = append(parts, condition.Part{
			Name: "transcripts", Works: "requests are served; their transcripts are lost",
			Fix:   "check the container of SPILLWAY_TRANSCRIPTS and the role Storage Blob Data Contributor",
			Check: func(time.Time) (condition.State, error) { return degradedBy(s.transcripts.Err()) },
		})
	}
	return condition.New(append(parts, condition.Part{
		Name: "telemetry", Works: "requests are served, and logged; /ops/metrics",
		Fix:   "check the address and the credentials of the OTEL_ variables",
		Check: provider.Condition,
	})...)
}

// tableParts are those that the storage account serves, where there are consumers or
// may be.
func tableParts(consumers bool, s *state) []condition.Part {
	const fix = "check the account of the shared state, its firewall, and the role Storage Table Data Contributor: spillway validate --live"
	table := &tableCondition{counters: s.replica.Counters}
	parts := []condition.Part{
		{
			Name: "state-read", Works: "requests are served by what this instance knows and sees itself; quotas by what it has leased", Fix: fix,
			Check: table.read,
		},
		{
			Name: "state-write", Works: "requests are served; others do not learn what this instance sees", Fix: fix,
			Check: table.write,
		},
		{
			Name: "usage", Works: "requests are served; usage is kept in memory and written later, unless the process ends", Fix: fix,
			Check: func(time.Time) (condition.State, error) { return degradedBy(s.usage.Err()) },
		},
		{
			Name: "stored-ids", Works: "requests are served; a stored object may not be found by other instances", Fix: fix,
			Check: s.failures.ids.Check,
		},
	}
	if consumers {
		parts = append(parts, condition.Part{
			Name: "quotas", Works: "requests are served within what this instance has leased", Fix: fix, Check: s.failures.quotas.Check,
		}, condition.Part{
			Name: "issued-keys", Works: "keys that this instance knows, and those in app settings", Fix: fix, Check: s.failures.keys.Check,
		})
	}
	return parts
}

// failures are those of parts that report them as they happen.
type failures struct{ quotas, keys, ids condition.Latch }

// degradedBy is for parts without which requests are served all the same.
func degradedBy(err error) (condition.State, error) {
	if err == nil {
		return condition.OK, nil
	}
	return condition.Degraded, err
}

// tableCondition is how the table of the shared state serves this instance.
type tableCondition struct {
	counters  func() fleet.Counters
	exchanges uint64    // at the last look
	asked     time.Time // when there was an exchange that the look before had not seen
}

// idleAfter is how long after its last exchange the state of the table is not known
// any more: nobody asks it for anything, so nothing fails. While it is asked in vain
// it is asked every ten seconds at least.
const idleAfter = 30 * time.Second

func (t *tableCondition) read(now time.Time) (condition.State, error) {
	c := t.counters()
	if n := c.Exchanges + c.ReadFailures + c.UnknownOutcomes; n != t.exchanges || t.asked.IsZero() {
		t.exchanges, t.asked = n, now
	}
	switch {
	case now.Sub(t.asked) >= idleAfter:
	case c.Disconnected:
		return condition.Failing, cmp.Or(c.LastError, errNoAnswer)
	case c.LastError != nil && c.WriteError == nil:
		return condition.Degraded, c.LastError
	}
	return condition.OK, nil
}

var errNoAnswer = errors.New("the table does not answer")

func (t *tableCondition) write(now time.Time) (condition.State, error) {
	c := t.counters()
	if c.WriteError == nil || c.Disconnected || now.Sub(t.asked) >= idleAfter {
		return condition.OK, nil
	}
	return condition.Failing, c.WriteError
}

// worstToken is the state of the identities of backends.
func worstToken(tokens map[string]*backend.Token) (worst condition.State, why error) {
	for _, t := range tokens {
		valid, err := t.State()
		is := condition.OK
		switch {
		case err == nil:
		case valid:
			is = condition.Degraded
		default:
			is = condition.Failing
		}
		if is > worst {
			worst, why = is, err
		}
	}
	return worst, why
}

// stateOfKeys is whether tokens of callers and operators can be verified.
func stateOfKeys(v *entra.Verifier) (condition.State, error) {
	usable, err := v.State()
	switch {
	case err == nil:
		return condition.OK, nil
	case usable:
		return condition.Degraded, err
	}
	return condition.Failing, err
}
