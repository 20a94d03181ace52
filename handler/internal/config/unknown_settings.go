package config

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"spillway/handler/internal/config/jsondoc"

	"github.com/kelseyhightower/envconfig"
)

// settingNames are the names of all process settings of ours.
func settingNames() []string {
	var out bytes.Buffer
	if err := envconfig.Usagef(prefix, new(written), &out, "{{range .}}{{.Key}} {{end}}"); err != nil {
		panic("config: " + err.Error())
	}
	return strings.Fields(out.String())
}

// unknownSettings looks for settings of ours that do not exist. One that is nearly
// right is a fault: it was meant to do something. The rest is a warning.
// Names that the pool document refers to are its own affair.
func (c *checker) unknownSettings(in *inputs, referred []string) {
	known := settingNames()
	short := make([]string, len(known))
	for i, name := range known {
		short[i] = strings.TrimPrefix(name, prefix+"_")
	}
	for _, name := range slices.Sorted(maps.Keys(in.all)) {
		rest, ours := strings.CutPrefix(name, prefix+"_")
		if !ours || slices.Contains(known, name) || strings.Contains(rest, "__") || slices.Contains(referred, name) {
			continue
		}
		if near := jsondoc.Nearest(rest, short); near != "" {
			c.setting(name, "is no setting of Spillway", "Did you mean "+prefix+"_"+near+"?")
			continue
		}
		c.settingWarning(name, "is no setting of Spillway and is ignored", "Remove it.")
	}
}
