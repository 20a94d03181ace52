package migrate

import (
	"bytes"
	"strings"
	"testing"
)

// TestLiteLLMChangesNothingInSilence holds what LiteLLM's documentation says of
// providers, keys, prefixes and shares: the document does the same, or the list
// names the difference.
func TestLiteLLMChangesNothingInSilence(t *testing.T) {
	for _, c := range []struct {
		name, config string
		document     []string // parts of the document
		not          []string // none of these is part of it
		said         []string // parts of the list
	}{
		{
			"an entry of OpenAI without a key has OPENAI_API_KEY", `{model_name: gpt-4o, litellm_params: {model: openai/gpt-4o}}`,
			[]string{`"mode": "api-key"`, `"setting": "OPENAI_API_KEY"`},
			[]string{`"none"`},
			[]string{"OPENAI_API_KEY: keep it", "has no api_key", "has no api_base: it goes to https://api.openai.com/v1"},
		},
		{
			"an entry of Azure without a key has AZURE_API_KEY", `{model_name: m, litellm_params: {model: azure/m, api_base: https://a.openai.azure.com}}`,
			[]string{`"setting": "AZURE_API_KEY"`},
			nil,
			[]string{"AZURE_API_KEY: keep it", `write "mode": "managed-identity" into auth`},
		},
		{
			"an entry of Azure with an application has an identity", `{model_name: m, litellm_params: {model: azure/m, api_base: https://a.openai.azure.com, client_id: x, client_secret: hunter2}}`,
			nil,
			[]string{`"auth"`},
			[]string{"as the application in client_id", "needs the role"},
		},
		{
			"a key that is a word for none", `{model_name: m, litellm_params: {model: openai/m, api_base: https://a.example/v1, api_key: None}}`,
			[]string{`"mode": "none"`},
			nil,
			[]string{`"None" is no key`},
		},
		{
			"models of other providers are listed", `{model_name: claude, litellm_params: {model: claude-sonnet-4-5}}, {model_name: m, litellm_params: {model: gpt-4o, api_key: os.environ/K}}, {model_name: oss, litellm_params: {model: gpt-oss-120b}}`,
			[]string{`"gpt-4o"`},
			[]string{"claude", "oss"},
			[]string{`"claude-sonnet-4-5" names no provider`, `"gpt-oss-120b" names no provider`},
		},
		{
			"the provider may stand alone", `{model_name: m, litellm_params: {model: m, custom_llm_provider: groq, api_key: k}}, {model_name: n, litellm_params: {model: n, custom_llm_provider: azure, api_base: https://a.openai.azure.com, api_key: k}}`,
			[]string{`"n"`},
			[]string{`"m"`},
			[]string{`"m" is a model of groq`},
		},
		{
			"prefixes of a deployment choose a translation", `{model_name: a, litellm_params: {model: azure/o_series/o4, api_base: https://a.openai.azure.com, api_key: k}}, {model_name: b, litellm_params: {model: azure/responses/gpt-5, api_base: https://a.openai.azure.com, api_key: k}}, {model_name: c, litellm_params: {model: openai/responses/o3, api_key: k}}`,
			[]string{`"a": "o4"`, `"b": "gpt-5"`, `"c": "o3"`},
			[]string{"o_series", "responses/"},
			[]string{`adapted the parameters for "o4"`, `turned chat completions for "gpt-5" into responses`, `turned chat completions for "o3" into responses`},
		},
		{
			"a deployment has no slash", `{model_name: a, litellm_params: {model: azure/eu/gpt-4o, api_base: https://a.openai.azure.com, api_key: k}}, {model_name: m, litellm_params: {model: gpt-4o, api_key: k}}`,
			nil,
			[]string{"eu/gpt-4o"},
			[]string{`"eu/gpt-4o": a deployment of Azure OpenAI has no "/"`},
		},
		{
			"rpm of one model's entries are shares and limits", `{model_name: m, litellm_params: {model: azure/m, api_base: https://a.openai.azure.com, api_key: k, rpm: 900}}, {model_name: m, litellm_params: {model: azure/m, api_base: https://b.openai.azure.com, api_key: k, rpm: 100}}, {model_name: n, litellm_params: {model: azure/n, api_base: https://b.openai.azure.com, api_key: k, rpm: 7}}`,
			[]string{`"weight": 900`, `"weight": 100`},
			[]string{`"weight": 7`},
			[]string{`"m" shares its requests by rpm in LiteLLM: this backend has the weight 900`, "model_list[0].litellm_params.rpm: as a limit", "model_list[2].litellm_params.rpm: as a limit"},
		},
		{
			"weight goes before rpm", `{model_name: m, litellm_params: {model: azure/m, api_base: https://a.openai.azure.com, api_key: k, weight: 0.9, rpm: 5}}, {model_name: m, litellm_params: {model: azure/m, api_base: https://b.openai.azure.com, api_key: k, weight: 0.1, rpm: 500}}`,
			[]string{`"weight": 9`},
			[]string{`"weight": 5`},
			[]string{"its weight is 9 now", "model_list[0].litellm_params.rpm: as a limit"},
		},
		{
			"a deployment is named once", `{model_name: m, litellm_params: {model: gpt-4o, api_key: k}}, {model_name: m, litellm_params: {model: gpt-4o, api_key: l}}, {model_name: n, litellm_params: {model: azure/, api_base: https://a.openai.azure.com, api_key: k}}`,
			[]string{`"m": "gpt-4o"`, `"AOAI_KEY_OPENAI"`},
			[]string{"AOAI_KEY_OPENAI_2", `"n"`},
			[]string{`"m" of backend "openai-2" (AOAI_KEY_OPENAI_2): backend "openai" sends it to the same deployment`, `"azure/" names no model`},
		},
		{
			"facts about a model are listed", `{model_name: m, litellm_params: {model: azure/m, api_base: https://a.openai.azure.com, api_key: k}, model_info: {id: x, mode: chat, base_model: azure/gpt-4o, team_id: z}}`,
			nil,
			nil,
			[]string{"model_info.id:", "model_info.mode:", "model_info.base_model:", "model_info.team_id"},
		},
		{
			"clear text to another machine is left out", `{model_name: m, litellm_params: {model: hosted_vllm/m, api_base: "http://vllm:8000/v1"}}, {model_name: "*", litellm_params: {model: "*"}}, {model_name: n, litellm_params: {model: azure/n, api_base: https://a.openai.azure.com, api_key: k}}`,
			[]string{`"n"`},
			[]string{"vllm"},
			[]string{"clear text", `"*" is any model of any provider`},
		},
		{
			"an address of one operation", `{model_name: m, litellm_params: {model: azure/m, api_base: "https://a.openai.azure.com/openai/deployments/m/chat/completions?api-version=1", api_key: k}}`,
			[]string{`"https://a.openai.azure.com"`},
			nil,
			[]string{"the endpoint is https://a.openai.azure.com"},
		},
		{
			"variables of a file that is filled in first", "{model_name: m, litellm_params: {model: azure/m, api_base: '${BASE}', api_key: '${KEY}'}}",
			[]string{`"https://from-env.openai.azure.com"`, `"setting": "KEY"`},
			[]string{"never", "${"},
			[]string{"KEY: keep it"},
		},
		{
			"an address in a variable", `{model_name: m, litellm_params: {model: os.environ/MODEL, api_base: os.environ/BASE, api_key: os.environ/KEY}}`,
			[]string{`"https://from-env.openai.azure.com"`, `"m": "deployed"`, `"setting": "KEY"`},
			[]string{"never"},
			nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			known := map[string]string{"MODEL": "azure/deployed", "BASE": "https://from-env.openai.azure.com/", "KEY": "never"}
			r, err := Import("litellm", []byte("model_list: ["+c.config+"]"), Options{Getenv: func(name string) string { return known[name] }})
			if err != nil {
				t.Fatal(err)
			}
			document, said := string(r.Document.Print()), new(bytes.Buffer)
			if err := r.Report(said); err != nil {
				t.Fatal(err)
			}
			wantParts(t, document, c.document, c.not)
			wantParts(t, said.String(), c.said, []string{"Still to be corrected"})
		})
	}
}

func wantParts(t *testing.T, text string, parts, not []string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
	for _, part := range not {
		if strings.Contains(text, part) {
			t.Errorf("%q is in\n%s", part, text)
		}
	}
}

// TestMembersWrittenTwice: PyYAML, which reads LiteLLM's files, takes the last.
func TestMembersWrittenTwice(t *testing.T) {
	const config = `
model_list:
  - model_name: m
    litellm_params: {model: azure/m, api_base: https://first.openai.azure.com, api_base: https://last.openai.azure.com, api_key: k}
router_settings: {allowed_fails: 3}
router_settings: {allowed_fails: 7}
`
	r, err := Import("litellm", []byte(config), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b := r.Document.Backends[0]; b.Endpoint != "https://last.openai.azure.com" || r.Document.CircuitBreaker.Failures != 8 {
		t.Errorf("got %q and %d failures", b.Endpoint, r.Document.CircuitBreaker.Failures)
	}
	said := strings.Join(r.Changed, "\n")
	wantParts(t, said, []string{"model_list[0].litellm_params.api_base is written twice", "router_settings is written twice"}, nil)
	r, err = Import("bifrost", []byte(`{"providers": {"openai": {"keys": [{"value": "env.A", "value": "env.B", "weight": 1}]}}}`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Document.Backends[0].Auth.Setting != "B" || !strings.Contains(r.Changed[0], "providers.openai.keys[0].value is written twice") {
		t.Errorf("got %+v, said %q", r.Document.Backends[0].Auth, r.Changed)
	}
}

// TestAliasesThatMultiplyAreRefused: ten levels of ten aliases are 10^10 values.
func TestAliasesThatMultiplyAreRefused(t *testing.T) {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		from, to := string(rune('0'+i)), string(rune('1'+i))
		text += "a" + to + ": &a" + to + " [*a" + from + strings.Repeat(", *a"+from, 9) + "]\n"
	}
	if _, _, err := parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "more than 100000 values") {
		t.Errorf("got %v", err)
	}
}
