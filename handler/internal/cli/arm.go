package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"spillway/handler/internal/backend"
)

// resourceManager is Azure Resource Manager, as who is signed in.
type resourceManager struct {
	address string
	token   func(ctx context.Context) (string, error)
}

const armTimeout = 30 * time.Second

// applyApp puts what table commands need of an app's settings into the environment
// of this process.
func applyApp(ctx context.Context, app string) error {
	ctx, cancel := context.WithTimeout(ctx, armTimeout)
	defer cancel()
	arm := &resourceManager{address: "https://management.azure.com", token: signedIn}
	settings, err := arm.appSettings(ctx, app)
	if err != nil {
		return err
	}
	for name, value := range ofTable(settings) {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// signedIn is a token of who is signed in to Azure on this machine.
func signedIn(ctx context.Context) (string, error) {
	credential, err := backend.IdentityCredential("", false)
	if err != nil {
		return "", err
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://management.azure.com/.default"}})
	if err != nil {
		return "", &failure{err, "there is no token of who is signed in to Azure" + tokenProblem(err.Error()), "sign in with \"az login\"; on a machine that is not in Azure, AZURE_TOKEN_CREDENTIALS=dev asks for no managed identity before"}
	}
	return token.Token, nil
}

// tokenProblem is what the Azure CLI said, else what the credential said that was
// asked last.
func tokenProblem(text string) (problem string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, _, _ := strings.Cut(line, " "); strings.HasSuffix(strings.TrimSuffix(name, ":"), "Credential") && !strings.HasPrefix(line, "DefaultAzure") {
			problem = ": " + line
		}
		if strings.HasPrefix(line, "AzureCLICredential") {
			break
		}
	}
	return problem
}

// appSettings finds the app by its name, in every subscription that the account
// sees, and reads its settings.
func (m *resourceManager) appSettings(ctx context.Context, app string) (map[string]string, error) {
	if strings.ContainsAny(app, `'"\|`) {
		return nil, &failure{nil, fmt.Sprintf("%q is no name of an app", app), "write the name of the Function App, as \"az functionapp list\" prints it"}
	}
	var found struct {
		Data []struct{ ID string } `json:"data"`
	}
	query := map[string]string{"query": "resources | where type =~ 'microsoft.web/sites' and name =~ '" + app + "' | project id"}
	if err := m.post(ctx, "/providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01", query, &found); err != nil {
		return nil, fmt.Errorf("find the app %s: %w", app, err)
	}
	if len(found.Data) != 1 {
		return nil, &failure{nil, fmt.Sprintf("%d apps that the signed-in account sees have the name %s", len(found.Data), app), "check the name and \"az account show\"; or write SPILLWAY_STATE__accountName and SPILLWAY_CONFIG into ~/.config/spillway/default.env"}
	}
	var settings struct {
		Properties map[string]string `json:"properties"`
	}
	if err := m.post(ctx, found.Data[0].ID+"/config/appsettings/list?api-version=2023-12-01", nil, &settings); err != nil {
		return nil, fmt.Errorf("read the settings of %s: %w", app, err)
	}
	return settings.Properties, nil
}

func (m *resourceManager) post(ctx context.Context, path string, body, into any) error {
	token, err := m.token(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("marshal: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.address+path, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("ask Azure: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return &failure{err, "Azure Resource Manager does not answer: " + rootCause(err), "check the network of this machine"}
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	switch {
	case err != nil:
		return fmt.Errorf("read Azure's answer: %w", err)
	case res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusUnauthorized:
		return &failure{errors.New(res.Status), "the signed-in account may not read them (" + res.Status + ")", "ask for a role with Microsoft.Web/sites/config/list/action, such as Website Contributor; or write SPILLWAY_STATE__accountName and SPILLWAY_CONFIG into ~/.config/spillway/default.env"}
	case res.StatusCode != http.StatusOK:
		return &failure{errors.New(res.Status), "Azure Resource Manager answers " + res.Status, "try again"}
	}
	return json.Unmarshal(answer, into)
}

// ofTable keeps of an app's settings what commands need that only use the table.
// The app's own identity is replaced by that of who is signed in; a document in a
// file of the app is not here.
func ofTable(settings map[string]string) map[string]string {
	kept := map[string]string{}
	for name, value := range settings {
		upper := strings.ToUpper(name)
		connection := strings.HasPrefix(upper, "SPILLWAY_STATE") || upper == "AZUREWEBJOBSSTORAGE" || strings.HasPrefix(upper, "AZUREWEBJOBSSTORAGE__")
		switch {
		case value == "", strings.HasSuffix(upper, "__CREDENTIAL"), strings.HasSuffix(upper, "__CLIENTID"), strings.HasSuffix(upper, "_APIKEY"):
		case connection, strings.HasPrefix(upper, "BACKEND_"), upper == "SPILLWAY_CONFIG" && value[0] != '@', upper == "SPILLWAY_CONFIG_SOURCE", upper == "SPILLWAY_CONFIG_ALLOW":
			kept[name] = value
		}
	}
	return kept
}
