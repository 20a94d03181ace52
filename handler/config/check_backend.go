package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"spillway/handler/config/strict"
)

func quoted(text string) string { return strconv.Quote(text) }

// checkBackend looks at one backend alone.
func (c *checker) checkBackend(at string, b *Backend) {
	if _, problem, fix := endpoint(b.Endpoint, b.Kind); problem != "" {
		c.fault(strict.Join(at, "endpoint"), problem, fix)
	} else if b.Kind == "openai" {
		c.checkBase(at, b)
	}
	c.checkAuth(at, b)
	c.checkDeployments(strict.Join(at, "deployments"), b)
	c.checkRegions(strict.Join(at, "priorityIn"), b)
}

// checkBase looks for a base URL without the /v1 that nearly all have.
func (c *checker) checkBase(at string, b *Backend) {
	if u, _, _ := endpoint(b.Endpoint, b.Kind); u.Path == "" {
		c.warn(strict.Join(at, "endpoint"), "has no path: chat completions will be asked for at "+b.Endpoint+"/chat/completions", "Add /v1 unless the service wants it this way.")
	}
}

// checkAuth looks for modes and settings that do not go together.
func (c *checker) checkAuth(at string, b *Backend) {
	at = strict.Join(at, "auth")
	mode, setting, client := strict.Join(at, "mode"), strict.Join(at, "setting"), strict.Join(at, "clientId")
	switch {
	case b.Auth.Mode == "api-key" && b.Auth.Setting == "":
		c.fault(setting, "is missing: mode api-key needs a key", `Add "setting": the name of the app setting that holds it, for example "AOAI_KEY".`)
	case b.Auth.Mode != "api-key" && b.Auth.Setting != "":
		c.fault(setting, "is only read with mode api-key, and the mode is "+b.Auth.Mode, `Write "mode": "api-key", or remove "setting".`)
	case b.Auth.Mode != "managed-identity" && b.Auth.ClientID != "":
		c.fault(client, "is only read with mode managed-identity, and the mode is "+b.Auth.Mode, `Write "mode": "managed-identity", or remove "clientId".`)
	}
	if b.Kind != "openai" {
		return
	}
	switch b.Auth.Mode {
	case "managed-identity":
		c.fault(mode, "is managed-identity (the default), which a backend of kind openai does not know", `Write "auth": {"mode": "api-key", "setting": "NAME_OF_AN_APP_SETTING"}, or {"mode": "none"}.`)
	case "pass-through":
		c.fault(mode, "would hand the callers' own Entra tokens to a service that is not Azure OpenAI", "Use api-key or none.")
	}
}

func (c *checker) checkDeployments(at string, b *Backend) {
	if b.Deployments != nil && len(b.Deployments) == 0 {
		c.fault(at, "is empty, so the backend serves nothing", "Name at least one model, or remove deployments to serve any.")
	}
	seen := map[string]bool{}
	for i, pair := range b.Deployments {
		item := strict.Join(at, pair.Name)
		if c.wrote(strict.Index(at, i)) {
			item = strict.Index(at, i)
		}
		switch {
		case seen[pair.Name]:
			c.fault(item, quoted(pair.Name)+" is named twice", "Keep one of the two.")
		case pair.Value == Any && pair.Name != Any:
			c.fault(item, `has "*" for a deployment, which only means something for the model "*"`, fmt.Sprintf("Write the deployment's name, perhaps %q.", pair.Name))
		}
		seen[pair.Name] = true
	}
}

// checkRegions looks for one region in two spellings.
func (c *checker) checkRegions(at string, b *Backend) {
	seen := map[string]string{}
	for _, region := range slices.Sorted(maps.Keys(b.PriorityIn)) {
		plain := plainRegion(region)
		switch first, again := seen[plain]; {
		case plain == "":
			c.fault(strict.Join(at, region), "names no region", `Write a region such as "westeurope".`)
		case again:
			c.fault(strict.Join(at, region), "is the same region as "+quoted(first), "Keep one of the two.")
		}
		seen[plain] = region
	}
}
