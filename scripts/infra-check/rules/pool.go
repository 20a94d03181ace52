package rules

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// backend is the part of SPILLWAY_CONFIG that is held against the resources.
type backend struct {
	Name        string          `json:"name"`
	Endpoint    string          `json:"endpoint"`
	Deployments json.RawMessage `json:"deployments"`
	Priority    *int            `json:"priority"` // 1 when it is not written
	Stateful    bool            `json:"stateful"`
	Auth        struct {
		Mode     string `json:"mode"`
		ClientID string `json:"clientId"`
		Setting  string `json:"setting"`
	} `json:"auth"`
}

// pool: the document names only what is there, each backend once, with a credential that exists.
func (c checker) pool() {
	c.each("settings of ", func(site string, settings map[string]string) {
		var doc struct {
			Backends []backend `json:"backends"`
		}
		if err := json.Unmarshal([]byte(settings["SPILLWAY_CONFIG"]), &doc); err != nil {
			c.say("rule-pool", "%s: SPILLWAY_CONFIG cannot be read: %v", site, err)
			return
		}
		if len(doc.Backends) == 0 {
			c.say("rule-pool", "%s: SPILLWAY_CONFIG has no backends", site)
		}
		var names []string
		for _, b := range doc.Backends {
			if slices.Contains(names, b.Name) {
				c.say("rule-pool", "%s: two backends are called %s", site, b.Name)
			}
			names = append(names, b.Name)
			c.backend(site, b, settings)
		}
	})
}

func (c checker) backend(site string, b backend, settings map[string]string) {
	if b.Priority != nil && *b.Priority < 1 {
		c.say("rule-pool", "%s: backend %s has priority %d", site, b.Name, *b.Priority)
	}
	if b.Auth.Mode == "api-key" && settings[b.Auth.Setting] == "" {
		c.say("rule-pool", "%s: backend %s takes its key from %s, which is not set", site, b.Name, b.Auth.Setting)
	}
	if b.Auth.Mode == "managed-identity" && !strings.Contains(b.Auth.ClientID, "clientId") {
		c.say("rule-pool", "%s: backend %s does not name the identity", site, b.Name)
	}
	host := strings.TrimPrefix(b.Endpoint, "https://")
	account, isAzure := strings.CutSuffix(host, ".openai.azure.com")
	if _, made := c.inv["Microsoft.CognitiveServices/accounts "+account]; !isAzure || !made {
		return
	}
	on := "Microsoft.CognitiveServices/accounts/" + account
	if has := c.hasRole(filesRole, on); has != b.Stateful {
		c.say("rule-roles", "backend %s: stateful is %t, and the role for files is given: %t", b.Name, b.Stateful, has)
	}
	var names map[string]string
	if json.Unmarshal(b.Deployments, &names) != nil {
		return
	}
	for model, deployment := range names {
		facts, ok := c.inv["Microsoft.CognitiveServices/accounts/deployments "+account+"/"+deployment]
		switch {
		case !ok:
			c.say("rule-pool", "%s: backend %s names deployment %s, which %s does not have", site, b.Name, deployment, account)
		case facts["model"] != `"`+model+`"`:
			c.say("rule-pool", "%s: backend %s serves %s by a deployment of %s", site, b.Name, model, facts["model"])
		}
	}
}

var storageName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

// names: the limits that Azure finds only when it deploys.
func (c checker) names() {
	limits := map[string]int{
		"Microsoft.KeyVault/vaults ": 24, "Microsoft.Web/serverfarms ": 60, "site ": 59, "Microsoft.CognitiveServices/accounts ": 64,
		"Microsoft.Insights/scheduledQueryRules ": 260, "Microsoft.Cdn/profiles ": 90,
	}
	for kind, limit := range limits {
		c.each(kind, func(name string, _ map[string]string) {
			if len(name) > limit {
				c.say("rule-names", "%s%s has more than %d characters", kind, name, limit)
			}
		})
	}
	c.each("Microsoft.Storage/storageAccounts ", func(name string, _ map[string]string) {
		if !storageName.MatchString(name) {
			c.say("rule-names", "storage account %s: 3 to 24 lower-case letters and digits", name)
		}
	})
	c.each("subnet ", func(name string, _ map[string]string) {
		if strings.Contains(name, "_") {
			c.say("rule-names", "subnet %s: Flex Consumption accepts no underscore", name)
		}
	})
	c.each("Microsoft.Resources/resourceGroups ", func(name string, facts map[string]string) {
		if !strings.Contains(facts["tags"], `"azd-env-name"`) {
			c.say("rule-names", "resource group %s has no tag azd-env-name: scripts/destroy.sh would not find it", name)
		}
	})
	c.each("site ", func(name string, facts map[string]string) {
		if !strings.Contains(facts["tags"], `"azd-service-name":"spillway"`) {
			c.say("rule-names", "%s has no tag azd-service-name", name)
		}
	})
}
