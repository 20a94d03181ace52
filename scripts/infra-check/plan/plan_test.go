package plan

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// printed is what terraform prints of an apply with mocks: an identity, a storage account with a container, and a function app that uses
// both. random stands for what mocks make up.
func printed(t *testing.T, random string, results map[string]string) *Plan {
	t.Helper()
	of := func(key string) string {
		if v, ok := results[key]; ok {
			return v
		}
		return "/mock/" + key
	}
	text := fmt.Sprintf(`{"type":"version","terraform":"1.11.4"}
{"type":"test_state","test_state":{"root_module":{"resources":[{"address":"azurerm_user_assigned_identity.this","mode":"managed","type":"azurerm_user_assigned_identity","values":{"name":"id-0123456789abc","id":%[2]q,"client_id":%[3]q}}],
 "child_modules":[{"resources":[{"address":"module.state.azurerm_storage_account.this","mode":"managed","type":"azurerm_storage_account","values":{"name":"st0123456789abc","id":%[4]q,"primary_blob_endpoint":%[5]q,"primary_access_key":%[1]q}},
 {"address":"module.state.azurerm_storage_container.this","mode":"managed","type":"azurerm_storage_container","values":{"name":"app-package","id":%[6]q,"storage_account_id":%[4]q}},
 {"address":"module.state.data.azurerm_client_config.this","mode":"data","type":"azurerm_client_config","values":{"tenant_id":"x"}},
 {"address":"module.stamp[\"\"].azurerm_linux_function_app.this","mode":"managed","type":"azurerm_linux_function_app","depends_on":["module.state.azurerm_storage_account.this","azurerm_user_assigned_identity.this"],
  "values":{"name":"func-0123456789abc","custom_domain_verification_id":%[1]q,"query":"T\n| take 1\n","enabled":true,"app_settings":{"ID":%[3]q,"PACKAGE":"%[5]sapp-package"},"container":%[6]q}}]}]},
 "outputs":{"endpoint":{"value":%[5]q},"random":{"value":%[1]q},"number":{"value":3}}}}
`, random, of("identity"), of("client"), of("account"), of("blob"), of("container"))
	// Broken into lines to be read; terraform prints each message on one.
	p, err := Printed(strings.NewReader(strings.ReplaceAll(text, ",\n ", ",")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPlanSaysWhereEachValueComesFrom(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "infra", "monitor"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "infra", "monitor", "alert-x.kql"), []byte("T\n| take 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := printed(t, "abcdefgh", nil)
	// The order is that of the addresses: the identity, the function app, the account, the container, the data.
	results := map[string]string{}
	for n, names := range map[int]map[string]string{0: {"id": "identity", "client_id": "client"}, 2: {"id": "account", "primary_blob_endpoint": "blob"}, 3: {"id": "container"}} {
		for _, s := range first.Resources[n].samples(n) {
			results[names[s.result]] = s.value
		}
	}
	overrides := first.Overrides()
	for _, want := range []string{
		"override_resource {\n  target = azurerm_user_assigned_identity.this\n", "target = module.stamp[\"\"].azurerm_linux_function_app.this\n",
		`client_id = "22222222-2222-2222-2222-222222220000"`, `primary_blob_endpoint = "https://r0002.blob.core.windows.net/"`,
	} {
		if !strings.Contains(overrides, want) {
			t.Errorf("the overrides have no %s:\n%s", want, overrides)
		}
	}
	got, err := Resolve(first, printed(t, "zyxwvuts", results), root)
	if err != nil {
		t.Fatal(err)
	}
	const account = "Microsoft.Storage/storageAccounts/sttokentokentok"
	want := &Plan{
		Outputs: map[string]any{"endpoint": "«" + account + ".primaryEndpoints.blob»", "number": 3.0},
		Resources: []Instance{
			{Address: "azurerm_user_assigned_identity.this", Mode: "managed", Type: "azurerm_user_assigned_identity", Name: "id-tokentokentok", Values: map[string]any{
				"name": "id-tokentokentok", "id": "«Microsoft.ManagedIdentity/userAssignedIdentities/id-tokentokentok»",
				"client_id": "«Microsoft.ManagedIdentity/userAssignedIdentities/id-tokentokentok.clientId»",
			}},
			{
				Address: `module.stamp[""].azurerm_linux_function_app.this`, Mode: "managed", Type: "azurerm_linux_function_app", Name: "func-tokentokentok",
				After: []string{"azurerm_user_assigned_identity.this", "module.state.azurerm_storage_account.this"},
				Values: map[string]any{
					"name": "func-tokentokentok", "query": "«monitor/alert-x.kql»", "enabled": true,
					"app_settings": map[string]any{
						"ID":      "«Microsoft.ManagedIdentity/userAssignedIdentities/id-tokentokentok.clientId»",
						"PACKAGE": "«" + account + ".primaryEndpoints.blob»app-package",
					},
					"container": "«" + account + "/blobServices/default/containers/app-package»",
				},
			},
			{Address: "module.state.azurerm_storage_account.this", Mode: "managed", Type: "azurerm_storage_account", Name: "sttokentokentok", Values: map[string]any{
				"name": "sttokentokentok", "id": "«" + account + "»", "primary_blob_endpoint": "«" + account + ".primaryEndpoints.blob»",
			}},
			{Address: "module.state.azurerm_storage_container.this", Mode: "managed", Type: "azurerm_storage_container", Name: "sttokentokentok/default/app-package", Values: map[string]any{
				"name": "app-package", "id": "«" + account + "/blobServices/default/containers/app-package»", "storage_account_id": "«" + account + "»",
			}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestACommittedPlanIsReadWithTheFilesThatItNames(t *testing.T) {
	infra := t.TempDir()
	if err := os.Mkdir(filepath.Join(infra, "monitor"), 0o700); err != nil {
		t.Fatal(err)
	}
	text := []byte(`{"resources":[{"address":"a","values":{"criteria":[{"query":"«monitor/alert-x.kql»"}],"id":"«Microsoft.Web/sites/x»"}}]}`)
	if _, err := Read(text, infra); err == nil {
		t.Error("a file that is not there is no error")
	}
	if err := os.WriteFile(filepath.Join(infra, "monitor", "alert-x.kql"), []byte("T"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Read(text, infra)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Resources[0].Values); got != "map[criteria:[map[query:T]] id:«Microsoft.Web/sites/x»]" {
		t.Error(got)
	}
}

func TestWithoutAStateThereIsNoPlan(t *testing.T) {
	for _, text := range []string{"", `{"type":"version"}`, "Success!"} {
		if _, err := Printed(strings.NewReader(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
