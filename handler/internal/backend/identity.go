package backend

import (
	"fmt"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// IdentityCredential is the managed identity of the app: the one with this client id, or
// the only one when it is empty. With hosted false, where there is no identity
// endpoint, it is whatever the developer is logged in with. The endpoint is
// never called through a proxy.
func IdentityCredential(clientID string, hosted bool) (azcore.TokenCredential, error) {
	options := azcore.ClientOptions{Transport: &http.Client{Transport: NewTransport(TransportOptions{})}}
	if !hosted {
		c, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: options})
		if err != nil {
			return nil, fmt.Errorf("find developer credential: %w", err)
		}
		return c, nil
	}
	managed := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
	if clientID != "" {
		managed.ID = azidentity.ClientID(clientID)
	}
	c, err := azidentity.NewManagedIdentityCredential(managed)
	if err != nil {
		return nil, fmt.Errorf("use managed identity %q: %w", clientID, err)
	}
	return c, nil
}
