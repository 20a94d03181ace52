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
