package config

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/usage"
)

// loaded is the configuration of env with the document, or the test ends.
func loaded(t *testing.T, env map[string]string, text string) *Config {
	t.Helper()
	cfg, err := load(in(t, setting(env, text)))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// members is a pool as text: one word a backend, in order.
func members(p *balancer.Pool) string {
	var words []string
	for _, b := range p.Backends {
		words = append(words, fmt.Sprintf("%s=%s@%d#%d", b.Name, b.Deployment, b.Priority, b.Slot))
	}
	return p.Model + ": " + strings.Join(words, " ")
}

func pools(cfg *Config) []string {
	var lines []string
	for i := range cfg.Pools {
		lines = append(lines, members(&cfg.Pools[i]))
	}
	return lines
}

func TestPoolsFollowTheDocument(t *testing.T) {
	cfg := loaded(t, map[string]string{"TEAM_A_KEY": "0123456789abcdef0123", "AOAI_KEY_SWEDEN": "fedcba9876543210"}, "@document/testdata/valid/contract.json")
	want := []string{
		"gpt-4o: ptu-uksouth=gpt-4o-ptu@1#0 payg-sweden=gpt-4o@2#1",
		"gpt-4o-mini: payg-sweden=gpt-4o-mini@2#2",
		"text-embedding-3-large: payg-sweden=text-embedding-3-large@2#3",
	}
	if diff := cmp.Diff(want, pools(cfg)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ptu-uksouth/gpt-4o", "payg-sweden/gpt-4o", "payg-sweden/gpt-4o-mini", "payg-sweden/text-embedding-3-large"}, cfg.Slots); diff != "" {
		t.Error(diff)
	}
	first := cfg.Pools[0]
	if !first.Backends[0].Provisioned || first.Backends[1].Provisioned || first.Backends[1].Weight != 3 || first.Price.CachedInput != 1.25 {
		t.Errorf("got %+v", first)
	}
}

func TestPoolByNameAliasOrWildcard(t *testing.T) {
	cfg := loaded(t, open, `{"backends": [
		{"name": "a", "endpoint": "https://a.openai.azure.com", "deployments": ["gpt-4o"]},
		{"name": "b", "endpoint": "https://b.openai.azure.com"}],
		"models": {"gpt-4o": {"aliases": ["gpt-4"]}}}`)
	for name, want := range map[string]string{
		"gpt-4o": "gpt-4o: a=gpt-4o@1#0 b=gpt-4o@1#1",
		"gpt-4":  "gpt-4o: a=gpt-4o@1#0 b=gpt-4o@1#1",
		"o9":     "*: b=@1#2",
		"*":      "*: b=@1#2",
	} {
		p, ok := cfg.Pool(name)
		if !ok || members(p) != want {
			t.Errorf("%s: got %v, want %v", name, members(p), want)
		}
	}
}

func TestUnknownModelWithoutWildcard(t *testing.T) {
	cfg := loaded(t, open, two(``))
	for _, name := range []string{"o9", "*", ""} {
		if p, ok := cfg.Pool(name); ok {
			t.Errorf("%q is served by %v", name, members(p))
		}
		if line := cfg.CandidatePools(name); line != nil {
			t.Errorf("%q has the line %v", name, line)
		}
	}
}

func TestExactNameBeforeWildcard(t *testing.T) {
	cfg := loaded(t, open, `{"backends": [
		{"name": "a", "endpoint": "https://a.openai.azure.com", "deployments": {"*": "small", "gpt-4o": "large"}},
		{"name": "b", "endpoint": "https://b.openai.azure.com", "deployments": ["*"]}]}`)
	want := []string{"gpt-4o: a=large@1#0 b=gpt-4o@1#2", "*: a=small@1#1 b=@1#3"}
	if diff := cmp.Diff(want, pools(cfg)); diff != "" {
		t.Error(diff)
	}
}

func TestPriorityInRegion(t *testing.T) {
	text := `{"backends": [
		{"name": "a", "endpoint": "https://a.openai.azure.com", "priority": 1, "priorityIn": {"West Europe": 5, "eastus2": 0}},
		{"name": "b", "endpoint": "https://b.openai.azure.com", "priority": 2}]}`
	for region, want := range map[string]int{"": 1, "westeurope": 5, "West Europe": 5, "East US 2": 0, "uksouth": 1} {
		cfg := loaded(t, map[string]string{"SPILLWAY_AUTH": "none", "REGION_NAME": region}, text)
		if got := cfg.Pools[0].Backends[0].Priority; got != want {
			t.Errorf("in %q: got priority %d, want %d", region, got, want)
		}
		if got := cfg.Pools[0].Backends[1].Priority; got != 2 {
			t.Errorf("in %q: got priority %d for the other, want 2", region, got)
		}
	}
}

func TestFallbacksAreResolved(t *testing.T) {
	cfg := loaded(t, open, two(`, "models": {"gpt-4o": {"fallbacks": ["mini"]}, "gpt-4o-mini": {"aliases": ["mini"]}}`))
	var names []string
	for _, p := range cfg.CandidatePools("gpt-4o") {
		names = append(names, p.Model)
	}
	if diff := cmp.Diff([]string{"gpt-4o", "gpt-4o-mini"}, names); diff != "" {
		t.Error(diff)
	}
	if line := cfg.CandidatePools("mini"); len(line) != 1 || line[0].Model != "gpt-4o-mini" {
		t.Errorf("got %v", line)
	}
}

func TestModelsAreResolved(t *testing.T) {
	cfg := loaded(t, open, two(`, "models": {"gpt-4o": {"strategy": "lowest-latency", "latencySensitivity": "50ms", "affinity": "none",
		"firstTokenTimeout": "20s", "hedge": {"after": "p99.5", "maxPercent": 2}, "price": {"currency": "EUR", "input": 1, "output": 2}},
		"gpt-4o-mini": {"strategy": "least-busy", "hedge": {"after": "800ms"}}}`))
	large, small := cfg.Pools[0], cfg.Pools[1]
	if large.Strategy != balancer.LowestLatency || large.LatencySensitivity != 50*time.Millisecond || large.Affinity != balancer.NoAffinity ||
		large.FirstToken != 20*time.Second || large.Hedge != (balancer.Hedge{Percentile: 0.995, MaxPercent: 2}) || large.Price.Currency != "EUR" {
		t.Errorf("got %+v", large)
	}
	if small.Strategy != balancer.LeastBusy || small.Affinity != balancer.PromptCache || small.Hedge != (balancer.Hedge{After: 800 * time.Millisecond, MaxPercent: 5}) || small.FirstToken != 0 {
		t.Errorf("got %+v", small)
	}
}

func TestPricesAreResolved(t *testing.T) {
	cfg := loaded(t, open, `{"backends": [
		{"name": "ptu", "endpoint": "https://a.openai.azure.com", "deployments": ["gpt-4o"], "prices": {"gpt-4": {"input": 0.1}}},
		{"name": "payg", "endpoint": "https://b.openai.azure.com", "deployments": ["gpt-4o"]}],
		"models": {"gpt-4o": {"aliases": ["gpt-4"], "maxOutputTokens": 5000, "price": {"input": 2.5, "cacheWrite": 3, "output": 10, "image": 0.04,
			"tiers": {"priority": {"input": 4.25, "output": 17}}}}}}`)
	p := &cfg.Pools[0]
	want := usage.Price{Currency: "USD", Input: 2.5, CacheWrite: 3, Output: 10, Image: 0.04, Tiers: map[string]usage.Price{"priority": {Input: 4.25, Output: 17, Image: 0.04}}}
	if diff := cmp.Diff(want, p.Price); diff != "" || p.MaxOutputTokens != 5000 {
		t.Errorf("largest answer %d, price (-want +got):\n%s", p.MaxOutputTokens, diff)
	}
	if got := p.PriceAt(&p.Backends[0]); got.Input != 0.1 || got.Output != 0 {
		t.Errorf("at the backend with a price of its own: %+v", got)
	}
	if got := p.PriceAt(&p.Backends[1]); got != &p.Price {
		t.Errorf("at the other: %+v", got)
	}
	var out strings.Builder
	if err := cfg.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"USD prompt 2.5, cache writes 3, completion 10, each image 0.04, at tier priority: prompt 4.25, completion 17", "weight 1, USD prompt 0.1"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is not printed in\n%s", text, out.String())
		}
	}
}

func TestResourceCredentials(t *testing.T) {
	cfg := loaded(t, map[string]string{"SPILLWAY_AUTH": "none", "K": "fedcba9876543210", "AZURE_CLIENT_ID": "aaaaaaaa-2222-3333-4444-555555555555"}, `{"backends": [
		{"name": "a", "endpoint": "https://a.openai.azure.com/"},
		{"name": "b", "endpoint": "https://b.openai.azure.com", "auth": {"clientId": "11111111-2222-3333-4444-555555555555"}, "http2": true},
		{"name": "c", "endpoint": "https://c.contoso.com/v1/", "kind": "openai", "auth": {"mode": "api-key", "setting": "K"}},
		{"name": "d", "endpoint": "https://d.contoso.com/x", "auth": {"mode": "pass-through"}},
		{"name": "e", "endpoint": "http://localhost:9/v1", "kind": "openai", "auth": {"mode": "none"}}]}`)
	type line struct {
		Endpoint, ClientID, Key string
		Kind                    Kind
		Mode                    Mode
	}
	var got []line
	for i, r := range cfg.Resources {
		got = append(got, line{r.Endpoint.String(), r.ClientID, r.Key.Reveal(), r.Kind, r.Mode})
		if cfg.Pools[0].Backends[i].Index != i {
			t.Errorf("backend %d points to resource %d", i, cfg.Pools[0].Backends[i].Index)
		}
	}
	want := []line{
		{"https://a.openai.azure.com", "aaaaaaaa-2222-3333-4444-555555555555", "", AzureOpenAI, ManagedIdentity},
		{"https://b.openai.azure.com", "11111111-2222-3333-4444-555555555555", "", AzureOpenAI, ManagedIdentity},
		{"https://c.contoso.com/v1", "", "fedcba9876543210", OpenAI, APIKey},
		{"https://d.contoso.com/x", "", "", AzureOpenAI, PassThrough},
		{"http://localhost:9/v1", "", "", OpenAI, NoAuth},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !cfg.Resources[1].HTTP2 || cfg.Resources[0].HTTP2 || !cfg.Pools[0].Backends[2].OpenAI {
		t.Errorf("got %+v", cfg.Resources)
	}
}

func TestConsumersAreResolved(t *testing.T) {
	env := map[string]string{"A": "0123456789abcdef0", "B": "0123456789abcdef1"}
	cfg := loaded(t, env, two(`, "models": {"gpt-4o": {"aliases": ["gpt-4"], "price": {"input": 1}}, "gpt-4o-mini": {"price": {"input": 1}}}, "consumers": [
		{"name": "a", "keySettings": ["A", "B"], "models": ["gpt-4", "gpt-4o"], "geographies": ["eu", "us"], "minPriority": 1, "maxRequestTokens": 2, "concurrency": 3,
		 "tokensPerMinute": 4, "requestsPerMinute": 5, "tokensPerMonth": 6, "budgetPerMonth": 7.5, "class": "batch", "transcripts": true, "allowUnmetered": true,
		 "perModel": {"gpt-4": {"tokensPerMinute": 8, "requestsPerMinute": 9, "tokensPerMonth": 10, "budgetPerMonth": 11}},
		 "perCaller": {"tokensPerMinute": 12, "budgetPerMonth": 13}, "warnAt": [90],
		 "entra": {"appId": "AAAAAAAA-2222-3333-4444-555555555555", "role": "r"}}]`))
	want := consumer.Consumer{
		Name: "a", Models: []string{"gpt-4o"}, Geographies: []string{"eu", "us"}, MinPriority: 1, MaxRequestTokens: 2, Concurrency: 3,
		TokensPerMinute: 4, RequestsPerMinute: 5, TokensPerMonth: 6, BudgetPerMonth: 7.5, Class: consumer.Batch, Transcripts: true, AllowUnmetered: true,
		PerModel:  map[string]consumer.Limits{"gpt-4o": {TokensPerMinute: 8, RequestsPerMinute: 9, TokensPerMonth: 10, BudgetPerMonth: 11}},
		PerCaller: &consumer.CallerLimits{MaxActive: 1000, Limits: consumer.Limits{TokensPerMinute: 12, BudgetPerMonth: 13}}, WarnAt: []float64{90},
	}
	if diff := cmp.Diff(want, cfg.Consumers[0]); diff != "" {
		t.Error(diff)
	}
	if len(cfg.Keys) != 2 || cfg.Keys[0].Value.Reveal() != env["A"] || cfg.Keys[1].Setting != "B" || cfg.Keys[1].Consumer != 0 {
		t.Errorf("got %+v", cfg.Keys)
	}
	if diff := cmp.Diff([]Identity{{AppID: "aaaaaaaa-2222-3333-4444-555555555555", Role: "r"}}, cfg.Entra); diff != "" {
		t.Error(diff)
	}
}

func TestPolicyDefaults(t *testing.T) {
	cfg := loaded(t, open, one(``))
	breaker := health.BreakerPolicy{Failures: 5, Interval: 10 * time.Second, Percentage: 50, TripDuration: 10 * time.Second, MaxTripDuration: 5 * time.Minute}
	if diff := cmp.Diff([]health.BreakerPolicy{breaker}, cfg.Breakers); diff != "" {
		t.Error(diff)
	}
	throttle := health.ThrottlePolicy{DefaultWait: 10 * time.Second, MaxWait: 5 * time.Minute}
	if diff := cmp.Diff([]health.ThrottlePolicy{throttle}, cfg.Throttles); diff != "" {
		t.Error(diff)
	}
	if r := cfg.Resources[0]; r.IgnoreWaits || r.Throttle != throttle {
		t.Errorf("got %+v", r)
	}
}

func TestBackendPoliciesOverrideThePools(t *testing.T) {
	cfg := loaded(t, open, `{"circuitBreaker": {"failures": 7, "tripDuration": "20s"}, "throttle": {"maxWait": "2m", "acceptRetryAfter": false, "leaveAt": {"utilization": 90}}, "backends": [
		{"name": "a", "endpoint": "https://a.openai.azure.com", "deployments": ["m", "n"], "circuitBreaker": {"failures": 2, "percentage": 20, "interval": "1m", "maxTripDuration": "24h"},
		 "throttle": {"acceptRetryAfter": true, "defaultWait": "1s", "leaveAt": {"enabled": false}}},
		{"name": "b", "endpoint": "https://b.openai.azure.com", "deployments": ["m"], "throttle": {"maxWait": "1m"}}]}`)
	own := health.BreakerPolicy{Failures: 2, Interval: time.Minute, Percentage: 20, TripDuration: 20 * time.Second, MaxTripDuration: 24 * time.Hour}
	pools := health.BreakerPolicy{Failures: 7, Interval: 10 * time.Second, Percentage: 50, TripDuration: 20 * time.Second, MaxTripDuration: 5 * time.Minute}
	if diff := cmp.Diff([]health.BreakerPolicy{own, own, pools}, cfg.Breakers); diff != "" {
		t.Error(diff)
	}
	first := health.ThrottlePolicy{DefaultWait: time.Second, MaxWait: 2 * time.Minute}
	second := health.ThrottlePolicy{DefaultWait: 10 * time.Second, MaxWait: time.Minute, LeaveAt: health.LeaveAt{Utilization: 90, RemainingTokens: 0.02}}
	if diff := cmp.Diff([]health.ThrottlePolicy{first, first, second}, cfg.Throttles); diff != "" {
		t.Error(diff)
	}
	if cfg.Resources[0].IgnoreWaits || !cfg.Resources[1].IgnoreWaits || cfg.Resources[1].Throttle != second {
		t.Errorf("got %+v", cfg.Resources)
	}
	if cfg.Slots[2] != "b/m" {
		t.Errorf("slots are %v", cfg.Slots)
	}
}

func TestLeaveAtCanBeDisabled(t *testing.T) {
	on := loaded(t, open, two(`, "throttle": {"leaveAt": {"utilization": 90}}`)).Throttle.LeaveAt
	if on.Utilization != 90 || on.RemainingTokens != 0.02 {
		t.Errorf("got %+v", on)
	}
	off := loaded(t, open, two(`, "throttle": {"leaveAt": {"enabled": false, "utilization": 90}}`)).Throttle.LeaveAt
	if off != (health.LeaveAt{}) {
		t.Errorf("got %+v", off)
	}
}

func TestIdentityIsTheDeploymentNotTheName(t *testing.T) {
	cfg := loaded(t, open, `{"backends": [
		{"name": "a", "endpoint": "HTTPS://Contoso.OpenAI.azure.com:443/", "deployments": {"gpt-4o": "GPT-4o-PTU"}},
		{"name": "b", "endpoint": "https://gateway.contoso.com/Base/", "deployments": ["gpt-4o"]},
		{"name": "c", "endpoint": "http://127.0.0.1:80"},
		{"name": "d", "endpoint": "http://127.0.0.1"}]}`)
	want := []string{
		"https://contoso.openai.azure.com GPT-4o-PTU gpt-4o",
		"https://gateway.contoso.com/Base gpt-4o gpt-4o",
		"http://127.0.0.1 gpt-4o gpt-4o", "http://127.0.0.1  *",
		"http://127.0.0.1 gpt-4o gpt-4o d/gpt-4o", "http://127.0.0.1  * d/*",
	}
	if diff := cmp.Diff(want, cfg.Identities); diff != "" {
		t.Error(diff)
	}
}

func TestAttemptsOfAModel(t *testing.T) {
	cfg := loaded(t, open, two(`, "models": {"gpt-4o": {"attempts": 2}}`))
	for _, p := range cfg.Pools {
		if want := map[string]int{"gpt-4o": 2}[p.Model]; p.Attempts != want {
			t.Errorf("%s has %d attempts, want %d", p.Model, p.Attempts, want)
		}
	}
}

func TestResolutionIsDeterministic(t *testing.T) {
	text := string(read(t, "document/testdata/valid/most.json"))
	env := map[string]string{"SPILLWAY_AUTH": "none", "OPENAI_KEY": "fedcba9876543210", "WEB_KEY": "0123456789abcdef0", "WEB_KEY_NEXT": "0123456789abcdef1"}
	first := loaded(t, env, text)
	for range 20 {
		again := loaded(t, env, text)
		if diff := cmp.Diff(pools(first), pools(again)); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(first.Slots, again.Slots); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestNumberedSettings(t *testing.T) {
	cfg := loaded(t, map[string]string{
		"SPILLWAY_AUTH": "none", "HTTP_TIMEOUT_SECONDS": "30",
		"BACKEND_10_URL": "https://ten.openai.azure.com", "BACKEND_10_PRIORITY": "2",
		"BACKEND_2_URL": " https://two.openai.azure.com/ ", "BACKEND_2_PRIORITY": "2", "BACKEND_2_APIKEY": "", "BACKEND_2_DEPLOYMENT_NAME": "chat",
		"backend_1_url": "https://one.openai.azure.com", "Backend_1_Priority": "1", "BACKEND_1_APIKEY": "fedcba9876543210",
	}, "")
	if diff := cmp.Diff([]string{"*: backend-1=@1#0 backend-2=chat@2#1 backend-10=@2#2"}, pools(cfg)); diff != "" {
		t.Error(diff)
	}
	if r := cfg.Resources[0]; r.Mode != APIKey || r.Key.Reveal() != "fedcba9876543210" {
		t.Errorf("got %+v", r)
	}
	if r := cfg.Resources[1]; r.Mode != ManagedIdentity || r.Endpoint.String() != "https://two.openai.azure.com" {
		t.Errorf("got %+v", r)
	}
	if s := cfg.Settings; s.FirstTokenTimeout != 30*time.Second || s.ResponseTimeout != 220*time.Second {
		t.Errorf("got %v and %v, want the old timeout for each attempt, and the default for all of them", s.FirstTokenTimeout, s.ResponseTimeout)
	}
}
