package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestSettingDefaults(t *testing.T) {
	s := loaded(t, open, one(``)).Settings
	if s.Listen != "127.0.0.1:8080" || !s.Standalone || !s.Loopback || !s.State.Memory() || s.StateTable != "spillway" ||
		s.StateRefresh != 500*time.Millisecond || s.FirstTokenTimeout != time.Minute || s.ResponseTimeout != 220*time.Second ||
		s.CommitAfter != 10*time.Second || s.Heartbeat != 15*time.Second || s.MaxWait != 2*time.Second || s.MaxBody != 96<<20 ||
		s.Expose || s.LogLevel != slog.LevelInfo || s.Transcripts != "" || s.OperatorKey.Set() || s.Instance == "" {
		t.Errorf("got %+v", s)
	}
	if !loaded(t, teamA, with(``)).Settings.Callers.Key {
		t.Error("callers need no key by default")
	}
}

func TestSettingsAreRead(t *testing.T) {
	s := loaded(t, map[string]string{
		"FUNCTIONS_CUSTOMHANDLER_PORT": "7071", "REGION_NAME": "West Europe", "CONTAINER_NAME": "c-1", "WEBSITE_INSTANCE_ID": "i-1",
		"SPILLWAY_AUTH": " key , entra", "SPILLWAY_ENTRA_TENANT": "contoso.onmicrosoft.com", "SPILLWAY_ENTRA_AUDIENCE": "api://s",
		"SPILLWAY_ENTRA_ISSUER": "http://127.0.0.1:9/t", "SPILLWAY_OPERATOR_KEY": "0123456789abcdef0123",
		"SPILLWAY_STATE": "UseDevelopmentStorage=true", "SPILLWAY_STATE_TABLE": "fleet7", "SPILLWAY_STATE_REFRESH": "1s",
		"SPILLWAY_FIRST_TOKEN_TIMEOUT": "20s", "SPILLWAY_RESPONSE_TIMEOUT": "3m", "SPILLWAY_COMMIT_AFTER": "0s", "SPILLWAY_HEARTBEAT": "0",
		"SPILLWAY_MAX_WAIT": "0", "SPILLWAY_MAX_BODY": "20MB", "SPILLWAY_EXPOSE": "true", "SPILLWAY_LOG_LEVEL": "DEBUG",
		"SPILLWAY_TRANSCRIPTS": "chats", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "TEAM_A_KEY": teamA["TEAM_A_KEY"],
	}, with(`, "entra": {"role": "r"}`)).Settings
	if s.Listen != "127.0.0.1:7071" || s.Standalone || s.Region != "West Europe" || s.Instance != "c-1" ||
		!s.Callers.Key || !s.Callers.Entra || s.Callers.Issuer == "" || s.OperatorKey.Reveal() != "0123456789abcdef0123" ||
		s.StateTable != "fleet7" || s.StateRefresh != time.Second || s.FirstTokenTimeout != 20*time.Second || s.ResponseTimeout != 3*time.Minute ||
		s.CommitAfter != 0 || s.Heartbeat != 0 || s.MaxWait != 0 || s.MaxBody != 20e6 || !s.Expose || s.LogLevel != slog.LevelDebug ||
		s.Transcripts != "chats" || s.OTLP == "" {
		t.Errorf("got %+v", s)
	}
	if text := s.State.Text.Reveal(); !strings.Contains(text, "http://127.0.0.1:10002/devstoreaccount1") {
		t.Errorf("got %q, want the emulated table service", text)
	}
}

func TestEmptySettingIsUnset(t *testing.T) {
	s := loaded(t, map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_MAX_WAIT": "", "SPILLWAY_LOG_LEVEL": ""}, one(``)).Settings
	if s.MaxWait != 2*time.Second || s.LogLevel != slog.LevelInfo {
		t.Errorf("got %+v", s)
	}
}

func TestListenAddress(t *testing.T) {
	for listen, want := range map[string]string{
		"": "127.0.0.1:7071", ":9000": ":9000", "9000": "127.0.0.1:9000", "0.0.0.0": "0.0.0.0:7071", "[::1]:9000": "[::1]:9000",
		"::1": "[::1]:7071", "localhost": "localhost:7071", "localhost:0": "localhost:0",
	} {
		cfg := loaded(t, map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_LISTEN": listen, "FUNCTIONS_CUSTOMHANDLER_PORT": "7071"}, one(``))
		if got := cfg.Settings.Listen; got != want {
			t.Errorf("%q: got %q, want %q", listen, got, want)
		}
		if got, want := cfg.Settings.Loopback, !strings.HasPrefix(want, ":") && !strings.HasPrefix(want, "0"); got != want {
			t.Errorf("%q: loopback %v, want %v", listen, got, want)
		}
	}
}

func TestStateConnectionForms(t *testing.T) {
	const key = "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=a2V5;EndpointSuffix=core.windows.net"
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"a connection string":    {map[string]string{"SPILLWAY_STATE": key}, "table by SPILLWAY_STATE"},
		"a signature":            {map[string]string{"SPILLWAY_STATE": "TableEndpoint=https://c.table.core.windows.net;SharedAccessSignature=sv=1&sig=x"}, "table by SPILLWAY_STATE"},
		"the Functions host's":   {map[string]string{"AzureWebJobsStorage": key}, "table by AzureWebJobsStorage"},
		"ours before the host's": {map[string]string{"SPILLWAY_STATE": key, "AzureWebJobsStorage": "junk"}, "table by SPILLWAY_STATE"},
		"an account":             {map[string]string{"SPILLWAY_STATE__accountName": "contoso", "SPILLWAY_STATE__credential": "managedidentity"}, "table https://contoso.table.core.windows.net by identity (SPILLWAY_STATE)"},
		"a service":              {map[string]string{"SPILLWAY_STATE__tableServiceUri": "https://c.table.core.chinacloudapi.cn/", "SPILLWAY_STATE__clientId": "11111111-2222-3333-4444-555555555555"}, "table https://c.table.core.chinacloudapi.cn by identity 11111111-2222-3333-4444-555555555555 (SPILLWAY_STATE)"},
		"an account in capitals": {map[string]string{"AZUREWEBJOBSSTORAGE__ACCOUNTNAME": "contoso"}, "table https://contoso.table.core.windows.net by identity (AzureWebJobsStorage)"},
		"a string without a key and an account name": {map[string]string{"AzureWebJobsStorage": "DefaultEndpointsProtocol=https;AccountName=contoso;AccountKey=;EndpointSuffix=core.windows.net", "AzureWebJobsStorage__accountName": "contoso"}, "table https://contoso.table.core.windows.net by identity (AzureWebJobsStorage)"},
		"blobs only, which is no table":              {map[string]string{"AzureWebJobsStorage__blobServiceUri": "https://c.blob.core.windows.net"}, "memory"},
		"an empty string, as infra sets it":          {map[string]string{"AzureWebJobsStorage": "", "AzureWebJobsStorage__accountName": "contoso"}, "table https://contoso.table.core.windows.net by identity (AzureWebJobsStorage)"},
		"nothing":                                    {nil, "memory"},
	} {
		env := setting(c.env, one(``))
		env["SPILLWAY_AUTH"] = "none"
		cfg, err := load(in(t, env))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := cfg.Settings.State.String(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestBlobServiceAddress(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"an account":              {map[string]string{"SPILLWAY_STATE__accountName": "contoso"}, "https://contoso.blob.core.windows.net"},
		"as Azure writes it":      {map[string]string{"SPILLWAY_STATE__tableServiceUri": "https://c.table.x/", "SPILLWAY_STATE__blobServiceUri": "https://c.blob.x/"}, "https://c.blob.x"},
		"an account, and a cloud": {map[string]string{"SPILLWAY_STATE__accountName": "contoso", "SPILLWAY_STATE__blobServiceUri": "https://c.blob.x"}, "https://c.blob.x"},
		"a table alone":           {map[string]string{"SPILLWAY_STATE__tableServiceUri": "https://c.table.x/"}, ""},
	} {
		env := setting(c.env, one(``))
		env["SPILLWAY_AUTH"] = "none"
		if cfg, err := load(in(t, env)); err != nil || cfg.Settings.State.BlobURL != c.want {
			t.Errorf("%s: got %q, %v, want %q", name, cfg.Settings.State.BlobURL, err, c.want)
		}
	}
	env := setting(map[string]string{"SPILLWAY_STATE__accountName": "contoso", "SPILLWAY_STATE__blobServiceUri": "http://c.blob.x"}, one(``))
	env["SPILLWAY_AUTH"] = "none"
	if _, err := load(in(t, env)); err == nil || !strings.Contains(err.Error(), "SPILLWAY_STATE__blobServiceUri") {
		t.Errorf("an address in the clear: %v", err)
	}
}

func TestSettingsAreReadDespiteFaults(t *testing.T) {
	cfg, err := load(in(t, map[string]string{"SPILLWAY_CONFIG": "{", "FUNCTIONS_CUSTOMHANDLER_PORT": "7071", "SPILLWAY_LOG_LEVEL": "error"}))
	if err == nil || cfg.Settings.Listen != "127.0.0.1:7071" || cfg.Settings.LogLevel != slog.LevelError || cfg.Pools != nil {
		t.Errorf("got %+v, %v", cfg, err)
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	const text = "hunter2hunter2hunter2"
	s := NewSecret(text)
	nested := struct{ inner any }{struct{ s Secret }{s}}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", s, "key", Key{Value: s})
	said, err := json.Marshal(map[string]any{"s": s, "k": Key{Value: s}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(said)
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x %v %+v %#v", s, s, s, s, s, s, nested, nested, nested)
	if strings.Contains(out.String(), text) || strings.Contains(out.String(), fmt.Sprintf("%x", text)) {
		t.Errorf("it shows: %s", out.String())
	}
	if s.Reveal() != text || !s.Set() || (Secret{}).Set() || NewSecret("").Set() {
		t.Error("it is not kept")
	}
}

func TestPrintedConfigurationHoldsNoSecret(t *testing.T) {
	env := map[string]string{
		"SPILLWAY_OPERATOR_KEY": "operator-0123456789", "TEAM_A_KEY": "consumer-0123456789", "AOAI_KEY_SWEDEN": "backend-0123456789",
		"SPILLWAY_STATE": "AccountName=contoso;AccountKey=c3RhdGU=",
	}
	cfg := loaded(t, env, "@document/testdata/valid/contract.json")
	var out bytes.Buffer
	if err := cfg.Print(&out); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%v %+v %#v", cfg, cfg, *cfg)
	for name, value := range env {
		if strings.Contains(out.String(), strings.TrimPrefix(value, "AccountName=contoso;AccountKey=")) {
			t.Errorf("%s shows", name)
		}
	}
	for _, part := range []string{"TEAM_A_KEY", "SPILLWAY_OPERATOR_KEY", "ptu-uksouth", "gpt-4o-ptu"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%s is not reported", part)
		}
	}
}

func TestWarnings(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		text string
		want string
	}{
		"state in memory":                           {open, one(``), "SPILLWAY_STATE: is not set"},
		"everyone let in from outside":              {map[string]string{"SPILLWAY_AUTH": "none", "FUNCTIONS_CUSTOMHANDLER_PORT": "1"}, one(``), "SPILLWAY_AUTH: is none"},
		"consumers that do nothing":                 {map[string]string{"SPILLWAY_AUTH": "none", "TEAM_A_KEY": "0123456789abcdef"}, with(``), "consumers (line 6, column 16): have no effect"},
		"numbered settings next to SPILLWAY_CONFIG": {map[string]string{"SPILLWAY_AUTH": "none", "BACKEND_1_URL": "x"}, one(``), "BACKEND_1_URL: and its like have no effect"},
		"a hedge to nowhere":                        {open, `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com", "deployments": ["m"]}], "models": {"m": {"hedge": {"after": "p95"}}}}`, "models.m.hedge (line 1, column 121): has no effect"},
		"a drained model":                           {open, `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com", "deployments": ["m"], "weight": 0}, {"name": "b", "endpoint": "https://b.openai.azure.com", "deployments": ["n"]}]}`, `leave "m" without anyone`},
		"status codes":                              {open, two(`, "circuitBreaker": {"statusCodes": ["5xx"]}`), "circuitBreaker.statusCodes (line 5, column 40): is ignored"},
		"minimum requests":                          {open, two(`, "circuitBreaker": {"minimumRequests": 20}`), "circuitBreaker.minimumRequests (line 5, column 44): is ignored"},
		"failures that hardly come that soon":       {open, two(`, "circuitBreaker": {"interval": "10ms"}`), "interval (line 5, column 37): 10ms is too short for 5 failures: an instance would have to see 500 a second. Make it at least 50ms"},
		"one deployment twice":                      {open, `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com"}, {"name": "b", "endpoint": "https://A.openai.azure.com:443/"}]}`, `backends[1] (line 1, column 72): leads to the same deployment as backend "a"`},
		"a base without v1":                         {open, one(`, "kind": "openai", "auth": {"mode": "none"}`), "has no path"},
		"a setting of somebody else":                {map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_XYZZY": "1"}, one(``), "SPILLWAY_XYZZY: is no setting"},
		"tokens for another audience":               {map[string]string{"SPILLWAY_AUTH": "entra", "SPILLWAY_ENTRA_TENANT": "t", "SPILLWAY_ENTRA_AUDIENCE": "api://s"}, `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com", "auth": {"mode": "pass-through"}}], "consumers": [{"name": "c", "entra": {"role": "r"}}]}`, "forwards the callers' own tokens"},
		"entra settings without entra":              {map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_ENTRA_TENANT": "t"}, one(``), "does not name entra"},
		"both forms of a connection":                {map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_STATE": "UseDevelopmentStorage=true", "SPILLWAY_STATE__accountName": "contoso"}, one(``), "the string is used"},
		"transcripts to nowhere":                    {teamA, with(`, "transcripts": true`), "names no container"},
		"a fallback without a price":                {teamA, two(`, "models": {"gpt-4o": {"price": {"input": 1}, "fallbacks": ["gpt-4o-mini"]}}, "consumers": [{"name": "team-a", "keySetting": "TEAM_A_KEY", "budgetPerMonth": 100, "models": ["gpt-4o"]}]`), "is not used up by"},
		"a cache that costs more":                   {open, two(`, "models": {"gpt-4o": {"price": {"input": 1, "cachedInput": 2}}}`), "is more than input"},
	} {
		cfg := loaded(t, c.env, c.text)
		if !strings.Contains(cfg.Warnings.Error(), c.want) {
			t.Errorf("%s: got %q, want %q in it", name, cfg.Warnings.Error(), c.want)
		}
	}
}

func TestValidatePrintsTheConfiguration(t *testing.T) {
	for name, value := range map[string]string{"SPILLWAY_CONFIG": "@document/testdata/valid/contract.json", "TEAM_A_KEY": "0123456789abcdef", "AOAI_KEY_SWEDEN": "fedcba9876543210"} {
		t.Setenv(name, value)
	}
	var out bytes.Buffer
	if err := Validate(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "valid: 2 backends, 3 models, 1 consumers\n") {
		t.Errorf("got %s", out.String())
	}
	t.Setenv("AOAI_KEY_SWEDEN", "")
	if err := Validate(&out); err == nil || !strings.Contains(err.Error(), "backends[1].auth.setting (contract.json:8:") {
		t.Errorf("got %v", err)
	}
}

func TestLocalSettingsSampleIsValid(t *testing.T) {
	var sample struct{ Values map[string]string }
	if err := json.Unmarshal(read(t, "../../../local.settings.sample.json"), &sample); err != nil {
		t.Fatal(err)
	}
	cfg, err := load(in(t, sample.Values))
	if err != nil || len(cfg.Consumers) == 0 {
		t.Error(err)
	}
}

func TestBodyLimitIsNotAboveTheHosts(t *testing.T) {
	for _, c := range []struct {
		name, port, own, host string
		want                  int64 // 0 = a fault
	}{
		{"default", "7071", "", "", 96 << 20},
		{"at the host's default", "7071", "100MiB", "", 100 << 20},
		{"above the host's default", "7071", "101MiB", "", 0},
		{"above a lower limit of the host", "7071", "", "1048576", 0},
		{"below a higher limit of the host", "7071", "200MiB", "268435456", 200 << 20},
		{"no host in front", "", "200MiB", "", 200 << 20},
	} {
		env := map[string]string{
			"SPILLWAY_AUTH": "none", "FUNCTIONS_CUSTOMHANDLER_PORT": c.port,
			"SPILLWAY_MAX_BODY": c.own, "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": c.host,
		}
		cfg, err := load(in(t, setting(env, one(``))))
		if c.want == 0 {
			if err == nil || !strings.Contains(err.Error(), "SPILLWAY_MAX_BODY") || !strings.Contains(err.Error(), "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT") {
				t.Errorf("%s: %v, want a fault that names both settings", c.name, err)
			}
			continue
		}
		if err != nil || cfg.Settings.MaxBody != c.want {
			t.Errorf("%s: %d, %v, want %d", c.name, cfg.Settings.MaxBody, err, c.want)
		}
	}
}
