package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/parity"
)

const modelFile = "infra/models.json"

// Models is infra/models.json: what a new subscription may deploy, where, and until when.
type Models struct {
	Models map[string]struct {
		Version string                    `json:"version"`
		Retires string                    `json:"retires"`
		SKUs    map[string]map[string]int `json:"skus"`
	} `json:"models"`
}

// ReadModels reads infra/models.json below root.
func ReadModels(root string) (Models, error) {
	var table Models
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(modelFile))) //nolint:gosec // a file of the tree that is checked
	if err != nil {
		return table, fmt.Errorf("read models: %w", err)
	}
	if err := json.Unmarshal(b, &table); err != nil {
		return table, fmt.Errorf("read %s: %w", modelFile, err)
	}
	return table, nil
}

// Retiring lists the models that retire before a time, the first one first.
func (m Models) Retiring(before time.Time) []string {
	var out []string
	for name, model := range m.Models {
		day, err := time.Parse(time.DateOnly, model.Retires)
		if err != nil || day.Before(before) {
			out = append(out, fmt.Sprintf("%s: %s %s retires", model.Retires, name, model.Version))
		}
	}
	slices.Sort(out)
	return out
}

// Deployed checks that an example deploys only what the table lists: model, version and, but for the corner cases, sku and region.
func (m Models) Deployed(example string, inv parity.Inventory, out *finding.List) {
	c := checker{example: example, inv: inv, out: out}
	c.each(deployments+" ", func(name string, facts map[string]string) {
		account, _, _ := strings.Cut(name, "/")
		region := unquote(inv["Microsoft.CognitiveServices/accounts "+account]["location"])
		if strings.HasPrefix(example, "tests/") {
			region = ""
		}
		if fault := m.fault(unquote(facts["model"]), unquote(facts["version"]), unquote(facts["sku"]), region); fault != "" {
			c.say("rule-models", "%s: %s", name, fault)
		}
	})
}

// fault is what is wrong with a deployment, or empty. An empty region fits everywhere.
func (m Models) fault(model, version, sku, region string) string {
	entry, ok := m.Models[model]
	switch {
	case !ok:
		return model + " is not in " + modelFile
	case entry.Version != version:
		return fmt.Sprintf("%s %s: %s has version %s", model, version, modelFile, entry.Version)
	case region != "" && entry.SKUs[sku][region] == 0:
		return fmt.Sprintf("%s does not list %s as %s in %s", modelFile, model, sku, region)
	}
	return ""
}

func unquote(fact string) string { return strings.Trim(fact, `"`) }

// models: known skus and regions, positive capacities, dates that can be read; azd's parameters deploy only what is listed.
func (t tree) models() {
	var table Models
	var regions map[string]struct{ Geography, Zone string }
	if !t.decode(modelFile, &table) || !t.decode("infra/regions.json", &regions) {
		return
	}
	skus := []string{"Standard", "GlobalStandard", "DataZoneStandard", "ProvisionedManaged", "GlobalProvisionedManaged", "DataZoneProvisionedManaged"}
	for model, entry := range table.Models {
		if _, err := time.Parse(time.DateOnly, entry.Retires); err != nil {
			t.out.Add("rule-files", modelFile, "%s: retires is not a date: %v", model, err)
		}
		for sku, byRegion := range entry.SKUs {
			if !slices.Contains(skus, sku) {
				t.out.Add("rule-files", modelFile, "%s: there is no sku %s", model, sku)
			}
			for _, region := range slices.Sorted(maps.Keys(byRegion)) {
				switch {
				case regions[region].Geography == "":
					t.out.Add("rule-files", modelFile, "%s: region %s is not in regions.json", model, region)
				case byRegion[region] < 1:
					t.out.Add("rule-files", modelFile, "%s in %s: capacity %d", model, region, byRegion[region])
				case strings.HasPrefix(sku, "DataZone") && regions[region].Zone == "":
					t.out.Add("rule-files", modelFile, "%s: %s has no data zone", model, region)
				}
			}
		}
	}
	t.azdModels(table)
}

func (t tree) azdModels(table Models) {
	var file struct {
		Parameters struct {
			Accounts struct {
				Value map[string]struct {
					Location    string `json:"location"`
					Deployments []struct {
						Name, Model, Version, SKU string
					} `json:"deployments"`
				} `json:"value"`
			} `json:"accounts"`
		} `json:"parameters"`
	}
	const name = "infra/bicep/main.parameters.json"
	if !t.decode(name, &file) {
		return
	}
	for key, account := range file.Parameters.Accounts.Value {
		for _, d := range account.Deployments {
			if fault := table.fault(d.Model, d.Version, d.SKU, account.Location); fault != "" {
				t.out.Add("rule-models", name, "%s/%s: %s", key, d.Name, fault)
			}
		}
	}
}
