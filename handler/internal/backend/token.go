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

// Scope is what tokens for Azure OpenAI are asked for
// (facts/azure-openai.md §2).
const Scope = "https://cognitiveservices.azure.com/.default"

const (
	fetchLimit    = 30 * time.Second // of one request for a token, with its retries
	firstWait     = 5 * time.Second  // longest a request waits when no token is held
	refreshLead   = 5 * time.Minute  // ahead of expiry, where the token does not say itself
	refreshFloor  = 10 * time.Second
	retryFirst    = time.Second
	retryLongest  = 30 * time.Second
	expiryLeeway  = 10 * time.Second // a token is not used in its last moments: it has to arrive
	jitterPortion = 10
)

// Token is the bearer token of one identity for one scope. One goroutine, Run,
// fetches it ahead of expiry; requests only look at what is held. It is made
// by [NewToken].
type Token struct {
	source azcore.TokenCredential
	scope  string
	log    *slog.Logger
	held   atomic.Pointer[heldToken]
	kick   chan struct{} // a request met an expired token

	mu   sync.Mutex
	news chan struct{} // closed when the fetch under way ends
	err  error         // of the last fetch
}

type heldToken struct {
	header []string // shared by all requests
	until  time.Time
}

// NewToken prepares a token of the source. Nothing is fetched before Run.
func NewToken(source azcore.TokenCredential, scope string, log *slog.Logger) *Token {
	return &Token{source: source, scope: scope, log: log, kick: make(chan struct{}, 1), news: make(chan struct{})}
}

// Run keeps the token fresh until ctx ends: the first one at once, the next
// ones ahead of expiry. While fetching fails the old token serves until it
// runs out.
func (t *Token) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		wait, err := t.fetch(ctx)
		select {
		case <-t.kick: // it asked for what was just done
		default:
		}
		if err != nil {
			wait = min(retryFirst<<min(failures, 10), retryLongest)
			failures++
		} else {
			failures = 0
		}
		timer := time.NewTimer(wait - rand.N(wait/jitterPortion+1)) //nolint:gosec // G404: jitter, and never behind a token's end
		select {
		case <-ctx.Done():
		case <-t.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// fetch asks the source once and tells everybody who waits. It returns how
// long the new token may be left alone.
func (t *Token) fetch(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	token, err := t.source.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{t.scope}})
	left := time.Until(token.ExpiresOn) - expiryLeeway
	if err == nil && left <= 0 {
		err = errors.New("the token is already expired: check the clock of this machine")
	}
	if err != nil {
		err = unavailable(err)
		t.log.LogAttrs(ctx, slog.LevelError, "token fetch failed", slog.String("scope", t.scope), slog.Any("error", err))
		t.publish(nil, err)
		return 0, err
	}
	t.publish(&heldToken{header: []string{"Bearer " + token.Token}, until: token.ExpiresOn.Add(-expiryLeeway)}, nil)
	lead := min(refreshLead, left/2)
	if !token.RefreshOn.IsZero() {
		lead = max(lead, token.ExpiresOn.Sub(token.RefreshOn))
	}
	return max(left-lead, refreshFloor), nil
}

// publish installs the news of a fetch. A failure leaves the old token.
func (t *Token) publish(h *heldToken, err error) {
	if h != nil {
		t.held.Store(h)
	}
	t.mu.Lock()
	t.err = err
	close(t.news)
	t.news = make(chan struct{})
	t.mu.Unlock()
}

// Put writes the token that is held. Only when there is none, at start or
// after the process was frozen, does it wait for the fetch under way, and that
// not for long.
func (t *Token) Put(ctx context.Context, out, _ http.Header) error {
	h := t.held.Load()
	if h == nil || !time.Now().Before(h.until) {
		var err error
		if h, err = t.await(ctx); err != nil {
			return err
		}
	}
	out["Authorization"] = h.header
	return nil
}

func (t *Token) await(ctx context.Context) (*heldToken, error) {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	for {
		t.mu.Lock()
		news, err := t.news, t.err
		t.mu.Unlock()
		if h := t.held.Load(); h != nil && time.Now().Before(h.until) {
			return h, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case t.kick <- struct{}{}:
		default:
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: no token for %q within %s: %w", ErrCredential, t.scope, firstWait, context.Cause(ctx))
		}
	}
}

// unavailable tells a refused identity, which no wait will cure, from an
// identity endpoint that is slow, busy or away. azidentity marks both as not
// worth a retry, so the endpoint's answer decides.
func unavailable(err error) error {
	var final interface {
		error
		NonRetriable()
	}
	var failed *azidentity.AuthenticationFailedError
	refused := errors.As(err, &final)
	if errors.As(err, &failed) {
		refused = failed.RawResponse != nil && refusal(failed.RawResponse.StatusCode)
	}
	if refused {
		return fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	return fmt.Errorf("%w: %w", ErrCredential, err)
}

func refusal(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden
}
