package auth

import (
	"errors"
	"fmt"

	"spillway/handler/internal/consumer"
)

// Settings are the accepted credentials. At least one of AllowAnonymous,
// AcceptKeys and Verifier is required: the zero Settings are an error.
type Settings struct {
	AllowAnonymous bool // SPILLWAY_AUTH=none
	AcceptKeys     bool // keys are accepted
	Consumers      []*consumer.Consumer
	StaticKeys     []StaticKey
	IssuedKeys     IssuedKeys // keys issued at run time; nil = none
	Verifier       Verifier   // nil = tokens are refused
	TokenRules     []TokenRule
}

// StaticKey is a key from an app setting.
type StaticKey struct {
	Consumer *consumer.Consumer
	Setting  string // the setting's name, for logs and errors
	Value    string
}

// Bounds of static keys.
const (
	minKeyLength  = 16 // characters
	maxStaticKeys = 2  // of one consumer, so that they can be rotated
)

// New returns all faults of the settings at once, each with its fix. A setting
// under which nobody could be accepted is a fault.
func New(s Settings) (*Authenticator, error) {
	a := &Authenticator{
		anonymous: s.AllowAnonymous, acceptKeys: s.AcceptKeys, issued: s.IssuedKeys, verifier: s.Verifier, rules: s.TokenRules,
		static: map[Digest]*staticKey{}, byName: map[string]*consumer.Consumer{},
	}
	for _, c := range s.Consumers {
		a.byName[c.Name] = c
	}
	faults := s.checkModes()
	if s.AcceptKeys {
		for _, k := range s.StaticKeys {
			faults = append(faults, a.addStaticKey(k))
		}
		faults = append(faults, s.checkKeyCounts()...)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return a, nil
}

// checkModes checks that every accepted kind of credential can belong to
// somebody.
func (s *Settings) checkModes() []error {
	var faults []error
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(!s.AllowAnonymous && !s.AcceptKeys && s.Verifier == nil,
		`SPILLWAY_AUTH accepts no credential: set it to "key", "entra" or "key,entra", or to "none" for anonymous access`)
	fault(s.AllowAnonymous && (s.AcceptKeys || s.Verifier != nil),
		`SPILLWAY_AUTH names none and something else: write "none" alone for anonymous access, or leave it out`)
	fault(s.AcceptKeys && len(s.Consumers) == 0,
		`SPILLWAY_AUTH accepts keys, and there are no consumers that could have one: add "consumers" to the pool document, or set SPILLWAY_AUTH=none for anonymous access`)
	fault(s.AcceptKeys && len(s.Consumers) > 0 && len(s.StaticKeys) == 0 && s.IssuedKeys == nil,
		`SPILLWAY_AUTH accepts keys, and no consumer can have one: give it a "keySetting", or set SPILLWAY_STATE so that "spillway keys add" can issue some`)
	fault(s.Verifier != nil && len(s.TokenRules) == 0,
		`SPILLWAY_AUTH accepts Entra ID tokens, and no consumer has an "entra" rule: add "entra": {"appId": "…"} to one`)
	for _, m := range s.TokenRules {
		fault(m.AppID+m.Role+m.Group == "", fmt.Sprintf(`consumer %q has an empty "entra" rule: name its appId, role or group`, m.Consumer.Name))
	}
	return faults
}

// addStaticKey adds a static key, or returns why it cannot be used.
func (a *Authenticator) addStaticKey(k StaticKey) error {
	if len(k.Value) < minKeyLength || len(k.Value) > maxKeyLength {
		return fmt.Errorf(`key %s of consumer %q has %d characters: use %d to %d, for example the output of "openssl rand -hex 32"`,
			k.Setting, k.Consumer.Name, len(k.Value), minKeyLength, maxKeyLength)
	}
	digest := DigestOf(k.Value)
	if other, ok := a.static[digest]; ok && other.consumer != k.Consumer {
		return fmt.Errorf("key %s of consumer %q is the key %s of consumer %q as well: give each its own",
			k.Setting, k.Consumer.Name, other.id, other.consumer.Name)
	}
	a.static[digest] = &staticKey{digest: digest, consumer: k.Consumer, id: k.Setting}
	return nil
}

func (s *Settings) checkKeyCounts() []error {
	var faults []error
	count := map[*consumer.Consumer]int{}
	for _, k := range s.StaticKeys {
		count[k.Consumer]++
		if count[k.Consumer] == maxStaticKeys+1 {
			faults = append(faults, fmt.Errorf("consumer %q has more than %d keys: remove the old ones", k.Consumer.Name, maxStaticKeys))
		}
	}
	return faults
}
