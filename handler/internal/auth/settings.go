package auth

import (
	"errors"
	"fmt"

	"spillway/handler/internal/consumer"
)

// Settings are how callers prove themselves. At least one of Open, Keys and
// Tokens must be asked for; nothing lets anybody in by being left out.
type Settings struct {
	Open      bool // SPILLWAY_AUTH=none: everybody is let in
	Keys      bool // keys are accepted
	Consumers []*consumer.Consumer
	Static    []StaticKey
	Ring      Ring     // keys issued at run time; nil = none
	Tokens    Verifier // tokens are accepted; nil = they are not
	Matches   []Match
}

// StaticKey is a key from an app setting.
type StaticKey struct {
	Consumer *consumer.Consumer
	Setting  string // names it in logs and errors
	Value    string
}

// Bounds of static keys.
const (
	leastKey = 16 // characters; shorter ones can be guessed
	mostKeys = 2  // of one consumer: the old one and the new one
)

// New checks the settings. It returns all faults at once, each with its fix:
// a policy that never fires, or that lets everyone in by mistake, does not
// start.
func New(s Settings) (*Authenticator, error) {
	a := &Authenticator{
		open: s.Open, keys: s.Keys, ring: s.Ring, tokens: s.Tokens, matches: s.Matches,
		static: map[Digest]*staticKey{}, byName: map[string]*consumer.Consumer{},
	}
	for _, c := range s.Consumers {
		a.byName[c.Name] = c
	}
	faults := s.modes()
	if s.Keys {
		for _, k := range s.Static {
			faults = append(faults, a.admit(k))
		}
		faults = append(faults, s.tooMany()...)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return a, nil
}

// modes checks that every way in that is asked for can let somebody in.
func (s *Settings) modes() []error {
	var faults []error
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, errors.New(text))
		}
	}
	fault(!s.Open && !s.Keys && s.Tokens == nil,
		`SPILLWAY_AUTH names no way in: set it to "key", "entra" or "key,entra", or to "none" to let everybody in`)
	fault(s.Open && (s.Keys || s.Tokens != nil),
		`SPILLWAY_AUTH names none and something else: write "none" alone to let everybody in, or leave it out`)
	fault(s.Keys && len(s.Consumers) == 0,
		`SPILLWAY_AUTH accepts keys, and there are no consumers that could have one: add "consumers" to the pool document, or set SPILLWAY_AUTH=none to let everybody in`)
	fault(s.Keys && len(s.Consumers) > 0 && len(s.Static) == 0 && s.Ring == nil,
		`SPILLWAY_AUTH accepts keys, and no consumer can have one: give it a "keySetting", or set SPILLWAY_STATE so that "spillway keys add" can issue some`)
	fault(s.Tokens != nil && len(s.Matches) == 0,
		`SPILLWAY_AUTH accepts Entra ID tokens, and no consumer has an "entra" rule: add "entra": {"appId": "…"} to one`)
	for _, m := range s.Matches {
		fault(m.AppID+m.Role+m.Group == "", fmt.Sprintf(`consumer %q has an empty "entra" rule: name its appId, role or group`, m.Consumer.Name))
	}
	return faults
}

// admit takes in one static key.
func (a *Authenticator) admit(k StaticKey) error {
	if len(k.Value) < leastKey || len(k.Value) > longestKey {
		return fmt.Errorf(`key %s of consumer %q has %d characters: use %d to %d, for example the output of "openssl rand -hex 32"`,
			k.Setting, k.Consumer.Name, len(k.Value), leastKey, longestKey)
	}
	digest := DigestOf(k.Value)
	if other, ok := a.static[digest]; ok && other.consumer != k.Consumer {
		return fmt.Errorf("key %s of consumer %q is the key %s of consumer %q as well: give each its own",
			k.Setting, k.Consumer.Name, other.id, other.consumer.Name)
	}
	a.static[digest] = &staticKey{digest: digest, consumer: k.Consumer, id: k.Setting}
	return nil
}

func (s *Settings) tooMany() []error {
	var faults []error
	count := map[*consumer.Consumer]int{}
	for _, k := range s.Static {
		count[k.Consumer]++
		if count[k.Consumer] == mostKeys+1 {
			faults = append(faults, fmt.Errorf("consumer %q has more than %d keys: remove the old ones", k.Consumer.Name, mostKeys))
		}
	}
	return faults
}
