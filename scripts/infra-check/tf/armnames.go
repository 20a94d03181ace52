package tf

import (
	"strings"

	"spillway/scripts/infra-check/plan"
)

// nameOf is the name in ARM, with the parents' names before it.
func nameOf(kindName string, values map[string]any) string {
	name, _ := values["name"].(string)
	k := plan.Kinds()[kindName]
	switch parent, _ := values[k.Parent].(string); {
	case kindName == "azurerm_subnet":
		network, _ := values["virtual_network_name"].(string)
		return network + "/" + name
	case k.Parent != "" && strings.HasPrefix(parent, "«"):
		return plan.NamesOf(parent) + k.Between + name
	case k.Parent != "":
		return parent + k.Between + name
	case kindName == "azapi_resource":
		parent, _ := values["parent_id"].(string)
		return plan.NamesOf(parent) + "/" + name
	}
	return name
}

// reference is how a result reads: «Microsoft.Web/sites/name.properties.defaultHostName».
func reference(kindName, name, result string) string {
	return plan.Reference(kindName, name, result)
}
