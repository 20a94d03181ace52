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

const webToken = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"

func TestCredentialIsTheTargetsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		credential backend.Credential
		want       http.Header
	}{
		"key":          {backend.APIKey{Key: "k"}, http.Header{"Api-Key": {"k"}}},
		"bearer":       {backend.APIKey{Key: "k", Bearer: true}, http.Header{"Authorization": {"Bearer k"}}},
		"none":         {backend.Anonymous{}, http.Header{}},
		"pass-through": {backend.PassThrough{}, http.Header{"Authorization": {"Bearer " + webToken}}},
	} {
		client, saw := listening(t)
		client.Targets[0].Credential = c.credential
		r := plan()
		r.Header.Set("Authorization", "bearer  "+webToken)
		r.Header.Set("Api-Key", "caller's")
		if res, said := send(t, client, newBackend(), r); res == nil {
			t.Fatal(said)
		}
		got := saw().header
		for _, header := range []string{"Api-Key", "Authorization"} {
			if got.Get(header) != c.want.Get(header) {
				t.Errorf("%s: %s is %q, want %q", name, header, got.Get(header), c.want.Get(header))
			}
		}
	}
}

func TestKeysOfOursAreNotPassedThrough(t *testing.T) {
	client, _ := listening(t)
	client.Targets[0].Credential = backend.PassThrough{}
	for _, authorization := range []string{"", "Bearer sk-team-a", "Basic " + webToken, "Bearer a.b.c.d", "Bearer a..c", "Bearer a.b.", "Bearer " + webToken + "\tx"} {
		r := plan()
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		res, said := send(t, client, newBackend(), r)
		if res == nil || res.StatusCode != http.StatusUnauthorized || said != "served no token to pass through" {
			t.Fatalf("%q: %v %s", authorization, res, said)
		}
		var answer struct {
			Error struct{ Message, Code string }
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error.Code != "invalid_api_key" {
			t.Errorf("%q: %v %+v", authorization, err, answer)
		}
	}
}

func TestRefusedTokenOfTheCallerIsTheCallersBusiness(t *testing.T) {
	client := answering(t, said("401 Unauthorized", "", `{"statusCode":401}`))
	client.Targets[0].Credential = backend.PassThrough{}
	r := plan()
	r.Header.Set("Authorization", "Bearer "+webToken)
	if res, said := send(t, client, newBackend(), r); res == nil || said != "served 401" {
		t.Errorf("said %s", said)
	}
}

// source gives tokens by a script.
type source struct {
	calls atomic.Int32
	give  func(n int32) (azcore.AccessToken, error)
}

func (s *source) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return s.give(s.calls.Add(1))
}

func lasting(name string, d time.Duration) azcore.AccessToken {
	return azcore.AccessToken{Token: name, ExpiresOn: time.Now().Add(d)}
}

// keep runs a token of the source until the test ends.
func keep(t *testing.T, s *source) *backend.Token {
	token := backend.NewToken(s, backend.Scope, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan bool)
	go func() { token.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
	return token
}

func put(token *backend.Token) (string, error) {
	h := http.Header{}
	err := token.Put(context.Background(), h, nil)
	return h.Get("Authorization"), err
}

func TestTokenIsRenewedAheadOfItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{give: func(n int32) (azcore.AccessToken, error) {
			return lasting(string('a'+n-1), time.Hour), nil
		}}
		token := keep(t, s)
		if got, err := put(token); got != "Bearer a" || err != nil {
			t.Errorf("at start: %q, %v", got, err)
		}
		time.Sleep(49 * time.Minute)
		synctest.Wait()
		if got, _ := put(token); got != "Bearer a" || s.calls.Load() != 1 {
			t.Errorf("after 49 min: %q, %d fetches", got, s.calls.Load())
		}
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		if got, _ := put(token); got != "Bearer b" || s.calls.Load() != 2 {
			t.Errorf("after 56 min: %q, %d fetches", got, s.calls.Load())
		}
	})
}

func TestTokenIsRenewedWhenItSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{give: func(int32) (azcore.AccessToken, error) {
			token := lasting("a", 24*time.Hour)
			token.RefreshOn = time.Now().Add(12 * time.Hour)
			return token, nil
		}}
		keep(t, s)
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if n := s.calls.Load(); n != 2 {
			t.Errorf("%d fetches in 12 hours, want 2", n)
		}
	})
}

func TestRequestsDoNotHurryAFailingEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{give: func(int32) (azcore.AccessToken, error) {
			time.Sleep(time.Second)
			return azcore.AccessToken{}, errors.New("busy")
		}}
		token := keep(t, s)
		for range 100 { // the first waits for the fetch under way
			_, _ = put(token)
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

func TestOldTokenServesWhileTheEndpointIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{give: func(n int32) (azcore.AccessToken, error) {
			if n > 1 {
				return azcore.AccessToken{}, errors.New("connection refused")
			}
			return lasting("a", time.Hour), nil
		}}
		token := keep(t, s)
		time.Sleep(59*time.Minute + 40*time.Second)
		synctest.Wait()
		if got, err := put(token); got != "Bearer a" || err != nil {
			t.Errorf("a minute before its end: %q, %v", got, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, err := put(token); !errors.Is(err, backend.ErrCredential) {
			t.Errorf("behind its end: %q, %v", got, err)
		}
		if n := s.calls.Load(); n > 30 {
			t.Errorf("%d fetches in 6 minutes of outage", n)
		}
	})
}

func TestFirstRequestWaitsForTheFirstToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{give: func(int32) (azcore.AccessToken, error) {
			time.Sleep(2 * time.Second)
			return lasting("a", time.Hour), nil
		}}
		token := keep(t, s)
		began := time.Now()
		if got, err := put(token); got != "Bearer a" || err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("%q, %v after %s", got, err, time.Since(began))
		}
	})
}

func TestNobodyWaitsLongForAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{give: func(int32) (azcore.AccessToken, error) {
			time.Sleep(time.Hour)
			return azcore.AccessToken{}, context.DeadlineExceeded
		}}
		token := keep(t, s)
		began := time.Now()
		if _, err := put(token); !errors.Is(err, backend.ErrCredential) || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestFrozenProcessFetchesAtOnceWhenItThaws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{give: func(n int32) (azcore.AccessToken, error) {
			token := lasting("b", time.Hour)
			if n == 1 { // a clock that stood still: the token is over before its refresh is due
				token = lasting("a", 11*time.Second)
			}
			return token, nil
		}}
		token := keep(t, s)
		time.Sleep(2 * time.Second)
		began := time.Now()
		if got, err := put(token); got != "Bearer b" || err != nil || time.Since(began) != 0 {
			t.Errorf("%q, %v after %s", got, err, time.Since(began))
		}
	})
}

func TestExpiredTokenIsNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := keep(t, &source{give: func(int32) (azcore.AccessToken, error) { return lasting("a", -time.Minute), nil }})
		if got, err := put(token); !errors.Is(err, backend.ErrCredential) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestWantOfACredentialIsToldApart(t *testing.T) {
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
		client, _ := listening(t)
		token := backend.NewToken(&source{give: func(int32) (azcore.AccessToken, error) { return azcore.AccessToken{}, c.err }}, backend.Scope, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan bool)
		go func() { token.Run(ctx); close(ended) }()
		client.Targets[0].Credential = token
		res, o := client.Send(context.Background(), newBackend(), plan(), nil)
		if res != nil || o.Class != c.want || o.Reason != "credential unavailable" {
			t.Errorf("%s: %+v", name, o)
		}
		cancel()
		<-ended
	}
}
