package auth

import (
	"errors"
	"fmt"

	"spillway/handler/internal/consumer"
)

// Settings are how callers prove themselves. At least one of Open, Keys and
// Tokens must be asked for; nothing lets anybody in by being left out.
type Settings struct {
	AllowAnonymous bool // SPILLWAY_AUTH=none: everybody is let in
	AcceptKeys     bool // keys are accepted
	Consumers      []*consumer.Consumer
	StaticKeys     []StaticKey
	IssuedKeys     IssuedKeys // keys issued at run time; nil = none
	Verifier       Verifier   // tokens are accepted; nil = they are not
	TokenRules     []TokenRule
}

// StaticKey is a key from an app setting.
type StaticKey struct {
	Consumer *consumer.Consumer
	Setting  string // names it in logs and errors
	Value    string
}

// Bounds of static keys.
const (
	minKeyLength  = 16 // characters; shorter ones can be guessed
	maxStaticKeys = 2  // of one consumer: the old one and the new one
)

// New checks the settings. It returns all faults at once, each with its fix:
// a policy that never fires, or that lets everyone in by mistake, does not
// start.
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

// checkModes checks that every way in that is asked for can let somebody in.
func (s *Settings) checkModes() []error {
	var faults []error
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(!s.AllowAnonymous && !s.AcceptKeys && s.Verifier == nil,
		`SPILLWAY_AUTH names no way in: set it to "key", "entra" or "key,entra", or to "none" to let everybody in`)
	fault(s.AllowAnonymous && (s.AcceptKeys || s.Verifier != nil),
		`SPILLWAY_AUTH names none and something else: write "none" alone to let everybody in, or leave it out`)
	fault(s.AcceptKeys && len(s.Consumers) == 0,
		`SPILLWAY_AUTH accepts keys, and there are no consumers that could have one: add "consumers" to the pool document, or set SPILLWAY_AUTH=none to let everybody in`)
	fault(s.AcceptKeys && len(s.Consumers) > 0 && len(s.StaticKeys) == 0 && s.IssuedKeys == nil,
		`SPILLWAY_AUTH accepts keys, and no consumer can have one: give it a "keySetting", or set SPILLWAY_STATE so that "spillway keys add" can issue some`)
	fault(s.Verifier != nil && len(s.TokenRules) == 0,
		`SPILLWAY_AUTH accepts Entra ID tokens, and no consumer has an "entra" rule: add "entra": {"appId": "…"} to one`)
	for _, m := range s.TokenRules {
		fault(m.AppID+m.Role+m.Group == "", fmt.Sprintf(`consumer %q has an empty "entra" rule: name its appId, role or group`, m.Consumer.Name))
	}
	return faults
}

// addStaticKey takes in one static key.
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
