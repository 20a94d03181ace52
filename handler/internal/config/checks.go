package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// checker reports the faults and warnings of the document and of the settings.
type checker struct {
	document.Report
	env map[string]string
}

// setting reports a process setting.
func (c *checker) setting(name, problem, fix string) {
	c.Faults = append(c.Faults, jsondoc.Fault{Path: name, Problem: problem, Fix: fix})
}

// settingWarning reports a process setting that is settingWarning but does no harm.
func (c *checker) settingWarning(name, problem, fix string) {
	c.Warnings = append(c.Warnings, jsondoc.Fault{Path: name, Problem: problem, Fix: fix})
}

// secret is the value of an app setting that holds a key. Faults name the
// place that refers to it, never the value.
func (c *checker) secret(path, name, value string) Secret {
	report := c.Fault
	if path == name {
		report = c.setting
	}
	quoted := "the app setting " + strconv.Quote(name)
	switch {
	case value == "":
		if path != name {
			report(path, quoted+" is not set", c.nearestSetting(name))
		}
	case unresolved(value):
		report(path, quoted+" is a Key Vault reference that was not resolved", "Give the app's identity the role Key Vault Secrets User, and check the secret's name and keyVaultReferenceIdentity.")
	case strings.TrimSpace(value) != value || strings.ContainsAny(value, " \t\r\n"):
		report(path, quoted+" holds spaces or line breaks", "Store the key alone, without a line break at its end.")
	case strings.HasPrefix(value, "<") || strings.Trim(value, "_") == "":
		report(path, quoted+" holds a placeholder", "Store the key itself.")
	}
	return NewSecret(value)
}

// nearestSetting is what to do about a setting that is not there.
func (c *checker) nearestSetting(name string) string {
	if near := jsondoc.Nearest(name, slices.Sorted(maps.Keys(c.env))); near != "" {
		return "Did you mean " + strconv.Quote(near) + "?"
	}
	return "Add it to the app's settings, or name the one that holds the key."
}

// checkSecrets looks into the app settings that the document names, and at who
// could be let in by them. It returns the consumers' keys.
func (c *checker) checkSecrets(d *document.Document, s *Settings) []Key {
	for i, b := range d.Backends {
		if b.Auth.Mode == "api-key" && b.Auth.Setting != "" {
			c.secret(jsondoc.Index("backends", i)+".auth.setting", b.Auth.Setting, c.env[b.Auth.Setting])
		}
	}
	keys := c.consumerKeys(d, s)
	c.checkAuthModes(d, s, keys)
	c.checkPassThrough(d, s)
	c.checkAdoptionTable(d, s)
	c.checkTranscripts(d, s)
	return keys
}

// consumerKeys gathers the static keys of all consumers.
func (c *checker) consumerKeys(d *document.Document, s *Settings) []Key {
	var keys []Key
	owners := map[string]string{}
	if s.OperatorKey.Set() {
		owners[s.OperatorKey.Reveal()] = "the operators (SPILLWAY_OPERATOR_KEY)"
	}
	for i, who := range d.Consumers {
		for path, setting := range who.Keys(jsondoc.Index("consumers", i)) {
			value := c.env[setting]
			key := Key{Consumer: i, Setting: setting, Value: c.secret(path, setting, value)}
			owner, taken := owners[value]
			switch {
			case value == "":
				continue
			case len(value) < leastKey:
				c.Fault(path, "the app setting "+strconv.Quote(setting)+" holds a key of fewer than 16 characters, which can be guessed", `Use for example the output of "openssl rand -hex 32".`)
			case taken:
				c.Fault(path, "the app setting "+strconv.Quote(setting)+" holds the same key as that of "+owner, "Give each its own key.")
			}
			owners[value] = "consumer " + strconv.Quote(who.Name)
			keys = append(keys, key)
		}
	}
	return keys
}

// checkAuthModes looks for consumers that could never be let in, and for callers
// that are let in against all appearance. Keys may also be in the table, where
// "spillway keys add" puts them, but only if there is one.
func (c *checker) checkAuthModes(d *document.Document, s *Settings, keys []Key) {
	table := !s.State.Memory()
	if c.Faults.Under("SPILLWAY_AUTH") {
		return
	}
	if s.Callers.None() {
		c.checkOpen(d, s)
		return
	}
	if len(d.Consumers) == 0 {
		fix := `Add consumers to the pool document, or set SPILLWAY_AUTH to "none" to let everyone in.`
		if c.Names != nil { // there is no document yet
			fix = `Set it to "none" to let everyone in, as openai-aca-lb does. To name consumers, make a pool document of these settings with "spillway import aca-lb".`
		}
		c.setting("SPILLWAY_AUTH", "asks callers who they are, but there are no consumers that they could be, so nobody could be let in", fix)
		return
	}
	keyed, known := len(keys) > 0 || table, false
	for i, who := range d.Consumers {
		at := jsondoc.Index("consumers", i)
		hasKey := who.KeySetting != "" || len(who.KeySettings) > 0
		keyed, known = keyed || hasKey, known || who.Entra != nil
		switch {
		case s.Callers.Key && (hasKey || table) || s.Callers.Entra && who.Entra != nil || c.Faults.Under(at):
		case s.Callers.Key:
			c.Fault(at, "could never be let in: it has no key", `Add "keySetting": the name of the app setting that holds its key. Keys made by "spillway keys add" need a table (SPILLWAY_STATE).`)
		default:
			c.Fault(at, "could never be let in: SPILLWAY_AUTH asks for Entra tokens and it names none", `Add "entra" with its appId, group or role, or add key to SPILLWAY_AUTH.`)
		}
	}
	if s.Callers.Key && s.Callers.Entra {
		c.checkKeysAndTokens(keyed, known)
	}
}

// checkKeysAndTokens looks for a way in that nobody could take.
func (c *checker) checkKeysAndTokens(keyed, known bool) {
	if !keyed {
		c.setting("SPILLWAY_AUTH", "names key, but no consumer could have one", `Give a consumer a keySetting, set SPILLWAY_STATE for keys made by "spillway keys add", or leave key out.`)
	}
	if !known {
		c.setting("SPILLWAY_AUTH", "names entra, but no consumer says which tokens are its own", `Add "entra" with an appId, group or role to a consumer, or leave entra out.`)
	}
}

// checkOpen warns of what SPILLWAY_AUTH=none means here.
func (c *checker) checkOpen(d *document.Document, s *Settings) {
	if !s.Loopback || !s.Standalone {
		c.settingWarning("SPILLWAY_AUTH", "is none: whoever reaches this address may use every model", "Set it to key or entra unless something in front authenticates callers.")
	}
	if len(d.Consumers) > 0 {
		c.Warn("consumers", "have no effect, because SPILLWAY_AUTH is none", "Set SPILLWAY_AUTH to key or entra.")
	}
}

// checkPassThrough warns of tokens that cannot be valid here and at the backend.
func (c *checker) checkPassThrough(d *document.Document, s *Settings) {
	const audience = "https://cognitiveservices.azure.com"
	for i, b := range d.Backends {
		if b.Auth.Mode == "pass-through" && s.Callers.Entra && s.Callers.Audience != audience {
			c.Warn(jsondoc.Index("backends", i)+".auth.mode", "forwards the callers' own tokens, which are made for "+strconv.Quote(s.Callers.Audience), `Set SPILLWAY_ENTRA_AUDIENCE to "`+audience+`": a token has one audience.`)
		}
	}
}

// checkTranscripts warns of consumers whose transcripts go nowhere.
func (c *checker) checkTranscripts(d *document.Document, s *Settings) {
	for i, who := range d.Consumers {
		if who.Transcripts && s.Transcripts == "" {
			c.Warn(jsondoc.Index("consumers", i)+".transcripts", "has no effect, because SPILLWAY_TRANSCRIPTS names no container", "Set it to the name of a blob container.")
		}
	}
}

// checkAdoptionTable looks for adoption without a table: a restart would forget what
// other consumers made, which could be adopted then.
func (c *checker) checkAdoptionTable(d *document.Document, s *Settings) {
	if !s.State.Memory() || s.Callers.None() || len(d.Consumers) < 2 {
		return
	}
	for i := range d.Backends {
		if d.Backends[i].Adopt != "" {
			c.Fault(jsondoc.Index("backends", i)+".adopt", "needs a table: in memory, owners of objects are known until the next restart", `Set SPILLWAY_STATE, or remove "adopt".`)
		}
	}
}
