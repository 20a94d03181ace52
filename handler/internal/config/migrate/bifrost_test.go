package migrate

import (
	"strings"
	"testing"

	"spillway/handler/internal/config/document"
)

// TestBifrostConsumersStayWithinTheirKeys: a virtual key that is bound to keys or to
// providers reaches no other backend after the import.
func TestBifrostConsumersStayWithinTheirKeys(t *testing.T) {
	const config = `{"providers": {
		"azure": {"keys": [
			{"id": "us", "name": "azure-us", "value": "env.A", "models": ["*"], "weight": 1, "azure_key_config": {"endpoint": "https://us.openai.azure.com"}},
			{"id": "eu", "name": "azure-eu", "value": "env.B", "models": ["*"], "weight": 1, "azure_key_config": {"endpoint": "https://eu.openai.azure.com"}}]},
		"openai": {"keys": [{"id": "oa", "name": "openai", "value": "env.C", "models": ["*"], "weight": 1}]}},
	"governance": {"virtual_keys": [
		{"name": "eu", "value": "env.VK1", "provider_configs": [{"provider": "azure", "key_ids": ["eu"]}]},
		{"name": "azure", "value": "env.VK2", "provider_configs": [{"provider": "azure", "allowed_keys": ["azure-us", "azure-eu"]}]},
		{"name": "all", "value": "env.VK3", "provider_configs": [{"provider": "azure", "key_ids": ["*"]}, {"provider": "openai"}]},
		{"name": "free", "value": "env.VK4"},
		{"name": "lost", "value": "env.VK5", "provider_configs": [{"provider": "azure", "key_ids": ["gone"]}]}]}}`
	r, err := Import("bifrost", []byte(config), Options{})
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{}
	for _, b := range r.Document.Backends {
		places[b.Geography] = b.Name
	}
	got := map[string]string{}
	for _, c := range r.Document.Consumers {
		var names []string
		for _, g := range c.Geographies {
			names = append(names, places[g])
		}
		got[c.Name] = strings.Join(names, " ")
	}
	want := map[string]string{"eu": "azure-eu", "azure": "azure-us azure-eu", "all": "", "free": ""}
	for name, backends := range want {
		if reached, ok := got[name]; !ok || reached != backends {
			t.Errorf("%s reaches %q, want %q", name, reached, backends)
		}
	}
	if _, ok := got["lost"]; ok || !strings.Contains(strings.Join(r.Lost, "\n"), "virtual_keys[4]: none of the models or keys") {
		t.Errorf("a virtual key of a key that is gone became a consumer: %q", r.Lost)
	}
}

func TestBifrostKeyWithoutAValue(t *testing.T) {
	r, err := Import("bifrost", []byte(`{"providers": {"ollama": {"keys": [{"name": "o", "value": "", "models": ["llama"], "weight": 1, "ollama_key_config": {"url": "http://127.0.0.1:11434"}}]}}}`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := document.Parse("", r.Document.Print()); err != nil || r.Document.Backends[0].Auth.Mode != "none" {
		t.Errorf("%v in\n%s", err, r.Document.Print())
	}
}
