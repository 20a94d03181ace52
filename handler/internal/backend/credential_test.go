package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/health"
)

const callerToken = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"

func TestCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		credential backend.Credential
		want       http.Header
	}{
		"key":          {backend.APIKey{Key: "k"}, http.Header{"Api-Key": {"k"}}},
		"bearer":       {backend.APIKey{Key: "k", Bearer: true}, http.Header{"Authorization": {"Bearer k"}}},
		"none":         {backend.NoCredential{}, http.Header{}},
		"pass-through": {backend.PassThrough{}, http.Header{"Authorization": {"Bearer " + callerToken}}},
	} {
		client, received := recordingServer(t)
		client.Targets[0].Credential = c.credential
		r := newRequest()
		r.Header.Set("Authorization", "bearer  "+callerToken)
		r.Header.Set("Api-Key", "caller's")
		if res, outcome := send(t, client, newBackend(), r); res == nil {
			t.Fatal(outcome)
		}
		got := received().header
		for _, header := range []string{"Api-Key", "Authorization"} {
			if got.Get(header) != c.want.Get(header) {
				t.Errorf("%s: %s is %q, want %q", name, header, got.Get(header), c.want.Get(header))
			}
		}
	}
}

func TestOnlyATokenIsPassedThrough(t *testing.T) {
	client, _ := recordingServer(t)
	client.Targets[0].Credential = backend.PassThrough{}
	for _, authorization := range []string{"", "Bearer sk-team-a", "Basic " + callerToken, "Bearer a.b.c.d", "Bearer a..c", "Bearer a.b.", "Bearer " + callerToken + "\tx"} {
		r := newRequest()
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		res, outcome := send(t, client, newBackend(), r)
		if res == nil || res.StatusCode != http.StatusUnauthorized || outcome != "served no token to pass through" {
			t.Fatalf("%q: %v %s", authorization, res, outcome)
		}
		var answer struct {
			Error struct{ Message, Code string }
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error.Code != "invalid_api_key" {
			t.Errorf("%q: %v %+v", authorization, err, answer)
		}
	}
}

func TestRefusedCallerTokenReachesTheCaller(t *testing.T) {
	client := fixedServer(t, rawResponse("401 Unauthorized", "", `{"statusCode":401}`))
	client.Targets[0].Credential = backend.PassThrough{}
	r := newRequest()
	r.Header.Set("Authorization", "Bearer "+callerToken)
	if res, outcome := send(t, client, newBackend(), r); res == nil || outcome != "served 401" {
		t.Errorf("outcome %s", outcome)
	}
}

// fakeTokenSource returns scripted tokens.
type fakeTokenSource struct {
	calls atomic.Int32
	token func(n int32) (azcore.AccessToken, error)
}

func (s *fakeTokenSource) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return s.token(s.calls.Add(1))
}

func accessToken(name string, d time.Duration) azcore.AccessToken {
	return azcore.AccessToken{Token: name, ExpiresOn: time.Now().Add(d)}
}

// runToken runs a token of the source until the test ends.
func runToken(t *testing.T, s *fakeTokenSource) *backend.Token {
	token := backend.NewToken(s, backend.TokenScope, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan bool)
	go func() { token.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
	return token
}

func apply(token *backend.Token) (string, error) {
	h := http.Header{}
	err := token.Apply(context.Background(), h, nil)
	return h.Get("Authorization"), err
}

func TestTokenIsRenewedBeforeItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeTokenSource{token: func(n int32) (azcore.AccessToken, error) {
			return accessToken(string('a'+n-1), time.Hour), nil
		}}
		token := runToken(t, s)
		if got, err := apply(token); got != "Bearer a" || err != nil {
			t.Errorf("at start: %q, %v", got, err)
		}
		time.Sleep(49 * time.Minute)
		synctest.Wait()
		if got, _ := apply(token); got != "Bearer a" || s.calls.Load() != 1 {
			t.Errorf("after 49 min: %q, %d fetches", got, s.calls.Load())
		}
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		if got, _ := apply(token); got != "Bearer b" || s.calls.Load() != 2 {
			t.Errorf("after 56 min: %q, %d fetches", got, s.calls.Load())
		}
	})
}

func TestTokenIsRenewedAtItsRefreshTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeTokenSource{token: func(int32) (azcore.AccessToken, error) {
			token := accessToken("a", 24*time.Hour)
			token.RefreshOn = time.Now().Add(12 * time.Hour)
			return token, nil
		}}
		runToken(t, s)
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if n := s.calls.Load(); n != 2 {
			t.Errorf("%d fetches in 12 hours, want 2", n)
		}
	})
}

func TestRequestsDoNotTriggerExtraFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeTokenSource{token: func(int32) (azcore.AccessToken, error) {
			time.Sleep(time.Second)
			return azcore.AccessToken{}, errors.New("busy")
		}}
		token := runToken(t, s)
		for range 100 { // the first waits for the fetch under way
			_, _ = apply(token)
			synctest.Wait()
		}
		if n := s.calls.Load(); n != 1 {
			t.Errorf("%d fetches for 100 requests at once", n)
		}
		time.Sleep(10 * time.Minute)
		if n := s.calls.Load(); n < 15 || n > 40 {
			t.Errorf("%d fetches in 10 minutes of failure", n)
		}
	})
}

func TestOldTokenIsUsedWhileFetchesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeTokenSource{token: func(n int32) (azcore.AccessToken, error) {
			if n > 1 {
				return azcore.AccessToken{}, errors.New("connection refused")
			}
			return accessToken("a", time.Hour), nil
		}}
		token := runToken(t, s)
		time.Sleep(59*time.Minute + 40*time.Second)
		synctest.Wait()
		if got, err := apply(token); got != "Bearer a" || err != nil {
			t.Errorf("a minute before its end: %q, %v", got, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, err := apply(token); !errors.Is(err, backend.ErrCredentialUnavailable) {
			t.Errorf("behind its end: %q, %v", got, err)
		}
		if n := s.calls.Load(); n > 30 {
			t.Errorf("%d fetches in 6 minutes of outage", n)
		}
	})
}

func TestRequestWaitsForTheFirstToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeTokenSource{token: func(int32) (azcore.AccessToken, error) {
			time.Sleep(2 * time.Second)
			return accessToken("a", time.Hour), nil
		}}
		token := runToken(t, s)
		began := time.Now()
		if got, err := apply(token); got != "Bearer a" || err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("%q, %v after %s", got, err, time.Since(began))
		}
	})
}

func TestWaitForATokenIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeTokenSource{token: func(int32) (azcore.AccessToken, error) {
			time.Sleep(time.Hour)
			return azcore.AccessToken{}, context.DeadlineExceeded
		}}
		token := runToken(t, s)
		began := time.Now()
		if _, err := apply(token); !errors.Is(err, backend.ErrCredentialUnavailable) || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestTokenIsFetchedAfterASuspension(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeTokenSource{token: func(n int32) (azcore.AccessToken, error) {
			token := accessToken("b", time.Hour)
			if n == 1 { // a clock that stood still: the token is over before its refresh is due
				token = accessToken("a", 11*time.Second)
			}
			return token, nil
		}}
		token := runToken(t, s)
		time.Sleep(2 * time.Second)
		began := time.Now()
		if got, err := apply(token); got != "Bearer b" || err != nil || time.Since(began) != 0 {
			t.Errorf("%q, %v after %s", got, err, time.Since(began))
		}
	})
}

func TestExpiredTokenIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := runToken(t, &fakeTokenSource{token: func(int32) (azcore.AccessToken, error) { return accessToken("a", -time.Minute), nil }})
		if got, err := apply(token); !errors.Is(err, backend.ErrCredentialUnavailable) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestTokenErrorsAreClassified(t *testing.T) {
	status := func(code int) error {
		return &azidentity.AuthenticationFailedError{RawResponse: &http.Response{StatusCode: code, Body: http.NoBody}}
	}
	for name, c := range map[string]struct {
		err  error
		want health.OutcomeClass
	}{
		"endpoint down":       {errors.New("connection refused"), health.Failed},
		"endpoint busy":       {status(http.StatusTooManyRequests), health.Failed},
		"endpoint broken":     {status(http.StatusInternalServerError), health.Failed},
		"endpoint unreadable": {&azidentity.AuthenticationFailedError{}, health.Failed},
		"identity unknown":    {status(http.StatusBadRequest), health.Misconfigured},
		"identity refused":    {status(http.StatusUnauthorized), health.Misconfigured},
		"nobody logged in":    {azidentity.NewCredentialUnavailableError("log in"), health.Misconfigured},
	} {
		client, _ := recordingServer(t)
		token := backend.NewToken(&fakeTokenSource{token: func(int32) (azcore.AccessToken, error) { return azcore.AccessToken{}, c.err }}, backend.TokenScope, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan bool)
		go func() { token.Run(ctx); close(ended) }()
		client.Targets[0].Credential = token
		res, o := client.Send(context.Background(), newBackend(), newRequest(), nil)
		if res != nil || o.Class != c.want || o.Reason != "credential unavailable" {
			t.Errorf("%s: %+v", name, o)
		}
		cancel()
		<-ended
	}
}
