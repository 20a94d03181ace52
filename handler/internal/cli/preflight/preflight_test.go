package preflight_test

import (
	"bytes"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/cli/preflight"
	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/memory"
)

var update = flag.Bool("update", false, "write the golden files anew")

const key = "a-backend-key"

// healthyService is a provisioned and two pay-as-you-go resources in three
// regions, without faults.
func healthyService() simulator.Config {
	chat := func(sku simulator.SKU) simulator.Deployment {
		return simulator.Deployment{Name: "gpt-4o", Model: "gpt-4o", ModelVersion: "2024-11-20", SKU: sku}
	}
	embed := simulator.Deployment{Name: "text-embedding-3-large", Model: "text-embedding-3-large", ModelVersion: "1"}
	return simulator.Config{Resources: []simulator.Resource{
		{Name: "ptu", Region: "uksouth", Keys: []string{key}, Deployments: []simulator.Deployment{chat(simulator.Provisioned)}},
		{Name: "sweden", Region: "swedencentral", Keys: []string{key}, Deployments: []simulator.Deployment{chat(""), embed}},
		{Name: "france", Region: "francecentral", Keys: []string{key}, Deployments: []simulator.Deployment{chat(""), embed}},
	}}
}

// newInput is the configuration of healthyService.
func newInput(t *testing.T, sim *simulator.Service) *preflight.Input {
	t.Helper()
	in := &preflight.Input{
		APIVersion: "2024-10-21", Timeout: 5 * time.Second,
		State: preflight.State{Store: new(memory.Store), Setting: "SPILLWAY_STATE", SharedKey: true},
	}
	for _, name := range []string{"ptu", "sweden", "france"} {
		in.Targets = append(in.Targets, newTarget(t, name, sim.URL(name)))
	}
	in.Pools = []balancer.Pool{
		{Model: "gpt-4o", Backends: []balancer.Backend{
			{Name: "ptu", Index: 0, Deployment: "gpt-4o", Region: "uksouth", Provisioned: true},
			{Name: "sweden", Index: 1, Deployment: "gpt-4o", Region: "swedencentral"},
			{Name: "france", Index: 2, Deployment: "gpt-4o", Region: "francecentral"},
		}},
		{Model: "text-embedding-3-large", Backends: []balancer.Backend{
			{Name: "sweden", Index: 1, Deployment: "text-embedding-3-large", Region: "swedencentral"},
			{Name: "france", Index: 2, Deployment: "text-embedding-3-large", Region: "francecentral"},
		}},
	}
	return in
}

func newTarget(t *testing.T, name, address string) *backend.Target {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	wire := backend.NewTransport(backend.TransportOptions{DialTimeout: time.Second, HandshakeTimeout: time.Second})
	t.Cleanup(wire.CloseIdleConnections)
	return &backend.Target{Name: name, Endpoint: u, Credential: backend.APIKey{Key: key}, Transport: wire}
}

// print is the printed report, with variable addresses replaced.
func print(t *testing.T, in *preflight.Input) (string, *preflight.Report) {
	t.Helper()
	report := preflight.Run(t.Context(), in)
	var out bytes.Buffer
	if err := report.Print(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, target := range in.Targets {
		text = strings.ReplaceAll(text, target.Endpoint.Host, "HOST-"+target.Name)
	}
	if strings.Contains(text, key) {
		t.Errorf("the key is shown:\n%s", text)
	}
	return text, report
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}

func TestHealthyConfigurationHasNoFindingsAndCostsNothing(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	text, report := print(t, newInput(t, sim))
	golden(t, "healthy", text)
	if report.Count(preflight.Error)+report.Count(preflight.Warning) > 0 || report.Paid != 0 {
		t.Errorf("%+v", report)
	}
	if n := len(sim.Journal()); n != report.Requests {
		t.Errorf("%d requests came, %d were reported", n, report.Requests)
	}
	for _, e := range sim.Journal() {
		if e.CompletionTokens+e.PromptTokens > 0 && e.Admitted {
			t.Errorf("%s spent tokens", e.Path)
		}
	}
	if c := sim.Violations(); len(c) > 0 {
		t.Error(c)
	}
}

// A fault of a resource is reported once for all its deployments, with its fix.
func TestRefusalsAreDiagnosed(t *testing.T) {
	for fault, want := range map[string]string{
		"401-key":            "the key is refused, or the endpoint is another resource's. Copy KEY 1",
		"401-token":          "the token is refused: of another tenant or audience, or expired. Check",
		"401-permission":     "lacks the data action Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action. Give it the role Cognitive Services OpenAI User",
		"403-permission":     "Give it the role Cognitive Services OpenAI User",
		"403-network":        "its network rules do not admit this machine. Add the app's subnet",
		"403-private":        "it has no public access, and was not reached through its private endpoint. Run this from inside",
		"403-keys-disabled":  `keys are disabled at this resource. Write "auth": {"mode": "managed-identity"}`,
		"403-blocked":        "the resource is blocked by Azure's abuse monitoring. See",
		"503":                "so it fails now. Run this again",
		"502-html":           "answers 502, so it fails now",
		"html-200":           "with something other than JSON",
		"redirect":           "a redirect, which is never followed",
		"eof-before-headers": "HOST-sweden closes the connection without an answer",
		"garbage":            "no HTTP answer came from HOST-sweden",
	} {
		t.Run(fault, func(t *testing.T) {
			sim := simulator.Start(t, healthyService())
			sim.Fault("sweden", simulator.Fault{Action: fault})
			text, report := print(t, newInput(t, sim))
			if report.Count(preflight.Error) != 1 || report.Count(preflight.Warning) != 0 || !strings.Contains(text, want) {
				t.Errorf("want one error with %q:\n%s", want, text)
			}
			if !strings.Contains(text, "error: backends[1] sweden") || strings.Contains(text, "ok: backends[1]") {
				t.Errorf("the error is not sweden's:\n%s", text)
			}
		})
	}
}

func TestMissingDeploymentDoesNotEndTheChecks(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	in := newInput(t, sim)
	in.Pools[0].Backends[1].Deployment = "gpt-4o-typo"
	sim.Fault("france", simulator.Fault{Action: "404-deployment", Deployment: "text-embedding-3-large"})
	text, _ := print(t, in)
	golden(t, "missing", text)
}

func TestThrottledDeploymentExists(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	sim.Throttle("ptu", time.Minute)
	sim.Throttle("sweden", time.Minute)
	text, report := print(t, newInput(t, sim))
	if report.Count(preflight.Error)+report.Count(preflight.Warning) != 0 {
		t.Error(text)
	}
}

// A model that Azure retires within sixty days is worth a warning before
// anything has failed.
func TestRetirementsAreWarnedOfSixtyDaysAhead(t *testing.T) {
	sim := simulator.Start(t, healthyService())
	in := newInput(t, sim)
	for now, warnings := range map[time.Time]int{
		time.Date(2030, 12, 30, 12, 0, 0, 0, time.UTC): 0, // 60.5 days ahead
		time.Date(2030, 12, 31, 12, 0, 0, 0, time.UTC): 5, // three deployments of gpt-4o, two of the embeddings
		time.Date(2031, 3, 2, 0, 0, 0, 0, time.UTC):    5,
	} {
		in.Now = func() time.Time { return now }
		text, report := print(t, in)
		if report.Count(preflight.Warning) != warnings || strings.Count(text, "Azure retires its model") != warnings {
			t.Errorf("on %s: want %d warnings:\n%s", now.Format(time.DateOnly), warnings, text)
		}
		if want := "warning: backends[1] sweden, deployment gpt-4o: Azure retires its model gpt-4o-2024-11-20 on 2031-03-01. Deploy"; warnings > 0 && !strings.Contains(text, want) {
			t.Errorf("want %q:\n%s", want, text)
		}
	}
}
