package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// TokenScope is the scope of tokens for Azure OpenAI
// (docs/azure-openai.md#authentication).
const TokenScope = "https://cognitiveservices.azure.com/.default" //nolint:gosec // G101: a public address

const (
	fetchTimeout   = 30 * time.Second // of one request for a token, with its retries
	maxTokenWait   = 5 * time.Second  // of a request without a valid token
	refreshLead    = 5 * time.Minute  // before the expiry of a token that names no refresh time
	minRefreshWait = 10 * time.Second
	firstRetry     = time.Second
	maxRetry       = 30 * time.Second
	expiryMargin   = 10 * time.Second // a token must still be valid when it arrives
	jitterDivisor  = 10
)

// Token is the bearer token of one identity for one scope. One goroutine, Run,
// fetches it before it expires; requests read the one that is held. It is made
// by [NewToken].
type Token struct {
	source     azcore.TokenCredential
	scope      string
	log        *slog.Logger
	current    atomic.Pointer[cachedToken]
	refreshNow chan struct{} // a request found no valid token

	mu      sync.Mutex
	fetched chan struct{} // closed when the fetch under way ends
	lastErr error         // of the last fetch
}

type cachedToken struct {
	header     []string // shared by all requests
	validUntil time.Time
}

// NewToken prepares a token of the source. Nothing is fetched before Run.
func NewToken(source azcore.TokenCredential, scope string, log *slog.Logger) *Token {
	return &Token{source: source, scope: scope, log: log, refreshNow: make(chan struct{}, 1), fetched: make(chan struct{})}
}

// Run fetches the token at once, and again before it expires, until ctx ends.
// While fetches fail, the old token is used until it expires.
func (t *Token) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		wait, err := t.fetch(ctx)
		select {
		case <-t.refreshNow: // the fetch that just ended served it
		default:
		}
		if err != nil {
			wait = min(firstRetry<<min(failures, 10), maxRetry)
			failures++
		} else {
			failures = 0
		}
		timer := time.NewTimer(wait - rand.N(wait/jitterDivisor+1)) //nolint:gosec // G404: jitter, and never behind a token's end
		select {
		case <-ctx.Done():
		case <-t.refreshNow:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// fetch asks the source once, and wakes the requests that wait. It returns the
// time to the next fetch.
func (t *Token) fetch(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	token, err := t.source.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{t.scope}})
	left := time.Until(token.ExpiresOn) - expiryMargin
	if err == nil && left <= 0 {
		err = errors.New("the token is already expired: check the clock of this machine")
	}
	if err != nil {
		err = classifyTokenError(err)
		t.log.LogAttrs(ctx, slog.LevelDebug, "token fetch failed", slog.String("scope", t.scope), slog.Any("error", err))
		t.publish(nil, err)
		return 0, err
	}
	t.publish(&cachedToken{header: []string{"Bearer " + token.Token}, validUntil: token.ExpiresOn.Add(-expiryMargin)}, nil)
	lead := min(refreshLead, left/2)
	if !token.RefreshOn.IsZero() {
		lead = max(lead, token.ExpiresOn.Sub(token.RefreshOn))
	}
	return max(left-lead, minRefreshWait), nil
}

// publish stores the result of a fetch. After a failure the old token stays.
func (t *Token) publish(h *cachedToken, err error) {
	if h != nil {
		t.current.Store(h)
	}
	t.mu.Lock()
	t.lastErr = err
	close(t.fetched)
	t.fetched = make(chan struct{})
	t.mu.Unlock()
}

// State returns whether there is a valid token, and the error of the last fetch; nil
// = it succeeded, or none has ended.
func (t *Token) State() (valid bool, err error) {
	t.mu.Lock()
	err = t.lastErr
	t.mu.Unlock()
	h := t.current.Load()
	return h != nil && time.Now().Before(h.validUntil), err
}

// Apply writes the token that is held. Without a valid one, at the start or
// after the process was suspended, it waits up to maxTokenWait for the fetch
// under way.
func (t *Token) Apply(ctx context.Context, out, _ http.Header) error {
	h := t.current.Load()
	if h == nil || !time.Now().Before(h.validUntil) {
		var err error
		if h, err = t.await(ctx); err != nil {
			return err
		}
	}
	out["Authorization"] = h.header
	return nil
}

func (t *Token) await(ctx context.Context) (*cachedToken, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTokenWait)
	defer cancel()
	for {
		t.mu.Lock()
		fetched, err := t.fetched, t.lastErr
		t.mu.Unlock()
		if h := t.current.Load(); h != nil && time.Now().Before(h.validUntil) {
			return h, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case t.refreshNow <- struct{}{}:
		default:
		}
		select {
		case <-fetched:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: no token for %q within %s: %w", ErrCredentialUnavailable, t.scope, maxTokenWait, context.Cause(ctx))
		}
	}
}

// classifyTokenError distinguishes a refused identity, where waiting does not
// help, from an identity endpoint that is slow, busy or unreachable. azidentity
// marks both as not retriable, so the status of the endpoint decides.
func classifyTokenError(err error) error {
	var final interface {
		error
		NonRetriable()
	}
	var failed *azidentity.AuthenticationFailedError
	refused := errors.As(err, &final)
	if errors.As(err, &failed) {
		refused = failed.RawResponse != nil && isPermanent(failed.RawResponse.StatusCode)
	}
	if refused {
		return fmt.Errorf("%w: %w", ErrIdentityRefused, err)
	}
	return fmt.Errorf("%w: %w", ErrCredentialUnavailable, err)
}

func isPermanent(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden
}

// IdentityCredential is the managed identity of the app: the one with this
// client id, or its only one if the id is empty. If hosted is false, where there
// is no identity endpoint, it is the account with which the developer is signed
// in. The endpoint is never called through a proxy.
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
