package simulator

import (
	"time"
)

// Resource is one simulated Azure OpenAI resource (an account with an
// endpoint, keys and deployments).
type Resource struct {
	Name   string `json:"name"`
	Region string `json:"region"`

	// Keys are the accepted API keys; when there are none any key is accepted.
	Keys []string `json:"keys,omitempty"`

	// Tokens are the accepted Entra tokens; when there are none, any token that
	// looks like a JWT for this audience and is not past its exp is accepted.
	Tokens []string `json:"tokens,omitempty"`

	// Auth changes what credentials are worth; "" is the ordinary resource.
	Auth AuthMode `json:"auth,omitempty"`

	Deployments []Deployment `json:"deployments"`

	// StoreDelay is how long a new response id stays unknown to its own
	// resource (facts/azure-openai.md §1.2: eventual consistency).
	StoreDelay time.Duration `json:"storeDelay,omitempty"`

	// TLS chooses the certificate under StartTLS; "" is a good one.
	TLS TLSMode `json:"tls,omitempty"`
}

// resource is a Resource at work.
type resource struct {
	Resource
	deployments map[string]*deployment
	order       []string
	cache       *promptCache
	store       *store
	objects     *objects
}

func newResource(cfg Resource, now func() time.Time) *resource {
	r := &resource{Resource: cfg, deployments: make(map[string]*deployment, len(cfg.Deployments)), cache: newPromptCache(), store: newStore(), objects: newObjects()}
	for _, d := range cfg.Deployments {
		r.deployments[d.Name] = newDeployment(d, now())
		r.order = append(r.order, d.Name)
	}
	return r
}

func (r *resource) reset(now time.Time) {
	r.cache.reset()
	r.store.reset()
	r.objects.reset()
	for _, d := range r.deployments {
		d.reset(now)
	}
}

// regionName is a region as the x-ms-region header and error texts spell it.
func regionName(region string) string {
	switch region {
	case "uksouth":
		return "UK South"
	case "swedencentral":
		return "Sweden Central"
	case "francecentral":
		return "France Central"
	case "germanywestcentral":
		return "Germany West Central"
	case "westeurope":
		return "West Europe"
	case "northeurope":
		return "North Europe"
	case "eastus":
		return "East US"
	case "eastus2":
		return "East US 2"
	case "westus":
		return "West US"
	case "northcentralus":
		return "North Central US"
	default:
		return region
	}
}
