package config

import "strings"

// broken is a configuration that must be refused, by what is wrong with it.
type broken struct {
	name string
	env  map[string]string // besides SPILLWAY_CONFIG
	text string            // SPILLWAY_CONFIG
}

// one is a document with one backend, which has these fields too.
func one(fields string) string {
	return `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com"` + fields + `}]}`
}

// two is a document with two backends for two models, and these parts too.
func two(rest string) string {
	return `{
  "backends": [
    {"name": "a", "endpoint": "https://a.openai.azure.com", "geography": "eu", "deployments": ["gpt-4o"]},
    {"name": "b", "endpoint": "https://b.openai.azure.com", "geography": "us", "priority": 2, "deployments": ["gpt-4o", "gpt-4o-mini"]}
  ]` + rest + `
}`
}

var (
	teamA  = map[string]string{"TEAM_A_KEY": "0123456789abcdef0123456789abcdef"}
	teamAB = map[string]string{"TEAM_A_KEY": "0123456789abcdef0123456789abcdef", "TEAM_B_KEY": "0123456789abcdef0123456789abcdee"}
	entra  = map[string]string{"SPILLWAY_AUTH": "entra", "SPILLWAY_ENTRA_TENANT": "contoso.onmicrosoft.com", "SPILLWAY_ENTRA_AUDIENCE": "api://spillway"}
	open   = map[string]string{"SPILLWAY_AUTH": "none"}
)

// with is a document of two backends and one consumer with these fields.
func with(fields string) string {
	return two(`,
  "consumers": [{"name": "team-a", "keySetting": "TEAM_A_KEY"` + fields + `}]`)
}

// adopted is a document of two consumers whose backend has this member, too.
func adopted(member string) string {
	return strings.TrimSuffix(one(", "+member), "}") + `, "consumers": [{"name": "team-a", "keySetting": "TEAM_A_KEY"}, {"name": "other", "keySetting": "TEAM_B_KEY"}]}`
}

// brokenTexts are not JSON, or not a document.
var brokenTexts = []broken{
	{"nothing at all", nil, ""},
	{"only spaces", nil, "  \n "},
	{"no backends", open, `{}`},
	{"an empty list of backends", open, `{"backends": []}`},
	{"a list instead of an object", open, `[{"name": "a"}]`},
	{"the document quoted once too often", open, `"{\"backends\": []}"`},
	{"backslashes before the quotes", open, `{\"backends\": []}`},
	{"cut off in the middle", open, `{"backends": [{"name": "a", "endpoint": "https://a`},
	{"a trailing comma", open, "{\n  \"backends\": [\n    {\"name\": \"a\",}\n  ]\n}"},
	{"a comment", open, "{\n  // the PTU\n  \"backends\": []\n}"},
	{"single quotes", open, `{'backends': []}`},
	{"names without quotes", open, `{backends: []}`},
	{"a missing comma", open, `{"backends": [] "models": {}}`},
	{"a word without quotes", open, `{"backends": [{"name": ptu}]}`},
	{"two documents", open, `{"backends": []} {"backends": []}`},
	{"no UTF-8", open, "{\"backends\": [{\"name\": \"\xff\xfe\"}]}"},
	{"brackets without end", open, strings.Repeat("[", 100) + strings.Repeat("]", 100)},
	{"an unresolved Key Vault reference", open, "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/pool)"},
	{"a file that is not there", open, "@testdata/nowhere.json"},
	{"a file with a fault", open, "@testdata/faulty.json"},
}

// brokenShapes are JSON, but not in the shape of a document: a schema sees it.
var brokenShapes = []broken{
	{"an unknown field, misspelt", open, one(`, "priorty": 1`)},
	{"an unknown field in the wrong case", open, one(`, "Priority": 1`)},
	{"a field by the name that others give it", open, one(`, "url": "https://a.openai.azure.com"`)},
	{"a key in the document", open, one(`, "apiKey": "5f2c9d1e5f2c9d1e5f2c9d1e5f2c9d1e"`)},
	{"an unknown field like no other", open, one(`, "colour": "blue"`)},
	{"a caller's header that is no name of ours to give", open, one(`, "callerHeader": "Authorization"`)},
	{"a caller's header that means something else", open, one(`, "callerHeader": "X-MS-Client-Principal"`)},
	{"a header to pass that means something else", open, one(`, "passHeaders": ["x-priority", "x-forwarded-for", "Authorization"]`)},
	{"an unknown part", open, two(`, "circuitBreakers": {}`)},
	{"a number in quotes", open, one(`, "priority": "1"`)},
	{"a number with a fraction", open, one(`, "weight": 1.5`)},
	{"a negative weight", open, one(`, "weight": -1`)},
	{"a number beyond all bounds", open, one(`, "priority": 1e400`)},
	{"a boolean in quotes", open, one(`, "stateful": "true"`)},
	{"a name that is a number", open, `{"backends": [{"name": 1, "endpoint": "https://a.openai.azure.com"}]}`},
	{"a name with a slash", open, `{"backends": [{"name": "a/b", "endpoint": "https://a.openai.azure.com"}]}`},
	{"no name and no endpoint", open, `{"backends": [{"priority": 1}]}`},
	{"a backend that is a string", open, `{"backends": ["https://a.openai.azure.com"]}`},
	{"a kind that does not exist", open, one(`, "kind": "azure_openai"`)},
	{"a capacity that does not exist", open, one(`, "capacity": "PTU"`)},
	{"a geography in capitals", open, one(`, "geography": "EU"`)},
	{"deployments as one string", open, one(`, "deployments": "gpt-4o"`)},
	{"a model name with a space", open, one(`, "deployments": ["gpt 4o"]`)},
	{"a deployment that is no string", open, one(`, "deployments": {"gpt-4o": 4}`)},
	{"a key where the name of a setting belongs", open, one(`, "auth": {"mode": "api-key", "setting": "5f2c9d1e-not-a-name!"}`)},
	{"an auth mode that does not exist", open, one(`, "auth": {"mode": "managedidentity"}`)},
	{"an auth that is a string", open, one(`, "auth": "managed-identity"`)},
	{"a client id that is no GUID", open, one(`, "auth": {"clientId": "my-identity"}`)},
	{"a duration without a unit", open, two(`, "circuitBreaker": {"interval": 10}`)},
	{"a duration in words", open, two(`, "circuitBreaker": {"interval": "10 seconds"}`)},
	{"no duration at all", open, two(`, "circuitBreaker": {"tripDuration": "0s"}`)},
	{"a percentage over 100", open, two(`, "circuitBreaker": {"percentage": 150}`)},
	{"a status code without quotes", open, two(`, "circuitBreaker": {"statusCodes": [500]}`)},
	{"a trip longer than a day", open, two(`, "circuitBreaker": {"maxTripDuration": "25h"}`)},
	{"a wait longer than a day", open, two(`, "throttle": {"maxWait": "24h1s"}`)},
	{"a member of the pool's breaker at a backend", open, one(`, "circuitBreaker": {"statusCodes": ["500"]}`)},
	{"a number of failures at a backend that is none", open, one(`, "circuitBreaker": {"failures": 0}`)},
	{"no attempts", open, two(`, "models": {"gpt-4o": {"attempts": 0}}`)},
	{"a share over 1", open, two(`, "throttle": {"leaveAt": {"remainingTokens": 2}}`)},
	{"models as a list", open, two(`, "models": ["gpt-4o"]`)},
	{"a strategy that does not exist", open, two(`, "models": {"gpt-4o": {"strategy": "roundrobin"}}`)},
	{"a hedge without a delay", open, two(`, "models": {"gpt-4o": {"hedge": {"maxPercent": 5}}}`)},
	{"a hedge after a percentile that is none", open, two(`, "models": {"gpt-4o": {"hedge": {"after": "p100"}}}`)},
	{"a currency sign", open, two(`, "models": {"gpt-4o": {"price": {"currency": "$"}}}`)},
	{"a model name with a slash", open, two(`, "models": {"gpt/4o": {}}`)},
	{"three keys for one consumer", teamA, with(`, "keySettings": ["A_KEY", "B_KEY", "C_KEY"]`)},
	{"an empty list of models", teamA, with(`, "models": []`)},
	{"a class that does not exist", teamA, with(`, "class": "background"`)},
	{"a limit of nothing", teamA, with(`, "tokensPerMinute": 0`)},
	{"limits by the names that others give them", teamA, with(`, "tpm": 1000, "maxPriority": 2`)},
	{"an app id that is no GUID", teamA, with(`, "entra": {"appId": "team-a"}`)},
}

// brokenMeanings have the right shape, but cannot work.
var brokenMeanings = []broken{
	{"a field given twice", open, one(`, "priority": 1, "priority": 2`)},
	{"two backends of one name", open, `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com"}, {"name": "A", "endpoint": "https://b.openai.azure.com"}]}`},
	{"one deployment twice", open, `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com", "deployments": ["gpt-4o"]}, {"name": "b", "endpoint": "https://A.openai.azure.com/", "deployments": ["gpt-4o"]}]}`},
	{"all backends drained", open, one(`, "weight": 0`)},
	{"an endpoint without a scheme", open, `{"backends": [{"name": "a", "endpoint": "a.openai.azure.com"}]}`},
	{"an endpoint in clear text", open, `{"backends": [{"name": "a", "endpoint": "http://a.openai.azure.com"}]}`},
	{"an endpoint with credentials", open, `{"backends": [{"name": "a", "endpoint": "https://user:hunter2@a.openai.azure.com"}]}`},
	{"an endpoint with a query", open, `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com?api-version=2024-10-21"}]}`},
	{"an endpoint that ends in /openai", open, `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com/openai/"}]}`},
	{"an endpoint of one deployment", open, `{"backends": [{"name": "a", "endpoint": "https://a.openai.azure.com/openai/deployments/gpt-4o/chat/completions"}]}`},
	{"a Foundry project", open, `{"backends": [{"name": "a", "endpoint": "https://a.services.ai.azure.com/api/projects/p"}]}`},
	{"OpenAI itself", open, `{"backends": [{"name": "a", "endpoint": "https://api.openai.com/v1"}]}`},
	{"a page of the portal", open, `{"backends": [{"name": "a", "endpoint": "https://portal.azure.com/#@contoso/resource"}]}`},
	{"a placeholder", open, `{"backends": [{"name": "a", "endpoint": "https://<name>.openai.azure.com"}]}`},
	{"a path that proxies read in different ways", open, `{"backends": [{"name": "a", "endpoint": "https://a.contoso.com/x/../y"}]}`},
	{"an api key without a setting", open, one(`, "auth": {"mode": "api-key"}`)},
	{"a setting without the mode", open, one(`, "auth": {"setting": "AOAI_KEY"}`)},
	{"a setting that is not there", map[string]string{"SPILLWAY_AUTH": "none", "AOAI_KEY_SWEDEN": "x"}, one(`, "auth": {"mode": "api-key", "setting": "AOAI_KEY_SWEDN"}`)},
	{"a setting that Key Vault did not fill", map[string]string{"SPILLWAY_AUTH": "none", "AOAI_KEY": "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/k)"}, one(`, "auth": {"mode": "api-key", "setting": "AOAI_KEY"}`)},
	{"a key with a line break", map[string]string{"SPILLWAY_AUTH": "none", "AOAI_KEY": "5f2c9d1e5f2c9d1e\n"}, one(`, "auth": {"mode": "api-key", "setting": "AOAI_KEY"}`)},
	{"an identity for a self-hosted model", open, one(`, "kind": "openai"`)},
	{"callers' tokens for a self-hosted model", open, one(`, "kind": "openai", "auth": {"mode": "pass-through"}`)},
	{"no deployments", open, one(`, "deployments": []`)},
	{"a deployment named twice", open, one(`, "deployments": ["gpt-4o", "gpt-4o"]`)},
	{"a star for a deployment", open, one(`, "deployments": {"gpt-4o": "*"}`)},
	{"one region in two spellings", open, one(`, "priorityIn": {"westeurope": 1, "West Europe": 2}`)},
	{"a model that no backend serves", open, two(`, "models": {"gpt-4o-mni": {}}`)},
	{"settings for any model, but none is served", open, two(`, "models": {"*": {}}`)},
	{"an alias that is a model", open, two(`, "models": {"gpt-4o": {"aliases": ["gpt-4o-mini"]}}`)},
	{"an alias of two models", open, two(`, "models": {"gpt-4o": {"aliases": ["best"]}, "gpt-4o-mini": {"aliases": ["best"]}}`)},
	{"an unknown fallback", open, two(`, "models": {"gpt-4o": {"fallbacks": ["gpt-4o-min"]}}`)},
	{"a fallback to itself", open, two(`, "models": {"gpt-4o": {"aliases": ["best"], "fallbacks": ["best"]}}`)},
	{"fallbacks in a circle", open, two(`, "models": {"gpt-4o": {"fallbacks": ["gpt-4o-mini"]}, "gpt-4o-mini": {"fallbacks": ["gpt-4o"]}}`)},
	{"two currencies", open, two(`, "models": {"gpt-4o": {"price": {"input": 1}}, "gpt-4o-mini": {"price": {"currency": "EUR", "input": 1}}}`)},
	{"more failures than anybody sees in the interval", open, two(`, "circuitBreaker": {"interval": "1ms", "failures": 500}`)},
	{"a longest trip of a backend that is shorter than the pool's trip", open, one(`, "circuitBreaker": {"maxTripDuration": "5s"}`)},
	{"a longest wait of a backend that is shorter than its own", open, one(`, "throttle": {"defaultWait": "6m"}`)},
	{"a longest trip that is shorter", open, two(`, "circuitBreaker": {"tripDuration": "10m"}`)},
	{"a longest wait that is shorter", open, two(`, "throttle": {"maxWait": "1s"}`)},
	{"two consumers of one name", teamA, two(`, "consumers": [{"name": "team-a", "keySetting": "TEAM_A_KEY"}, {"name": "team-a", "keySetting": "TEAM_A_KEY"}]`)},
	{"adoption for nobody", teamA, one(`, "adopt": "team-a"`)},
	{"adoption for a consumer that is misspelt", teamAB, adopted(`"adopt": "team-b"`)},
	{"adoption without a table", teamAB, adopted(`"adopt": "team-a"`)},
	{"two consumers with one key", map[string]string{"A_KEY": "0123456789abcdef0123", "B_KEY": "0123456789abcdef0123"}, two(`, "consumers": [{"name": "a", "keySetting": "A_KEY"}, {"name": "b", "keySetting": "B_KEY"}]`)},
	{"a key that can be guessed", map[string]string{"TEAM_A_KEY": "secret"}, with(``)},
	{"a consumer without a key", teamA, two(`, "consumers": [{"name": "team-a"}]`)},
	{"a consumer without a token", entra, with(``)},
	{"a consumer of unknown models", teamA, with(`, "models": ["gpt-4o", "gpt-5"]`)},
	{"limits for a model that it may not use", teamA, with(`, "models": ["gpt-4o"], "perModel": {"gpt-4o-mini": {"tokensPerMinute": 1}}`)},
	{"a geography of nobody", teamA, with(`, "geographies": ["uk"]`)},
	{"a fence that leaves a model nothing", teamA, with(`, "models": ["gpt-4o-mini"], "geographies": ["eu"]`)},
	{"a priority that leaves nothing", teamA, with(`, "minPriority": 3`)},
	{"a budget without a price", teamA, with(`, "budgetPerMonth": 100`)},
	{"an empty entra", teamA, with(`, "entra": {}`)},
	{"one application, two consumers", entra, two(`, "consumers": [{"name": "a", "entra": {"role": "Call"}}, {"name": "b", "entra": {"role": "Call"}}]`)},
}

// brokenSettings have a good document, but settings that are not.
var brokenSettings = []broken{
	{"nobody could be let in", nil, two(``)},
	{"nobody could be let in, table or not", map[string]string{"SPILLWAY_STATE": "UseDevelopmentStorage=true"}, two(``)},
	{"tokens of nobody", map[string]string{"SPILLWAY_AUTH": "entra", "SPILLWAY_ENTRA_TENANT": "t", "SPILLWAY_ENTRA_AUDIENCE": "a"}, two(``)},
	{"two ways in, and nobody takes the second", map[string]string{"SPILLWAY_AUTH": "key,entra", "SPILLWAY_ENTRA_TENANT": "t", "SPILLWAY_ENTRA_AUDIENCE": "a", "TEAM_A_KEY": teamA["TEAM_A_KEY"]}, with(``)},
	{"two ways in, and nobody takes the first", map[string]string{"SPILLWAY_AUTH": "key,entra", "SPILLWAY_ENTRA_TENANT": "t", "SPILLWAY_ENTRA_AUDIENCE": "a"}, two(`, "consumers": [{"name": "a", "entra": {"role": "Call"}}]`)},
	{"a way in that does not exist", map[string]string{"SPILLWAY_AUTH": "keys"}, two(``)},
	{"none and something else", map[string]string{"SPILLWAY_AUTH": "none,key"}, two(``)},
	{"tokens of any tenant for anything", map[string]string{"SPILLWAY_AUTH": "entra"}, two(``)},
	{"tokens of every tenant", map[string]string{"SPILLWAY_AUTH": "entra", "SPILLWAY_ENTRA_TENANT": "common", "SPILLWAY_ENTRA_AUDIENCE": "a"}, two(``)},
	{"operators by tokens of nobody in particular", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_OPERATOR_ROLE": "Spillway.Operator"}, two(``)},
	{"an issuer in clear text", map[string]string{"SPILLWAY_AUTH": "entra", "SPILLWAY_ENTRA_ISSUER": "http://contoso.com", "SPILLWAY_ENTRA_AUDIENCE": "a"}, two(``)},
	{"a webhook without its secret", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_WEBHOOK": "http://alerts.example.com/T0/secret"}, two(``)},
	{"a mark beyond the limit", map[string]string{"TEAM_A_KEY": "0123456789abcdef0123"}, with(`, "warnAt": [80, 120], "perCaller": {"budgetPerMonth": 5}`)},
	{"a short operator key", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_OPERATOR_KEY": "admin"}, two(``)},
	{"the operators' key for a consumer", map[string]string{"TEAM_A_KEY": "0123456789abcdef0123", "SPILLWAY_OPERATOR_KEY": "0123456789abcdef0123"}, with(``)},
	{"all values wrong at once", map[string]string{
		"SPILLWAY_AUTH": "none", "SPILLWAY_STATE_REFRESH": "1ms", "SPILLWAY_STATE_TABLE": "spill-way", "SPILLWAY_FIRST_TOKEN_TIMEOUT": "60",
		"SPILLWAY_RESPONSE_TIMEOUT": "forever", "SPILLWAY_COMMIT_AFTER": "-1s", "SPILLWAY_HEARTBEAT": "10ms", "SPILLWAY_MAX_WAIT": "1h",
		"SPILLWAY_MAX_BODY": "100 megs", "SPILLWAY_EXPOSE": "yes please", "SPILLWAY_LOG_LEVEL": "warning", "SPILLWAY_TRANSCRIPTS": "My Container",
		"SPILLWAY_LISTEN": "nowhere at all", "FUNCTIONS_CUSTOMHANDLER_PORT": "http", "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317",
	}, two(``)},
	{"a body without bounds", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_MAX_BODY": "10GB"}, two(``)},
	{"a memory limit in which nothing fits", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_MEMORY_LIMIT": "10MB"}, two(``)},
	{"a misspelt setting", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_MAXBODY": "1MiB"}, two(``)},
	{"a connection string cut short", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_STATE": "DefaultEndpointsProtocol=https;AccountName=contoso"}, two(``)},
	{"a connection string that is a URL", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_STATE": "https://contoso.table.core.windows.net"}, two(``)},
	{"a connection string of nobody", map[string]string{"SPILLWAY_AUTH": "none", "AzureWebJobsStorage": "AccountKey=bm90IGEga2V5"}, two(``)},
	{"a connection from Key Vault that was not resolved", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_STATE": "@Microsoft.KeyVault(VaultName=v;SecretName=s)"}, two(``)},
	{"an identity for no account", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_STATE__credential": "managedidentity"}, two(``)},
	{"an identity written wrongly", map[string]string{
		"SPILLWAY_AUTH": "none", "SPILLWAY_STATE__accountName": "Contoso_Storage", "SPILLWAY_STATE__credential": "msi",
		"SPILLWAY_STATE__clientId": "me", "SPILLWAY_STATE__tableServiceUrl": "https://contoso.table.core.windows.net",
	}, two(``)},
	{"a table service in clear text", map[string]string{"SPILLWAY_AUTH": "none", "SPILLWAY_STATE__tableServiceUri": "http://contoso.table.core.windows.net"}, two(``)},
}

// brokenNumbers are settings of openai-aca-lb that are wrong.
var brokenNumbers = []broken{
	{"a number without a URL and a priority", map[string]string{"SPILLWAY_AUTH": "none", "BACKEND_1_APIKEY": "0123456789abcdef"}, ""},
	{"numbers with all values wrong", map[string]string{
		"SPILLWAY_AUTH": "none", "HTTP_TIMEOUT_SECONDS": "soon",
		"BACKEND_1_URL": "http://a.openai.azure.com", "BACKEND_1_PRIORITY": "high", "BACKEND_1_APIKEY": "<key>",
		"BACKEND_2_URL": "https://b.openai.azure.com/openai", "BACKEND_2_PRIORITY": "2", "BACKEND_2_DEPLOYMENTNAME": "gpt", "backend_2_deployment_name": "a b",
	}, ""},
	{"numbers and nobody let in", map[string]string{"BACKEND_1_URL": "https://a.openai.azure.com", "BACKEND_1_PRIORITY": "1"}, ""},
}
