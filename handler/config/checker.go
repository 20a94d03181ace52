package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/config/strict"
)

// checker gathers what is wrong, and what is only odd.
type checker struct {
	env      map[string]string
	tree     *strict.Tree      // of the pool document; nil when it is no text
	names    map[string]string // paths of the document that were written as settings
	faults   strict.Faults
	warnings strict.Faults
}

// setting reports a process setting.
func (c *checker) setting(name, problem, fix string) {
	c.faults = append(c.faults, strict.Fault{Path: name, Problem: problem, Fix: fix})
}

// fault reports a place in the pool document, unless something is already
// known to be wrong there.
func (c *checker) fault(path, problem, fix string) {
	if f := c.place(path, problem, fix); !c.faults.Covers(f.Path) {
		c.faults = append(c.faults, f)
	}
}

// warn reports a place in the pool document that is odd but does no harm.
func (c *checker) warn(path, problem, fix string) {
	c.warnings = append(c.warnings, c.place(path, problem, fix))
}

// odd reports a process setting that is odd but does no harm.
func (c *checker) odd(name, problem, fix string) {
	c.warnings = append(c.warnings, strict.Fault{Path: name, Problem: problem, Fix: fix})
}

// place finds a path in the text that the operator wrote.
func (c *checker) place(path, problem, fix string) strict.Fault {
	if name, ok := c.names[path]; ok {
		return strict.Fault{Path: name, Problem: problem, Fix: fix}
	}
	if c.tree == nil {
		return strict.Fault{Path: path, Problem: problem, Fix: fix}
	}
	return c.tree.Fault(path, problem, fix)
}

// wrote reports whether the operator wrote anything at path.
func (c *checker) wrote(path string) bool { return c.tree != nil && c.tree.Has(path) }

// secret is the value of an app setting that holds a key. Faults name the
// place that refers to it, never the value.
func (c *checker) secret(path, name, value string) Secret {
	report := c.fault
	if path == name {
		report = c.setting
	}
	quoted := "the app setting " + strconv.Quote(name)
	switch {
	case value == "":
		if path != name {
			report(path, quoted+" is not set", c.otherName(name))
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

// otherName is what to do about a setting that is not there.
func (c *checker) otherName(name string) string {
	if near := strict.Nearest(name, slices.Sorted(maps.Keys(c.env))); near != "" {
		return "Did you mean " + strconv.Quote(near) + "?"
	}
	return "Add it to the app's settings, or name the one that holds the key."
}
