// Package rules holds what this product promises beyond well-formed templates: no keys, narrow roles, serial deployments,
// nothing that the hosting plan forbids.
package rules

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"spillway/scripts/infra-check/finding"
	"spillway/scripts/infra-check/parity"
)

// Facts holds one language's inventory of one example against the rules.
func Facts(example string, inv parity.Inventory, out *finding.List) {
	c := checker{example: example, inv: inv, out: out}
	c.want("rule-security", "Microsoft.Storage/storageAccounts ", map[string]string{
		"shared keys": "false", "public blobs": "false", "tls": `"TLS1_2"`, "https only": "true", "cross tenant": "false",
		"Entra by default": "true", "network bypass": `"None"`,
	})
	c.want("rule-security", "Microsoft.OperationalInsights/workspaces ", map[string]string{"keys refused": "true"})
	c.want("rule-security", "Microsoft.Insights/components ", map[string]string{"keys refused": "true"})
	c.want("rule-security", "Microsoft.KeyVault/vaults ", map[string]string{"rbac": "true"})
	c.want("rule-security", "Microsoft.Storage/storageAccounts/blobServices/containers ", map[string]string{"public": "false"})
	c.want("rule-security", "site ", map[string]string{
		"https only": "true", "tls": `"1.2"`, "scm tls": `"1.2"`, "scm publishing by password": "false", "ftp publishing by password": "false",
	})
	c.accounts()
	c.roles()
	c.sites()
	c.isolation()
	c.frontDoor()
	c.gateway()
	c.zones()
	c.alerts()
	c.names()
	c.pool()
}

type checker struct {
	example string
	inv     parity.Inventory
	out     *finding.List
}

func (c checker) say(check, format string, args ...any) {
	c.out.Add(check, c.example, format, args...)
}

// each calls do for every subject of a kind, in order, with the name alone.
func (c checker) each(kind string, do func(name string, facts map[string]string)) {
	for _, subject := range slices.Sorted(maps.Keys(c.inv)) {
		if name, ok := strings.CutPrefix(subject, kind); ok && !strings.Contains(strings.TrimSuffix(kind, " "), " of ") {
			do(name, c.inv[subject])
		}
	}
}

func (c checker) want(check, kind string, facts map[string]string) {
	c.each(kind, func(name string, have map[string]string) {
		for _, fact := range slices.Sorted(maps.Keys(facts)) {
			if have[fact] != facts[fact] {
				c.say(check, "%s%s: %s is %s, must be %s", kind, name, fact, orAbsent(have[fact]), facts[fact])
			}
		}
	})
}

func orAbsent(s string) string {
	if s == "" {
		return "absent"
	}
	return s
}

// accounts: keys are off unless the account's key was asked for and lies in the vault.
func (c checker) accounts() {
	c.each("Microsoft.CognitiveServices/accounts ", func(name string, facts map[string]string) {
		key := strings.TrimSuffix(strings.TrimPrefix(name, "aoai-"), "-tokentokentok")
		if facts["keys refused"] != "true" && !c.has("secret ", "/aoai-key-"+key) {
			c.say("rule-security", "account %s accepts keys and nothing uses one", name)
		}
		if facts["subdomain"] != `"`+name+`"` {
			c.say("rule-security", "account %s needs its name as subdomain: Entra tokens and private endpoints want one", name)
		}
	})
}

func (c checker) has(kind, part string) bool {
	found := false
	c.each(kind, func(name string, _ map[string]string) { found = found || strings.Contains(name, part) })
	return found
}

// narrow is which role may be given on which type, by guid.
func narrow() map[string]string {
	return map[string]string{
		"b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Microsoft.Storage/storageAccounts",                         // Storage Blob Data Owner
		"ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Microsoft.Storage/storageAccounts/blobServices/containers", // Storage Blob Data Contributor
		"0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Microsoft.Storage/storageAccounts",                         // Storage Table Data Contributor
		"5e0bd9bd-7b93-4f28-af87-19fc36ad61bd": "Microsoft.CognitiveServices/accounts",                      // Cognitive Services OpenAI User
		filesRole:                              "Microsoft.CognitiveServices/accounts",                      // Cognitive Services OpenAI Contributor
		"3913510d-42f4-4e42-8a64-420c390055eb": "Microsoft.Insights/components",                             // Monitoring Metrics Publisher
		"4633458b-17de-408a-b874-0445c86b69e6": "Microsoft.KeyVault/vaults",                                 // Key Vault Secrets User
	}
}

var rolePattern = regexp.MustCompile(`^([0-9a-f-]+) for («?[^»]*»?) on «([^»]*)»$`)

// roles: each known, on the type it is for, and the identity has all it needs.
func (c checker) roles() {
	c.each("role ", func(name string, facts map[string]string) {
		m := rolePattern.FindStringSubmatch(name)
		if m == nil {
			c.say("rule-roles", "role %s is not on a resource", name)
			return
		}
		want, known := narrow()[m[1]]
		if !known {
			c.say("rule-roles", "role %s is not one that Spillway needs", m[1])
			return
		}
		if on := typeOf(m[3]); on != want {
			c.say("rule-roles", "role %s is given on a %s, must be on a %s", m[1], on, want)
		}
		if strings.Contains(m[2], "userAssignedIdentities") && facts["principal type"] != `"ServicePrincipal"` {
			c.say("rule-roles", "role %s: without principalType ServicePrincipal a new identity is often not found", m[1])
		}
	})
	c.each("Microsoft.CognitiveServices/accounts ", func(name string, _ map[string]string) {
		c.needRole("5e0bd9bd-7b93-4f28-af87-19fc36ad61bd", "Microsoft.CognitiveServices/accounts/"+name)
	})
	c.each("Microsoft.Insights/components ", func(name string, _ map[string]string) {
		c.needRole("3913510d-42f4-4e42-8a64-420c390055eb", "Microsoft.Insights/components/"+name)
	})
	c.each("Microsoft.KeyVault/vaults ", func(name string, _ map[string]string) {
		c.needRole("4633458b-17de-408a-b874-0445c86b69e6", "Microsoft.KeyVault/vaults/"+name)
	})
	c.each("Microsoft.Storage/storageAccounts ", func(name string, _ map[string]string) {
		role := "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
		if strings.HasSuffix(name, "state") {
			role = "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"
		}
		c.needRole(role, "Microsoft.Storage/storageAccounts/"+name)
	})
}

// filesRole is Cognitive Services OpenAI Contributor: files and batches need it, so only accounts that are stateful have it.
const filesRole = "a001fd3d-188f-4b5d-821b-7da978bf7442"

func (c checker) hasRole(role, on string) bool {
	identity := "«Microsoft.ManagedIdentity/userAssignedIdentities/id-tokentokentok.principalId»"
	_, ok := c.inv["role "+role+" for "+identity+" on «"+on+"»"]
	return ok
}

func (c checker) needRole(role, on string) {
	if !c.hasRole(role, on) {
		c.say("rule-roles", "the identity has no role %s on %s", role, on)
	}
}

// typeOf takes the type out of Microsoft.Web/sites/name: every other segment.
func typeOf(id string) string {
	segments := strings.Split(id, "/")
	out := segments[0]
	for i := 1; i < len(segments); i += 2 {
		out += "/" + segments[i]
	}
	return out
}
