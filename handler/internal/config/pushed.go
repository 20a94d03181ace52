package config

import (
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
)

// appPattern is the name of an app, as Azure has it.
var appPattern = shape{`^[A-Za-z0-9][A-Za-z0-9-]{0,59}$`, "the name of the app: letters, digits and hyphens"}

// configSource is whose versions in the table win over SPILLWAY_CONFIG; "" = nobody's.
func (c *checker) configSource(w *written) string {
	const name = prefix + "_CONFIG_SOURCE"
	app, table := strings.CutPrefix(w.ConfigSource, "table:")
	switch {
	case table && app == "":
		c.setting(name, "names no app", "Write table: and the name of the app, such as table:func-spillway.")
	case table:
		return strings.ToLower(c.pattern(name, app, appPattern))
	case w.ConfigSource != "setting":
		c.setting(name, strconv.Quote(w.ConfigSource)+" is no source of the configuration", `Write "setting", or "table:" and the name of the app.`)
	}
	return ""
}

// checkConfigTable looks for a source without a table.
func (c *checker) checkConfigTable(s *Settings) {
	if s.ConfigApp != "" && s.State.Memory() {
		c.setting(prefix+"_CONFIG_SOURCE", "names a table, and there is no storage account", "Set SPILLWAY_STATE, or leave it out.")
	}
}

// allowed is what a pushed document may name. d is the document of the app setting.
func (c *checker) allowed(list string, d *document.Document) *allowed {
	if list != "" {
		return c.allowList(list)
	}
	a := new(allowed)
	a.allowDocument(d)
	return a
}

// WithDocument is this configuration with a document that was pushed to the table
// instead of that of SPILLWAY_CONFIG. It refers to nothing but what
// SPILLWAY_CONFIG_ALLOW allows, as far as this process knows that. Secrets are checked
// where those of SPILLWAY_CONFIG were. file names the text in faults. The error is of
// type Faults.
func (cfg *Config) WithDocument(file, text string) (*Config, error) {
	next := &Config{Settings: cfg.Settings, secrets: cfg.secrets, allow: cfg.allow}
	c := &checker{}
	d := c.Read(file, []byte(text))
	if d == nil {
		return nil, c.Faults.Err()
	}
	c.Check(d, cfg.Settings.Region)
	if cfg.allow != nil {
		c.checkAllowed(d, cfg.allow)
	}
	if cfg.secrets != nil {
		c.env = cfg.allow.visible(cfg.secrets.all)
		next.Keys = c.checkSecrets(d, &next.Settings)
	}
	c.Faults.Sort()
	if len(c.Faults) > 0 {
		return nil, c.Faults
	}
	next.Warnings = c.Warnings
	next.resolve(d, c.env)
	return next, nil
}

// KnowsAllowed reports whether it is known here what a pushed document may name.
func (cfg *Config) KnowsAllowed() bool { return cfg.allow != nil }

// LoadForConfig reads what the commands need that push configuration: where the
// versions are, and what they may name where this environment tells. Document is that
// of SPILLWAY_CONFIG, nil where this environment does not have it.
func LoadForConfig() (*Config, error) {
	in, err := environment()
	if err != nil {
		return nil, Faults{{Path: "the environment", Problem: err.Error(), Fix: "Correct it."}}
	}
	c := &checker{}
	cfg := &Config{Settings: c.tableSettings(&in)}
	setting := &checker{}
	if d := setting.document(&in); d != nil && len(setting.Faults) == 0 {
		cfg.Document = d
	}
	switch {
	case in.ours.ConfigAllow != "":
		cfg.allow = c.allowList(in.ours.ConfigAllow)
	case cfg.Document != nil:
		cfg.allow = c.allowed("", cfg.Document)
	}
	return cfg, c.Faults.Err()
}
