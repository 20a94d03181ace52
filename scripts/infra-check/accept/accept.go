// Package accept hands the app settings of each example, as both languages emit them, to the program that has to live on them.
package accept

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"spillway/scripts/infra-check/check"
)

// Result is how many sets of settings were accepted, and what was said of the others.
type Result struct {
	Accepted int
	Refused  []string
}

// All runs `spillway validate` for every example in both languages. Two settings that are wrong on purpose have to be refused:
// otherwise an acceptance would mean nothing.
func All(ctx context.Context, binary string, examples []check.Example) (Result, error) {
	var out Result
	for _, e := range examples {
		for _, side := range []struct {
			language string
			settings map[string]string
		}{{"bicep", e.Settings}, {"terraform", e.Terraform}} {
			env := Environment(side.settings)
			if said, ok := validate(ctx, binary, env); !ok {
				out.Refused = append(out.Refused, fmt.Sprintf("%s (%s): %s", e.Name, side.language, said))
				continue
			}
			out.Accepted++
		}
	}
	for _, wrong := range []string{"SPILLWAY_AUTH=banana", `SPILLWAY_CONFIG={"backends":[{"name":"x","endpoint":"ftp://x"}]}`} {
		env := append(Environment(examples[0].Settings), wrong)
		if _, ok := validate(ctx, binary, env); ok {
			return out, fmt.Errorf("%s accepts %s: it validates nothing", binary, wrong)
		}
	}
	return out, nil
}

func validate(ctx context.Context, binary string, env []string) (string, bool) {
	cmd := exec.CommandContext(ctx, binary, "validate")
	cmd.Env = env
	said, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(said)), err == nil
}

// Environment is what the platform gives the program for these app settings: references to results are filled in as Azure
// would, and references to the vault are resolved.
func Environment(settings map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value := settings[name]
		var text string
		if json.Unmarshal([]byte(value), &text) == nil {
			value = text
		}
		out = append(out, name+"="+resolve(name, value))
	}
	return out
}

var reference = regexp.MustCompile(`«([A-Za-z.]+/[^«»]*)/([^«»/.]+)(\.[^«»]*)?»`)

func resolve(name, value string) string {
	if strings.HasPrefix(value, "@Microsoft.KeyVault(") {
		return "what-the-vault-has-for-" + name
	}
	const guid = "22222222-3333-4444-5555-666666666666"
	results := map[string]string{
		".clientId": guid, ".ConnectionString": "InstrumentationKey=" + guid, ".vaultUri": "https://NAME.vault.azure.net/",
		".primaryEndpoints.table": "https://NAME.table.core.windows.net/", ".primaryEndpoints.blob": "https://NAME.blob.core.windows.net/",
		"": "/subscriptions/0/resourceGroups/rg/providers/TYPE/NAME",
	}
	return reference.ReplaceAllStringFunc(value, func(s string) string {
		m := reference.FindStringSubmatch(s)
		return strings.NewReplacer("TYPE", m[1], "NAME", m[2]).Replace(results[m[3]])
	})
}
