package azure

import (
	"context"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"golang.org/x/sync/singleflight"
)

// tokenTimeout bounds one fetch of a token; the identity service of a machine
// that has just started takes seconds.
const tokenTimeout = 30 * time.Second

// sharedToken is a credential whose fetch outlives the exchange that began it.
// Exchanges with the table have about a second; if each began a fetch of its own
// and broke it off, none would end.
type sharedToken struct {
	inner   azcore.TokenCredential
	fetches singleflight.Group
}

// GetToken waits for the fetch in flight, or begins one, as long as ctx allows.
func (t *sharedToken) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	fetched := t.fetches.DoChan(strings.Join(o.Scopes, " ")+"|"+o.Claims, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenTimeout)
		defer cancel()
		return t.inner.GetToken(ctx, o)
	})
	select {
	case result := <-fetched:
		token, _ := result.Val.(azcore.AccessToken)
		return token, result.Err
	case <-ctx.Done():
		return azcore.AccessToken{}, ctx.Err()
	}
}
