package migrate

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// apimPool is a pool with one backend, whose properties have this beside its URL.
func apimPool(more string) string {
	return `{"value": [{"name": "b", "type": "Microsoft.ApiManagement/service/backends", "properties": {"url": "https://b.openai.azure.com/openai"` + more + `}},
		{"name": "p", "type": "Microsoft.ApiManagement/service/backends", "properties": {"type": "Pool", "pool": {"services": [{"id": "/backends/b"}]}}}]}`
}

// refused is what an import says of a credential that Spillway does not send.
const refused = `the backend "b" is called with credentials that Spillway does not send`

// TestNoCredentialGoesElsewhere holds, source by source, that a key goes where it
// went before and nowhere else, and that nothing is called by another credential in
// silence.
func TestNoCredentialGoesElsewhere(t *testing.T) {
	for _, c := range []struct {
		name, source, text string
		document           []string // parts of the document
		not                []string // none of these is part of it
		said               []string // parts of the list
	}{
		{
			"two keys of one name", "bifrost", `{"providers": {
				"azure": {"keys": [{"name": "main", "value": "k1", "models": ["m"], "azure_key_config": {"endpoint": "https://a.openai.azure.com"}}]},
				"openai": {"keys": [{"name": "main", "value": "k2", "models": ["m"]}]}}}`,
			[]string{`"KEY_MAIN"`, `"KEY_MAIN_2"`},
			nil,
			[]string{"KEY_MAIN: the key of https://a.openai.azure.com", "KEY_MAIN_2: the key of https://api.openai.com/v1", "another key has the setting KEY_MAIN"},
		},
		{
			"one key twice", "bifrost", `{"providers": {"azure": {"keys": [
				{"name": "main", "value": "k1", "models": ["m"], "azure_key_config": {"endpoint": "https://a.openai.azure.com"}},
				{"name": "other", "value": "k1", "models": ["n"], "azure_key_config": {"endpoint": "https://a.openai.azure.com"}}]}}}`,
			[]string{`"KEY_MAIN"`},
			[]string{"KEY_OTHER"},
			nil,
		},
		{
			"a caller's key and a backend's", "bifrost", `{"providers": {"azure": {"keys": [{"name": "x", "value": "k1", "models": ["m"], "azure_key_config": {"endpoint": "https://a.openai.azure.com"}}]}},
				"governance": {"virtual_keys": [{"name": "key x", "value": "sk-bf-1234"}, {"name": "key-x", "value": "sk-bf-4321"}]}}`,
			[]string{`"KEY_X"`, `"KEY_X_KEY"`, `"KEY_X_KEY_2"`},
			nil,
			[]string{"KEY_X_KEY: the key in the file has fewer than 16 characters"},
		},
		{
			"names that differ in signs", "list", `[{"name": "llm.a", "url": "https://a.openai.azure.com", "key": "k1"}, {"name": "llm-a", "url": "https://b.openai.azure.com", "key": "k2"}]`,
			[]string{`"AOAI_KEY_LLM_A"`, `"AOAI_KEY_LLM_A_2"`},
			nil,
			[]string{"AOAI_KEY_LLM_A: the key of https://a.openai.azure.com", "AOAI_KEY_LLM_A_2: the key of https://b.openai.azure.com"},
		},
		{
			"endpoints that differ in signs", "powerproxy", `{"aoai": {"endpoints": [{"name": "Some Endpoint", "url": "https://a.openai.azure.com", "key": "k1"}, {"name": "some-endpoint", "url": "https://b.openai.azure.com", "key": "k2"}]},
				"clients": [{"name": "aoai", "key": "c1"}]}`,
			[]string{`"AOAI_KEY_SOME_ENDPOINT"`, `"AOAI_KEY_SOME_ENDPOINT_2"`},
			nil,
			[]string{"another key has the setting AOAI_KEY_SOME_ENDPOINT"},
		},
		{
			"a made-up name is a variable of the file", "litellm", `model_list: [{model_name: m, litellm_params: {model: azure/m, api_base: https://contoso.openai.azure.com, api_key: k1}},
				{model_name: m, litellm_params: {model: azure/m, api_base: https://fabrikam.openai.azure.com, api_key: os.environ/AOAI_KEY_CONTOSO}}]`,
			[]string{`"AOAI_KEY_CONTOSO_2"`, `"AOAI_KEY_CONTOSO"`},
			nil,
			[]string{"AOAI_KEY_CONTOSO_2: the key of https://contoso", "AOAI_KEY_CONTOSO: keep it, it holds the key of https://fabrikam"},
		},
		{
			"another service gets no key of OpenAI's", "litellm", `model_list: [{model_name: l, litellm_params: {model: openai/llama, api_base: https://api.groq.com/openai/v1}}, {model_name: g, litellm_params: {model: gpt-4o}},
				{model_name: o, litellm_params: {model: openai/llama, api_base: https://groq.example/v1}}, {model_name: v, litellm_params: {model: hosted_vllm/v, api_base: https://vllm.example/v1}}]`,
			[]string{`"GROQ_API_KEY"`, `"GROQ_API_KEY_2"`, `"OPENAI_API_KEY"`, `"HOSTED_VLLM_API_KEY"`},
			nil,
			[]string{"GROQ_API_KEY: the key of https://api.groq.com/openai/v1, which the file does not have", "LiteLLM sends OPENAI_API_KEY to https://api.groq.com/openai/v1, which is another service"},
		},
		{
			"a named credential", "litellm", `{credential_list: [{credential_name: eu, credential_values: {api_key: os.environ/EU_KEY, api_base: https://eu.openai.azure.com, other: 1}}],
				model_list: [{model_name: m, litellm_params: {model: azure/m, litellm_credential_name: eu}}, {model_name: n, litellm_params: {model: azure/n, litellm_credential_name: gone}}]}`,
			[]string{`"https://eu.openai.azure.com"`, `"EU_KEY"`},
			[]string{`"AZURE_API_KEY"`, `"n"`},
			[]string{"model_list[1]: its litellm_credential_name is not in credential_list", "credential_list[0].credential_values.other"},
		},
		{
			"a token that is exchanged", "litellm", `model_list: [{model_name: m, litellm_params: {model: azure/m, api_base: https://a.openai.azure.com, api_key: oidc/github/api}}, {model_name: n, litellm_params: {model: openai/n, api_key: oidc/github/api}}]`,
			nil,
			[]string{`"auth"`, `"n"`},
			[]string{"as the application in api_key", "LiteLLM exchanges it (oidc/) for a token"},
		},
		{
			"the deployment in an address", "litellm", `model_list: [{model_name: m, litellm_params: {model: azure/m, api_base: "https://a.openai.azure.com/openai/deployments/m-eu/chat/completions?api-version=1", api_key: k}}]`,
			[]string{`"m": "m-eu"`},
			nil,
			[]string{`names the deployment "m-eu": requests for "m" go there`},
		},
		{
			"callers with a token", "litellm", `{model_list: [{model_name: m, litellm_params: {model: azure/m, api_base: https://a.openai.azure.com, api_key: k}}], general_settings: {enable_jwt_auth: true, master_key: sk-1234}}`,
			[]string{`"LITELLM_MASTER_KEY"`},
			nil,
			[]string{"SPILLWAY_AUTH: key,entra", "general_settings.enable_jwt_auth: callers came with a token", "LITELLM_MASTER_KEY: the key in the file has fewer than 16 characters"},
		},
		{
			"no credentials", "apim-pool", apimPool(""),
			[]string{`"b"`},
			nil,
			[]string{`backend "b" has no credentials in the file`, "the app's own identity calls https://b.openai.azure.com"},
		},
		{
			"credentials of Terraform without anything", "apim-pool", apimPool(`, "credentials": [{"authorization": [], "certificate": [], "header": {}, "query": null}]`),
			[]string{`"b"`},
			nil,
			[]string{`backend "b" has no credentials in the file`},
		},
		{
			"an identity", "apim-pool", apimPool(`, "credentials": {"managedIdentity": {"resource": "https://cognitiveservices.azure.com"}}`), []string{`"b"`}, []string{`"auth"`}, nil,
		},
		{
			"a flattened answer", "apim-pool", `[{"name": "b", "url": "https://b.openai.azure.com", "protocol": "http", "credentials": {"header": {"Api-Key": ["{{k}}"]}}}]`,
			[]string{`"https://b.openai.azure.com"`, `"AOAI_KEY_B"`},
			nil, nil,
		},
		{
			"an entry without type", "apim-pool", `{"value": [{"name": "b", "properties": {"url": "https://b.openai.azure.com/openai/deployments/d"}}]}`,
			[]string{`"https://b.openai.azure.com"`, `"*": "d"`},
			nil,
			[]string{`its address names the deployment "d"`},
		},
		{
			"backends in comments", "openai-apim-lb", `<policies><inbound><set-variable name="listBackends" value="@{ JArray backends = new JArray();
				backends.Add(new JObject() { { "url", "https://a.openai.azure.com/" }, { "priority", 1 }, { "weight", 0.9 }, /* { "api-key", "k" } */ });
				/* backends.Add(new JObject() { { "url", "https://old.openai.azure.com/" } }); } */
				backends.Add(new JObject() { { "url", "https://b.openai.azure.com/" }, { "priority", 1 }, { "weight", 0.1m } }); return backends; }" /></inbound></policies>`,
			[]string{`"https://a.openai.azure.com"`, `"https://b.openai.azure.com"`, `"weight": 9`},
			[]string{"old", "api-key"},
			[]string{`backend "a" has the weight 9 now, for its 0.9`},
		},
		{
			"weights in parts", "list", "https://a.openai.azure.com 1 0.9\nhttps://b.openai.azure.com 1 0.1\nhttps://c.openai.azure.com/openai/deployments/d 2 heavy\n",
			[]string{`"weight": 9`, `"*": "d"`},
			nil,
			[]string{"its weight is no number from 0 on", `its address names the deployment "d"`},
		},
		{
			"a second document", "powerproxy", "aoai: {endpoints: [{url: https://a.openai.azure.com, key: k}]}\n---\naoai: {endpoints: [{url: https://b.openai.azure.com, key: k}]}\n",
			[]string{`"https://a.openai.azure.com"`},
			nil,
			[]string{`1 more documents of the file, behind "---"`},
		},
		{
			"an empty first document", "powerproxy", "---\n---\naoai: {endpoints: [{url: https://a.openai.azure.com, key: k}]}\n",
			[]string{`"https://a.openai.azure.com"`},
			nil, nil,
		},
		{
			"anchors of compose", "aca-lb", "x-env: &env {BACKEND_1_URL: https://a.openai.azure.com}\nservices: {lb: {environment: {<<: *env, BACKEND_1_PRIORITY: 2, BACKEND_1_APIKEY: k}}}\n",
			[]string{`"BACKEND_1_APIKEY"`, `"priority": 2`},
			nil, nil,
		},
		{
			"a policy without an identity", "openai-apim-lb", policy(``, "https://a.openai.azure.com/"),
			[]string{`"https://a.openai.azure.com"`},
			nil,
			[]string{"no identity authenticates in the policy: the app's own calls backends without a key now"},
		},
		{
			"a policy with a token of its own", "openai-apim-lb", policy(`<set-header name="Authorization" exists-action="override"><value>Bearer {{static}}</value></set-header>`, "https://a.openai.azure.com/"),
			nil,
			[]string{"static"},
			[]string{"<set-header> Authorization: Spillway sends tokens of identities and keys only", "no identity authenticates in the policy"},
		},
		{
			"a policy with several identities", "openai-apim-lb", policy(`<authentication-managed-identity resource="https://ai.azure.com" client-id="@(context.Variables["id"])" />
				<authentication-managed-identity resource="https://cognitiveservices.azure.com" client-id="11111111-2222-3333-4444-555555555555" />`, "https://a.openai.azure.com/"),
			nil,
			[]string{"11111111"},
			[]string{"a policy may call by several identities", "which identity is meant is not in the file", "which were for https://ai.azure.com"},
		},
		{
			"an identity that only a deployment knows", "apim-pool", apimPool(`, "credentials": {"managedIdentity": {"resource": "https://cognitiveservices.azure.com", "clientId": "[variables('id')]"}}`),
			nil,
			[]string{"variables"},
			[]string{"which identity is meant is not in the file"},
		},
		{
			"an identity in a variable", "portkey", `{"provider": "azure-openai", "resource_name": "contoso", "azure_auth_mode": "managed", "azure_managed_client_id": "$CLIENT"}`,
			nil,
			[]string{"CLIENT"},
			[]string{"which identity is meant is not in the file"},
		},
		{
			"no key", "bifrost", `{"providers": {"openai": {"keys": [{"name": "a", "models": ["m"]}]}, "vllm": {"keys": [{"name": "v", "models": ["n"], "vllm_key_config": {"url": "https://vllm.example"}}]},
				"azure": {"network_config": {"base_url": "https://other.example"}, "keys": [{"name": "z", "value": "k", "models": ["m"], "azure_key_config": {"endpoint": "https://z.openai.azure.com"}}]}}}`,
			[]string{`"OPENAI_API_KEY"`, `"mode": "none"`},
			nil,
			[]string{"OPENAI_API_KEY: the key of https://api.openai.com/v1, which the file does not have", "no key is sent to https://vllm.example/v1", "providers.azure.network_config.base_url: Azure's address is the endpoint of each key"},
		},
		{
			"somebody else's models", "portkey", `{"strategy": {"mode": "fallback"}, "targets": [{"provider": "@anthropic-prod"}, {"virtual_key": "main", "override_params": {"model": "claude-3-opus"}},
				{"virtual_key": "azure-mistral", "resource_name": "mis", "override_params": {"model": "mistral-large"}}, {"provider": "azure-openai", "resource_name": "contoso"}]}`,
			[]string{`"azure-mistral"`, `"https://contoso.openai.azure.com"`},
			[]string{"anthropic", "claude", `"priority": 3`},
			[]string{"targets[0]: by its names (anthropic-prod ) it is neither", "targets[1]: by its names (main claude-3-opus) it is neither", "the key of https://contoso.openai.azure.com, which is not in the config"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Import(c.source, []byte(c.text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			said := new(bytes.Buffer)
			if err := r.Report(said); err != nil {
				t.Fatal(err)
			}
			wantParts(t, string(r.Document.Print()), c.document, c.not)
			wantParts(t, said.String(), c.said, []string{"Still to be corrected"})
		})
	}
}

// policy is one of openai-apim-lb, with this beside its list of these addresses.
func policy(more string, addresses ...string) string {
	var list strings.Builder
	for _, a := range addresses {
		list.WriteString(`backends.Add(new JObject() { { "url", "` + a + `" }, { "priority", 1 } }); `)
	}
	return `<policies><inbound>` + more + `<set-variable name="listBackends" value="@{ JArray backends = new JArray(); ` + list.String() + `return backends; }" /></inbound></policies>`
}

// TestPlacesAreLookedAtInEverySource: no token of Azure's goes to OpenAI, nothing in
// clear text is in a document, and what is in it can be used as it is.
func TestPlacesAreLookedAtInEverySource(t *testing.T) {
	addresses := []any{"http://llm.corp:8080", "https://api.openai.com/v1", "https://f.services.ai.azure.com/models", "https://a.openai.azure.com"}
	for source, text := range map[string]string{
		"openai-apim-lb": policy("", "%s", "%s", "%s", "%s"),
		"apim-pool":      `{"value": [{"name": "b1", "properties": {"url": "%s"}}, {"name": "b2", "properties": {"url": "%s"}}, {"name": "b3", "properties": {"url": "%s"}}, {"name": "b4", "properties": {"url": "%s"}}]}`,
		"aca-lb":         "BACKEND_1_APIKEY=k\nBACKEND_1_URL=%s\nBACKEND_2_URL=%s\nBACKEND_3_URL=%s\nBACKEND_4_URL=%s\n",
		"powerproxy":     "{clients: [{name: c, key: k}], aoai: {endpoints: [{url: %q}, {url: %q}, {url: %q}, {url: %q}]}}",
		"list":           "%s\n%s key=k\n%s\n%s\n",
		"portkey":        `{"strategy": {"mode": "fallback"}, "targets": [{"provider": "azure-openai", "custom_host": "%s"}, {"provider": "openai", "custom_host": "%s"}, {"provider": "azure-openai", "custom_host": "%s"}, {"provider": "azure-openai", "custom_host": "%s"}]}`,
	} {
		r, err := Import(source, fmt.Appendf(nil, text, addresses...), Options{})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		said := new(bytes.Buffer)
		if err := r.Report(said); err != nil {
			t.Fatal(err)
		}
		t.Run(source, func(t *testing.T) {
			wantParts(t, said.String(), []string{"its endpoint is http", "Foundry's model inference API"},
				[]string{"Still to be corrected", "BACKEND_1_APIKEY: ", "KEY_2_F", "own identity calls https://api.openai", "own identity calls http:"})
			wantParts(t, string(r.Document.Print()), []string{`"kind": "openai"`, `"mode": "api-key"`, `"https://a.openai.azure.com"`}, []string{"llm.corp", "services.ai"})
			if n := len(r.Document.Backends); n != 2 {
				t.Errorf("%d backends, want 2:\n%s", n, r.Document.Print())
			}
		})
	}
}

// TestUnknownCredentialsAreRefused: none of these becomes the app's own identity.
func TestUnknownCredentialsAreRefused(t *testing.T) {
	for _, credentials := range []string{
		`{"authorization": {"scheme": "Bearer", "parameter": "{{k}}"}}`, `{"query": {"code": ["k"]}}`, `{"certificate": ["0f"]}`, `{"certificateIds": ["/c/1"]}`,
		`{"header": {"x-api-key": ["k"]}}`, `[{"authorization": [{"scheme": "Basic", "parameter": "k"}], "header": {}}]`,
	} {
		_, err := Import("apim-pool", []byte(apimPool(`, "credentials": `+credentials)), Options{})
		if err == nil || !strings.Contains(err.Error(), refused) {
			t.Errorf("%s: got %v", credentials, err)
		}
	}
}

// TestSettingsOfTwoServicesAreNotPutTogether: the key of one would go to the address
// of the other.
func TestSettingsOfTwoServicesAreNotPutTogether(t *testing.T) {
	for _, text := range []string{
		"services:\n  a: {environment: {BACKEND_1_URL: https://a.openai.azure.com}}\n  b: {environment: [\"BACKEND_1_APIKEY=k\"]}\n",
		"services:\n  a: {environment: {BACKEND_1_URL: https://a.openai.azure.com, BACKEND_1_APIKEY: k}}\n  b: {environment: {BACKEND_1_URL: https://b.openai.azure.com}}\n",
	} {
		_, err := Import("aca-lb", []byte(text), Options{})
		if err == nil || !strings.Contains(err.Error(), "more than one service") {
			t.Errorf("got %v", err)
		}
	}
}

// TestReportKnowsTheEndpointsThatWereGiven: what was asked for and given is not
// asked for again.
func TestReportKnowsTheEndpointsThatWereGiven(t *testing.T) {
	for source, text := range map[string]string{
		"apim-pool":  `{"resources": [{"name": "ptu", "type": "Microsoft.ApiManagement/service/backends", "properties": {"url": "[parameters('u')]", "credentials": {"header": {"api-key": ["{{k}}"]}}}}]}`,
		"bifrost":    `{"providers": {"azure": {"keys": [{"name": "ptu", "value": "env.K", "models": ["m"], "azure_key_config": {}}]}}}`,
		"portkey":    `{"provider": "azure-openai", "name": "ptu", "api_key": "k"}`,
		"powerproxy": `{"aoai": {"endpoints": [{"name": "ptu", "key": "k"}]}}`,
	} {
		r, err := Import(source, []byte(text), Options{Endpoints: map[string]string{"ptu": "https://ptu.openai.azure.com"}})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		said := new(bytes.Buffer)
		if err := r.Report(said); err != nil {
			t.Fatal(err)
		}
		wantParts(t, said.String(), nil, []string{".invalid", "--endpoint", "Still to be corrected"})
		wantParts(t, string(r.Document.Print()), []string{`"https://ptu.openai.azure.com"`}, nil)
	}
}

// TestWhatIsSaidIsOfTheBackendsThatAreLeft: how a backend is called is said when all
// places have been looked at, and only of those that are in the document.
func TestWhatIsSaidIsOfTheBackendsThatAreLeft(t *testing.T) {
	for name, c := range map[string]struct {
		source, text string
		want, not    []string
	}{
		"the identity, of an endpoint that is left out": {
			"powerproxy", "{clients: [{name: c, key: a-key-of-sixteen-signs}], aoai: {endpoints: [{url: 'http://a.corp'}, {url: 'https://b.openai.azure.com'}]}}",
			[]string{"aoai.endpoints[1] has no key: the app's identity"},
			[]string{"aoai.endpoints[0] has no key: the app's identity"},
		},
		"the identity, of what is OpenAI itself": {
			"powerproxy", "{clients: [{name: c, key: a-key-of-sixteen-signs}], aoai: {endpoints: [{url: 'https://api.openai.com/v1'}, {url: 'https://b.openai.azure.com'}]}}",
			[]string{"it is called by the key in OPENAI_API_KEY"},
			[]string{"aoai.endpoints[0] has no key: the app's identity"},
		},
		"an application, of a target that is left out": {
			"portkey", `{"strategy": {"mode": "fallback"}, "targets": [{"provider": "azure-openai", "azure_auth_mode": "entra", "custom_host": "http://a.corp"}, {"provider": "azure-openai", "azure_auth_mode": "entra", "resource_name": "b"}]}`,
			[]string{"targets[1]: Portkey called it as an application"},
			[]string{"targets[0]: Portkey called it as an application"},
		},
		"the identity, where another entry calls the same deployment by a key": {
			"list", "https://a.openai.azure.com model=gpt-5.1 key=a-key-of-sixteen-signs\nhttps://a.openai.azure.com model=gpt-5.1\n",
			[]string{"AOAI_KEY_A: the key of https://a.openai.azure.com", "to the same deployment"},
			[]string{"own identity calls"},
		},
		"a key, where another entry calls the same deployment by another one": {
			"list", "https://a.openai.azure.com model=gpt-5.1 key=a-key-of-sixteen-signs\nhttps://a.openai.azure.com model=gpt-5.1 key=another-of-sixteen-signs\n",
			[]string{"AOAI_KEY_A: the key of https://a.openai.azure.com", "to the same deployment"},
			[]string{"AOAI_KEY_A_2: ", "this one has AOAI_KEY_A_2"},
		},
		"the identity, of a backend whose address is not known yet": {
			"bifrost", `{"providers": {"azure": {"keys": [{"name": "a", "value": "", "models": ["*"], "azure_key_config": {"endpoint": "env.NOT_SET", "client_id": "env.C", "client_secret": "env.S"}}]}}}`,
			[]string{"Bifrost called a by the application in client_id; the app's own identity calls it now"},
			nil,
		},
		"no other name of the models, where a virtual key may use all": {
			"bifrost", `{"providers": {"openai": {"keys": [{"name": "o", "value": "env.K", "models": ["*"]}]}},
				"governance": {"virtual_keys": [{"name": "v", "value": "env.V", "provider_configs": [{"provider": "openai", "allowed_models": ["*"], "key_ids": ["*"]}]}]}}`,
			[]string{"V: keep it"},
			[]string{"unnamed"},
		},
		"a key that a backend and a consumer share": {
			"powerproxy", "{clients: [{name: c, key: a-key-of-sixteen-signs}], aoai: {endpoints: [{url: 'http://a.corp', key: a-key-of-sixteen-signs}, {url: 'https://b.openai.azure.com'}]}}",
			[]string{"C_KEY: the key in clients[0].key"},
			[]string{"AOAI_KEY_"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Import(c.source, []byte(c.text), Options{})
			if err != nil {
				t.Fatal(err)
			}
			said := new(bytes.Buffer)
			if err := r.Report(said); err != nil {
				t.Fatal(err)
			}
			wantParts(t, said.String(), c.want, c.not)
		})
	}
}
