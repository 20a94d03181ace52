package config

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/config/document"
)

// tableEnv is an app whose pool document comes from the table.
func tableEnv(more map[string]string) map[string]string {
	env := map[string]string{
		"SPILLWAY_CONFIG_SOURCE": "table:Func-A", "SPILLWAY_STATE": "UseDevelopmentStorage=true",
		"AOAI_KEY": "the-key-of-a-0123", "OTHER_KEY": "the-key-of-b-0123", "TEAM_A_KEY": "0123456789abcdef0123",
		"AzureWebJobsStorage": "DefaultEndpointsProtocol=https;AccountName=s;AccountKey=c2VjcmV0LW9mLXN0b3JhZ2U=",
		"IDENTITY_HEADER":     "secret-of-identity", "UNRELATED": "secret-of-unrelated", "SPILLWAY_OPERATOR_KEY": "secret-of-operators",
	}
	maps.Copy(env, more)
	return env
}

// settingDocument is the document of the app setting: two backends with keys, one
// by identity, a self-hosted one without a credential.
const settingDocument = `{"backends": [
	{"name": "a", "endpoint": "https://a.openai.azure.com", "deployments": ["gpt-4o"], "auth": {"mode": "api-key", "setting": "AOAI_KEY"}},
	{"name": "b", "endpoint": "https://b.openai.azure.com", "deployments": ["gpt-4o"], "auth": {"mode": "api-key", "setting": "OTHER_KEY"}},
	{"name": "c", "endpoint": "https://c.openai.azure.com:443/", "deployments": ["gpt-4o"]},
	{"name": "d", "endpoint": "https://llm.contoso.com/v1", "kind": "openai", "deployments": ["gpt-4o"], "auth": {"mode": "none"}}
	], "consumers": [{"name": "team-a", "keySetting": "TEAM_A_KEY"}]}`

// pushedBackend is settingDocument's consumer and one backend of the pusher's.
func pushedBackend(endpoint, more string) string {
	return `{"backends": [{"name": "x", "endpoint": "` + endpoint + `", "deployments": ["gpt-4o"]` + more + `}], "consumers": [{"name": "team-a", "keySetting": "TEAM_A_KEY"}]}`
}

func pushedConsumer(setting string) string {
	return `{"backends": [{"name": "c", "endpoint": "https://c.openai.azure.com", "deployments": ["gpt-4o"]}],
		"consumers": [{"name": "team-a", "keySetting": "TEAM_A_KEY"}, {"name": "mine", "keySetting": "` + setting + `"}]}`
}

func withKey(setting string) string {
	return `, "auth": {"mode": "api-key", "setting": "` + setting + `"}`
}

// Whoever may write the table tries to have a secret sent to a host of theirs, or to
// learn one.
func TestAPushedDocumentReachesNoSecretAndNoHost(t *testing.T) {
	const evil, own = "https://attacker.example", "https://a.openai.azure.com"
	for name, c := range map[string]struct{ text, want string }{
		"a key of the app to another host":            {pushedBackend(evil, withKey("AOAI_KEY")), "backends[0].endpoint"},
		"the storage account to another host":         {pushedBackend(evil, withKey("AzureWebJobsStorage")), "no pushed document may use"},
		"the storage account to a host of the app":    {pushedBackend(own, withKey("AzureWebJobsStorage")), "no pushed document may use"},
		"the same in capitals":                        {pushedBackend(own, withKey("AZUREWEBJOBSSTORAGE")), "no pushed document may use"},
		"the same under the platform's name":          {pushedBackend(own, withKey("APPSETTING_AzureWebJobsStorage")), "no pushed document may use"},
		"the operators' key":                          {pushedBackend(own, withKey("SPILLWAY_OPERATOR_KEY")), "no pushed document may use"},
		"the header of the identity endpoint":         {pushedBackend(own, withKey("IDENTITY_HEADER")), "no pushed document may use"},
		"a setting that nothing allows":               {pushedBackend(own, withKey("UNRELATED")), "backends[0].auth.setting"},
		"a consumer's key to a backend":               {pushedBackend(own, withKey("TEAM_A_KEY")), "backends[0].auth.setting"},
		"the key of one backend to another":           {pushedBackend(own, withKey("OTHER_KEY")), "backends[0].auth.setting"},
		"another port of a host":                      {pushedBackend(own+":8443", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host below one":                            {pushedBackend("https://x.a.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host that begins like one":                 {pushedBackend("https://a.openai.azure.com.attacker.example", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host behind an @":                          {pushedBackend("https://a.openai.azure.com@attacker.example", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host behind a backslash":                   {pushedBackend(`https://attacker.example\\.a.openai.azure.com`, withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host in another alphabet":                  {pushedBackend("https://\u0430.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"the same, encoded":                           {pushedBackend("https://xn--80a.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host in wide letters":                      {pushedBackend("https://\uff41.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host with an escaped letter":               {pushedBackend("https://%61.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host with a dot at its end":                {pushedBackend("https://a.openai.azure.com.", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host behind a password":                    {pushedBackend("https://a.openai.azure.com:443@attacker.example", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a name and a password":                       {pushedBackend("https://x:y@a.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host behind a tab":                         {pushedBackend(`https://a.openai.azure.com\t.attacker.example`, withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host behind a line break":                  {pushedBackend(`https://a.openai.azure.com\r\nHost: attacker.example`, withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host in a fragment":                        {pushedBackend("https://attacker.example#a.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a host in a query":                           {pushedBackend("https://attacker.example?a.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"the same host without encryption":            {pushedBackend("http://a.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"an address of IPv6":                          {pushedBackend("https://[::1]", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"an address of IPv4 in IPv6":                  {pushedBackend("http://[::ffff:169.254.169.254]", `, "auth": {"mode": "none"}`), "backends[0].endpoint"},
		"an address as one number":                    {pushedBackend("http://2852039166", `, "auth": {"mode": "none"}`), "backends[0].endpoint"},
		"a file":                                      {pushedBackend("file:///proc/self/environ", `, "auth": {"mode": "none"}`), "backends[0].endpoint"},
		"a scheme of another program":                 {pushedBackend("gopher://a.openai.azure.com", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"a setting with a space":                      {pushedBackend(own, withKey("AzureWebJobsStorage ")), "backends[0].auth.setting"},
		"a setting in another alphabet":               {pushedBackend(own, withKey("\u0410zureWebJobsStorage")), "backends[0].auth.setting"},
		"a connection of another kind":                {pushedBackend(own, withKey("CUSTOMCONNSTR_AzureWebJobsStorage")), "no pushed document may use"},
		"a setting of the state":                      {pushedBackend(own, withKey("SPILLWAY_STATE")), "no pushed document may use"},
		"the secret of the identity":                  {pushedBackend(own, withKey("AZURE_CLIENT_SECRET")), "no pushed document may use"},
		"an allowed key in other letters":             {pushedBackend(own, withKey("aoai_key")), "backends[0].auth.setting"},
		"callers' keys as a header of the backend's":  {pushedBackend(own, withKey("AOAI_KEY")+`, "passHeaders": ["x-api-key"]`), "backends[0].passHeaders"},
		"callers' host keys":                          {pushedBackend(own, withKey("AOAI_KEY")+`, "passHeaders": ["x-functions-key"]`), "backends[0].passHeaders"},
		"callers' identities by the platform":         {pushedBackend(own, withKey("AOAI_KEY")+`, "passHeaders": ["x-ms-token-aad-access-token"]`), "backends[0].passHeaders"},
		"a proxy":                                     {pushedBackend(own, withKey("AOAI_KEY")+`, "proxy": "https://attacker.example"`), "backends[0].proxy"},
		"this machine":                                {pushedBackend("http://127.0.0.1:8081", withKey("AOAI_KEY")), "backends[0].endpoint"},
		"the identity endpoint":                       {pushedBackend("http://169.254.169.254", `, "auth": {"mode": "none"}`), "backends[0].endpoint"},
		"a token of the app's identity to another":    {pushedBackend(evil, ""), "backends[0].endpoint"},
		"a token of the identity to the self-hosted":  {pushedBackend("https://llm.contoso.com", ""), "backends[0].auth.mode"},
		"callers' own tokens to the self-hosted":      {pushedBackend("https://llm.contoso.com", `, "auth": {"mode": "pass-through"}`), "backends[0].auth.mode"},
		"callers' own tokens to a host with a key":    {pushedBackend(own, `, "auth": {"mode": "pass-through"}`), "backends[0].auth.mode"},
		"prompts to another host":                     {pushedBackend(evil+"/v1", `, "kind": "openai", "auth": {"mode": "none"}`), "backends[0].endpoint"},
		"a consumer whose key is the storage account": {pushedConsumer("AzureWebJobsStorage"), `names "AzureWebJobsStorage", which no pushed document may use`},
		"a consumer whose key is a backend's":         {pushedConsumer("AOAI_KEY"), "consumers[1].keySetting"},
		"a consumer whose key is another setting":     {pushedConsumer("UNRELATED"), "consumers[1].keySetting"},
	} {
		base := loaded(t, tableEnv(nil), settingDocument)
		cfg, err := base.WithDocument("version 1", c.text)
		if err == nil || cfg != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret-of") || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// What is allowed is accepted; other spellings of a host are the same host.
func TestAPushedDocumentMayUseWhatIsAllowed(t *testing.T) {
	base := loaded(t, tableEnv(nil), settingDocument)
	for name, text := range map[string]string{
		"the document of the setting itself": settingDocument,
		"another spelling of a host":         pushedBackend("https://A.OpenAI.azure.com:443/", withKey("AOAI_KEY")),
		"a consumer without a key setting":   `{"backends": [{"name": "c", "endpoint": "https://c.openai.azure.com", "weight": 7, "deployments": ["gpt-4o"]}], "consumers": [{"name": "new"}]}`,
	} {
		if _, err := base.WithDocument("version 1", text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg, err := base.WithDocument("version 1", pushedBackend("https://a.openai.azure.com", withKey("AOAI_KEY")))
	if err != nil || cfg.Resources[0].Key.Reveal() != "the-key-of-a-0123" || cfg.Settings.ConfigApp != "func-a" || len(cfg.Keys) != 1 {
		t.Fatalf("%+v, %v", cfg, err)
	}
	if _, err := cfg.WithDocument("version 2", settingDocument); err != nil {
		t.Errorf("the next version: %v", err)
	}
}

// The list replaces what SPILLWAY_CONFIG names.
func TestAllowListOfAPushedDocument(t *testing.T) {
	env := tableEnv(map[string]string{"SPILLWAY_CONFIG_ALLOW": "https://new.openai.azure.com=AOAI_KEY, https://new.openai.azure.com=managed-identity\n TEAM_A_KEY"})
	base := loaded(t, env, settingDocument)
	for text, ok := range map[string]bool{
		pushedBackend("https://new.openai.azure.com", withKey("AOAI_KEY")):                       true,
		pushedBackend("https://new.openai.azure.com", ""):                                        true,
		pushedBackend("https://new.openai.azure.com", withKey("OTHER_KEY")):                      false,
		pushedBackend("https://new.openai.azure.com", withKey("TEAM_A_KEY")):                     false,
		pushedBackend("https://a.openai.azure.com", withKey("AOAI_KEY")):                         false,
		strings.ReplaceAll(pushedBackend("https://new.openai.azure.com", ""), "TEAM_A", "OTHER"): false,
	} {
		if _, err := base.WithDocument("version 1", text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	for list, want := range map[string]string{
		"AzureWebJobsStorage": "no document from the table may name", "https://a.openai.azure.com=SPILLWAY_OPERATOR_KEY": "no document from the table may name",
		"https://*.openai.azure.com=AOAI_KEY": "is no origin", "https://a.openai.azure.com/x=AOAI_KEY": "is no origin", "a.openai.azure.com=AOAI_KEY": "is no origin",
		"https://a.openai.azure.com": "does not say what may be sent there", "https://a.openai.azure.com=": "does not say", "managed-identity": "is no name of an app setting",
		"http://a.openai.azure.com=AOAI_KEY": "is no origin", "A-B": "is no name of an app setting",
	} {
		_, err := load(in(t, setting(tableEnv(map[string]string{"SPILLWAY_CONFIG_ALLOW": list}), settingDocument)))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "SPILLWAY_CONFIG_ALLOW") {
			t.Errorf("%s: %v, want %q", list, err, want)
		}
	}
}

// Every fault is reported at once, with its place in the version.
func TestFaultsOfAPushedDocumentComeTogether(t *testing.T) {
	base := loaded(t, tableEnv(nil), settingDocument)
	_, err := base.WithDocument("version 7", `{"backends": [
  {"name": "x", "endpoint": "https://attacker.example", "deployments": ["gpt-4o"], "weight": -1},
  {"name": "y", "endpoint": "https://a.openai.azure.com", "deployments": ["gpt-4o"], "auth": {"mode": "api-key", "setting": "AOAI_KEYS"}}],
 "consumers": [{"name": "team-a", "keySetting": "TEAM_B_KEY"}]}`)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"version 7:2:", "weight", "https://attacker.example", "backends[1].auth.setting (version 7:3:", "TEAM_B_KEY"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

// Where the secrets of the app are not, a document is checked without them.
func TestADocumentIsCheckedWithoutSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		env    map[string]string
		text   string
		ok     bool
		listed bool // what it may name is known
	}{
		"nothing is known":                       {map[string]string{"SPILLWAY_CONFIG_SOURCE": "table:a"}, settingDocument, true, false},
		"nothing is known of hosts":              {map[string]string{"SPILLWAY_CONFIG_SOURCE": "table:a"}, pushedBackend("https://attacker.example", ""), true, false},
		"a fault":                                {map[string]string{"SPILLWAY_CONFIG_SOURCE": "table:a"}, pushedBackend("https://a.openai.azure.com/openai", ""), false, false},
		"the document of the setting":            {map[string]string{"SPILLWAY_CONFIG": settingDocument}, pushedBackend("https://attacker.example", ""), false, true},
		"the list":                               {map[string]string{"SPILLWAY_CONFIG_ALLOW": "TEAM_A_KEY"}, pushedBackend("https://a.openai.azure.com", ""), false, true},
		"a file of the app, which is not here":   {map[string]string{"SPILLWAY_CONFIG": "@/not/here.json"}, settingDocument, true, false},
		"a document of the setting with a fault": {map[string]string{"SPILLWAY_CONFIG": "{"}, settingDocument, true, false},
	} {
		in(t, c.env)
		cfg, err := LoadForConfig()
		if err != nil {
			t.Fatal(name, err)
		}
		next, err := cfg.WithDocument("pool.json", c.text)
		if (err == nil) != c.ok || (err == nil) != (next != nil) || cfg.KnowsAllowed() != c.listed {
			t.Errorf("%s: %v, known %v", name, err, cfg.KnowsAllowed())
		}
	}
}

func TestConfigSource(t *testing.T) {
	for source, want := range map[string]string{"table:": "names no app", "table:a b": "is not allowed here", "tables:a": "is no source", "table:a/../b": "is not allowed here"} {
		if _, err := load(in(t, setting(tableEnv(map[string]string{"SPILLWAY_CONFIG_SOURCE": source}), settingDocument))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", source, err)
		}
	}
	if _, err := load(in(t, setting(map[string]string{"SPILLWAY_CONFIG_SOURCE": "table:a", "SPILLWAY_AUTH": "none"}, one(``)))); err == nil || !strings.Contains(err.Error(), "there is no storage account") {
		t.Errorf("a table without an account: %v", err)
	}
	if cfg := loaded(t, open, one(``)); cfg.Settings.ConfigApp != "" {
		t.Errorf("without a source: %q", cfg.Settings.ConfigApp)
	}
}

func TestDiffOfDocuments(t *testing.T) {
	read := func(text string) *document.Document {
		d, err := document.Parse("", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	before := read(`{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com"}, {"name": "b", "endpoint": "https://b.openai.azure.com", "weight": 1}], "circuitBreaker": {"failures": 5}}`)
	after := read(`{"backends": [{"name": "b", "endpoint": "https://b.openai.azure.com", "weight": 3}, {"name": "c", "endpoint": "https://c.openai.azure.com", "region": "uksouth"}], "circuitBreaker": {"interval": "20s"}}`)
	want := []document.Change{
		{Path: `backends["a"].endpoint`, Before: `"https://a.openai.azure.com"`},
		{Path: `backends["a"].name`, Before: `"a"`},
		{Path: `backends["b"].weight`, After: `3`},
		{Path: `backends["c"].endpoint`, After: `"https://c.openai.azure.com"`},
		{Path: `backends["c"].name`, After: `"c"`},
		{Path: `backends["c"].region`, After: `"uksouth"`},
		{Path: `circuitBreaker.interval`, After: `"20s"`},
	}
	if d := cmp.Diff(want, document.Diff(before, after)); d != "" {
		t.Error(d)
	}
	if got := document.Diff(before, before); got != nil {
		t.Errorf("of one with itself: %v", got)
	}
	if got := document.Diff(nil, before); len(got) != 4 {
		t.Errorf("of nothing: %v", got)
	}
}
