package check

import (
	"encoding/hex"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"spillway/scripts/infra-check/parity"
)

// operationsRule is what a firewall of an example refuses: patterns, and what is done to an address before they are tried.
type operationsRule struct{ patterns, transforms []string }

// operationsRules are those of a Front Door and of an Application Gateway, as both languages make them.
func operationsRules(t *testing.T) map[string]operationsRule {
	t.Helper()
	out := map[string]operationsRule{}
	for _, example := range []string{"examples/multi-region", "examples/app-gateway"} {
		preview, err := Preview(root, example)
		if err != nil {
			t.Fatal(err)
		}
		planned, err := Planned(root, example)
		if err != nil {
			t.Fatal(err)
		}
		out[example+" (bicep)"] = operationsRuleIn(t, parity.OfBicep(preview.Resources))
		out[example+" (terraform)"] = operationsRuleIn(t, parity.OfTerraform(planned.Resources))
	}
	return out
}

func operationsRuleIn(t *testing.T, inv parity.Inventory) operationsRule {
	t.Helper()
	for subject, facts := range inv {
		if !strings.Contains(subject, "WebApplicationFirewallPolicies ") {
			continue
		}
		var rules [][]any
		if err := json.Unmarshal([]byte(facts["rules"]), &rules); err != nil {
			t.Fatal(err)
		}
		for _, rule := range rules {
			if rule[0] == "operations" && rule[3] == "Block" {
				condition, _ := rule[6].([]any)[0].([]any)
				return operationsRule{texts(condition[2]), texts(condition[3])}
			}
		}
	}
	t.Fatal("no firewall has the rule")
	return operationsRule{}
}

func texts(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, item := range list {
		s, _ := item.(string)
		out = append(out, s)
	}
	return out
}

// refuses tells whether the rule fits an address, in whichever order a firewall transforms it.
func (r operationsRule) refuses(address string) bool {
	backward := slices.Clone(r.transforms)
	slices.Reverse(backward)
	return r.fits(address, r.transforms) && r.fits(address, backward)
}

func (r operationsRule) fits(address string, transforms []string) bool {
	for _, name := range transforms {
		switch name {
		case "Lowercase":
			address = strings.ToLower(address)
		case "UrlDecode":
			address = decoded(address)
		}
	}
	return slices.ContainsFunc(r.patterns, func(pattern string) bool { return regexp.MustCompile(pattern).MatchString(address) })
}

var escape = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

// decoded leaves what is no escape as it is, as servers and firewalls do.
func decoded(address string) string {
	return escape.ReplaceAllStringFunc(address, func(e string) string {
		b, _ := hex.DecodeString(e[1:])
		return string(b)
	})
}

// reaches tells whether an address is one of /ops or /admin to what is behind a firewall: the host decodes the path, all but %2F,
// resolves its dot segments, and ignores case and empty segments; front ends of Windows take a backslash for a slash.
func reaches(address string) bool {
	p, _, _ := strings.Cut(address, "?")
	p = strings.NewReplacer("%2F", "%252F", "%2f", "%252f").Replace(p)
	p = decoded(p)
	first, _, _ := strings.Cut(strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(p, `\`, "/")), "/"), "/")
	return strings.EqualFold(first, "ops") || strings.EqualFold(first, "admin")
}

// No spelling of /ops and /admin gets past a firewall: every path of up to six parts, as it is and behind the name of a host.
func TestFirewallsRefuseOperationsInEverySpelling(t *testing.T) {
	parts := []string{"/", `\`, ".", "..", "%2e", "%2E%2e", "ops", "%4fpS", "AdMin", "%6", "x", "?", "%3f", "%2F", "%5c", "#"}
	rules, tried := operationsRules(t), 0
	var try func(address string, left int)
	try = func(address string, left int) {
		if reaches(address) {
			tried++
			for where, rule := range rules {
				for _, before := range []string{"", "https://spillway-x.azurefd.net", "https://spillway-x.azurefd.net:443"} {
					if !rule.refuses(before + address) {
						t.Fatalf("%s lets %s%s pass", where, before, address)
					}
				}
			}
		}
		if left > 0 {
			for _, part := range parts {
				try(address+part, left-1)
			}
		}
	}
	try("/", 4)
	for _, address := range []string{"/./ops/api/status", "/v1/../ops/", "/openai/%2e%2e/%2E/oPs?x=1", "/a%3f/../ops", "//ops", "/x//..//admin/host/status"} {
		if !reaches(address) {
			t.Errorf("%s was not tried", address)
		}
		try(address, 0)
	}
	if tried < 1000 {
		t.Errorf("only %d paths were tried", tried)
	}
}

// What callers ask for passes, whatever they call their deployments and files.
func TestFirewallsLetCallersPass(t *testing.T) {
	for where, rule := range operationsRules(t) {
		for _, address := range []string{
			"/", "/health/ready", "/v1/models", "/v1/models/ops", "/openai/v1/chat/completions", "/openai/deployments/ops/chat/completions?api-version=2024-10-21",
			"/openai/deployments/admin/embeddings", "/openai/v1/files/admin.jsonl", "/operations", "/administrator", "/v1/x?next=/ops", "/v1/x?next=https://host/admin",
			"/openai/deployments/gpt-4.1/ops", "/v1/models/x../ops",
		} {
			for _, before := range []string{"", "https://spillway-x.azurefd.net", "https://ops.contoso.com"} {
				if rule.refuses(before + address) {
					t.Errorf("%s refuses %s%s", where, before, address)
				}
			}
		}
	}
}
