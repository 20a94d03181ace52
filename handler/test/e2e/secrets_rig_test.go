package e2e_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"spillway/handler/internal/simulator"
	"spillway/handler/internal/tablestore/storetest"
)

// canaries is texts that nobody may see again, by what they are.
type canaries map[string]string

// canary is the text of a kind; it is the same each time.
func (c canaries) canary(kind string) string {
	if c[kind] == "" {
		c[kind] = "canary" + rand.Text()
	}
	return c[kind]
}

// secretForms are the forms in which a text may be written down.
func secretForms(text string) []string {
	all := []string{strings.ToLower(text), strings.ToUpper(text), text, hex.EncodeToString([]byte(text)), url.QueryEscape(text)}
	for before := range 3 { // of a longer text it is a part of
		whole := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + text))
		from, to := (before*8+5)/6, (before+len(text))*8/6
		all = append(all, whole[from:to], strings.NewReplacer("+", "-", "/", "_").Replace(whole[from:to]))
	}
	return all
}

// leaked is what of the cage is in the text.
func (c canaries) leaked(text string) (kinds []string) {
	for _, kind := range slices.Sorted(maps.Keys(c)) {
		if slices.ContainsFunc(secretForms(c[kind]), func(form string) bool { return strings.Contains(text, form) }) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// canaryRig is a process in whose every corner there are canaries.
type canaryRig struct {
	t           *testing.T
	canaries    canaries
	sim         *simulator.Service
	azurite     *storetest.AzuriteService
	collector   *otlpReceiver
	handler     *instanceProcess
	env         []string
	visibleName string // the name of a consumer: it is to be seen
	requestIDs  []string
}

// azuriteKey begins the account's key.
const azuriteKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq"

func newCanaryRig(t *testing.T) *canaryRig {
	t.Helper()
	m := &canaryRig{t: t, canaries: canaries{"account key": azuriteKey}, collector: startOTLPReceiver(t), azurite: storetest.StartAzurite(t), visibleName: "planted" + rand.Text()}
	var list []simulator.Resource
	var backends []map[string]any
	for i, name := range []string{"a", "b"} {
		list = append(list, simulator.Resource{Name: name, Region: "uksouth", Keys: []string{m.canaries.canary("backend key " + name)}, Deployments: []simulator.Deployment{
			{Name: "gpt-4o", Model: "gpt-4o", Answer: "The answer is " + m.canaries.canary("answer") + " and no other.", Supports: []string{"chat", "responses"}},
		}})
		backends = append(backends, map[string]any{"name": name, "priority": i + 1, "auth": map[string]string{"mode": "api-key", "setting": "KEY_OF_" + name}, "deployments": []string{"gpt-4o"}})
		m.env = append(m.env, "KEY_OF_"+name+"="+m.canaries.canary("backend key "+name))
	}
	m.sim = simulator.Start(t, simulator.Config{Resources: list})
	for _, b := range backends {
		b["endpoint"] = m.sim.URL(b["name"].(string))
	}
	text, err := json.Marshal(map[string]any{
		"backends": backends, "models": map[string]any{"gpt-4o": map[string]any{"price": map[string]any{"currency": "USD", "input": 1, "output": 2}}},
		"consumers": []map[string]any{{"name": m.visibleName, "keySetting": "KEY_OF_TEAM"}, {"name": "poor", "keySetting": "KEY_OF_POOR", "tokensPerMinute": 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.env = append(m.env, "SPILLWAY_CONFIG="+string(text), "SPILLWAY_AUTH=key", "SPILLWAY_LOG_LEVEL=debug", "SPILLWAY_STATE="+m.azurite.ConnectionString,
		"SPILLWAY_OPERATOR_KEY="+m.canaries.canary("operator key"), "KEY_OF_TEAM="+m.canaries.canary("consumer key"), "KEY_OF_POOR="+m.canaries.canary("poor consumer key"),
		"SPILLWAY_MAX_WAIT=0", "OTEL_EXPORTER_OTLP_ENDPOINT="+m.collector.url, "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_EXPORTER_OTLP_HEADERS=authorization="+m.canaries.canary("collector's key"))
	m.handler = startInstanceProcess(t, m.env...)
	return m
}

// send makes a request by a key, with headers that are full of canaries.
func (m *canaryRig) send(key, method, path, body string) string {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, m.handler.url+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Traceparent": callerTraceparent, "Tracestate": "v=" + m.canaries.canary("tracestate"), "Cookie": "session=" + m.canaries.canary("cookie"),
		"X-Functions-Key": m.canaries.canary("host key"), "User-Agent": m.canaries.canary("user agent"), "X-Forwarded-For": m.canaries.canary("forwarded"),
		"X-Request-Id": m.canaries.canary("caller's request id"), "X-Ms-Client-Request-Id": m.canaries.canary("client request id"), "X-Custom": m.canaries.canary("custom header"),
		"Openai-Organization": m.canaries.canary("organization"), "X-Ms-Client-Principal": m.canaries.canary("principal"), "Idempotency-Key": m.canaries.canary("idempotency key"),
		"X-Spillway-Explain": m.canaries.canary("explain"),
	} {
		req.Header.Set(name, value)
	}
	req.Header.Set("Api-Key", key)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body) // it may break off
	m.requestIDs = append(m.requestIDs, res.Header.Get("X-Request-Id"))
	return string(text)
}

// allOutputs is all that an operator could get to read, by where.
func (m *canaryRig) allOutputs() map[string]string {
	m.t.Helper()
	places := map[string]string{}
	for _, path := range []string{
		"/ops/", "/ops/page.js", "/ops/metrics", "/ops/api/status", "/ops/api/requests?last=2000", "/ops/api/usage?by=hour,consumer,model,backend", "/ops/api/usage?format=csv&by=consumer",
	} {
		places[path] = ask(m.t.Context(), m.t, http.MethodGet, m.handler.url+path, "", "x-spillway-operator-key", m.canaries["operator key"]).body
	}
	for _, id := range m.requestIDs {
		places["/ops/api/requests?id="] += ask(m.t.Context(), m.t, http.MethodGet, m.handler.url+"/ops/api/requests?id="+id, "", "x-spillway-operator-key", m.canaries["operator key"]).body
	}
	m.awaitOutputs()
	places["tables"] = m.tableRows()
	places["stdout"], places["stderr"] = m.handler.out.String(), m.handler.errs.String()
	m.collector.mu.Lock()
	defer m.collector.mu.Unlock()
	places["otlp"] = string(m.collector.raw)
	return places
}

// awaitOutputs waits until the log and the collector have the last request.
func (m *canaryRig) awaitOutputs() {
	m.t.Helper()
	last := m.requestIDs[len(m.requestIDs)-1]
	m.handler.out.await(m.t, last)
	m.collector.await(m.t, func() bool {
		return strings.Contains(string(m.collector.raw), last) && m.collector.metrics["spillway.cost"] != nil
	})
}

// tableRows is every row of every table, as the service has it.
func (m *canaryRig) tableRows() string {
	m.t.Helper()
	service, err := aztables.NewServiceClientFromConnectionString(m.azurite.ConnectionString, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	var all strings.Builder
	for lists := service.NewListTablesPager(nil); lists.More(); {
		list, err := lists.NextPage(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		for _, table := range list.Tables {
			fmt.Fprintf(&all, "table %s\n", *table.Name)
			for rows := service.NewClient(*table.Name).NewListEntitiesPager(nil); rows.More(); {
				page, err := rows.NextPage(m.t.Context())
				if err != nil {
					m.t.Fatal(err)
				}
				for _, row := range page.Entities {
					all.Write(row)
					all.WriteByte('\n')
				}
			}
		}
	}
	return all.String()
}

var issuedKey = regexp.MustCompile(`spw_[A-Za-z0-9_-]+`)

// issueKey makes a key at run time and returns it.
func (m *canaryRig) issueKey() string {
	m.t.Helper()
	out, errs, code := command(m.t, m.env, "keys", "add", m.visibleName)
	key := issuedKey.FindString(out)
	if code != 0 || key == "" {
		m.t.Fatalf("keys add: exit code %d: %s%s", code, out, errs)
	}
	m.canaries["issued key"] = key
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if strings.Contains(m.send(key, http.MethodPost, chatPath, hello), m.canaries["answer"]) {
			return key
		}
		if time.Now().After(deadline) {
			m.t.Fatal("the issued key is never let in")
		}
	}
}
