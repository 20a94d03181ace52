package azure

import (
	"context"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// tokenPatience is how long one fetch of a token may take; the identity service
// of a machine that has just started takes seconds (facts/table-state.md §1).
const tokenPatience = 30 * time.Second

// patient is a credential whose fetch outlives the exchange that asked first.
// Exchanges with the table have about a second; a fetch that each of them
// began anew and broke off would never end.
type patient struct {
	under azcore.TokenCredential

	mu    sync.Mutex
	fetch *fetch
}

// fetch is one under way: token and err are set when done is closed.
type fetch struct {
	done  chan struct{}
	token azcore.AccessToken
	err   error
}

// GetToken waits for the fetch under way, or begins one, as long as ctx allows.
func (p *patient) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	f := p.join(ctx, o)
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return azcore.AccessToken{}, ctx.Err()
	}
}

func (p *patient) join(ctx context.Context, o policy.TokenRequestOptions) *fetch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fetch != nil {
		return p.fetch
	}
	f := &fetch{done: make(chan struct{})}
	p.fetch = f
	// It ends by itself within its patience; nobody need wait for it.
	go func() {
		defer close(f.done)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenPatience)
		defer cancel()
		f.token, f.err = p.under.GetToken(ctx, o)
		p.mu.Lock()
		p.fetch = nil
		p.mu.Unlock()
	}()
	return f
}
