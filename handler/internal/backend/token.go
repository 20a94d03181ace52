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

// TokenScope is what tokens for Azure OpenAI are asked for
// (facts/azure-openai.md §2).
const TokenScope = "https://cognitiveservices.azure.com/.default"

const (
	fetchTimeout   = 30 * time.Second // of one request for a token, with its retries
	maxTokenWait   = 5 * time.Second  // longest a request waits when no token is held
	refreshLead    = 5 * time.Minute  // ahead of expiry, where the token does not say itself
	minRefreshWait = 10 * time.Second
	firstRetry     = time.Second
	maxRetry       = 30 * time.Second
	expiryMargin   = 10 * time.Second // a token is not used in its last moments: it has to arrive
	jitterDivisor  = 10
)

// Token is the bearer token of one identity for one scope. One goroutine, Run,
// fetches it ahead of expiry; requests only look at what is held. It is made
// by [NewToken].
type Token struct {
	source     azcore.TokenCredential
	scope      string
	log        *slog.Logger
	current    atomic.Pointer[cachedToken]
	refreshNow chan struct{} // a request met an expired token

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

// Run keeps the token fresh until ctx ends: the first one at once, the next
// ones ahead of expiry. While fetching fails the old token serves until it
// runs out.
func (t *Token) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		wait, err := t.fetch(ctx)
		select {
		case <-t.refreshNow: // it asked for what was just done
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

// fetch asks the source once and tells everybody who waits. It returns how
// long the new token may be left alone.
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
		t.log.LogAttrs(ctx, slog.LevelError, "token fetch failed", slog.String("scope", t.scope), slog.Any("error", err))
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

// publish installs the news of a fetch. A failure leaves the old token.
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

// Apply writes the token that is held. Only when there is none, at start or
// after the process was frozen, does it wait for the fetch under way, and that
// not for long.
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
		news, err := t.fetched, t.lastErr
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
		case <-news:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: no token for %q within %s: %w", ErrCredentialUnavailable, t.scope, maxTokenWait, context.Cause(ctx))
		}
	}
}

// classifyTokenError tells a refused identity, which no wait will cure, from an
// identity endpoint that is slow, busy or away. azidentity marks both as not
// worth a retry, so the endpoint's answer decides.
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
