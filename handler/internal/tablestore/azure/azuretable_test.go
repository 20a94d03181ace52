package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/storetest"
)

// opener opens a table of its own for each call; it does not exist yet.
func opener(t *testing.T, o Options) func(*testing.T) tablestore.Store {
	connection := storetest.Azurite(t)
	var tables atomic.Int64
	return func(t *testing.T) tablestore.Store {
		t.Helper()
		s, err := Connect(connection, fmt.Sprintf("contract%d", tables.Add(1)), o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestAzureTableFulfilsTheContract(t *testing.T) {
	storetest.Run(t, opener(t, Options{}))
}

// withoutIfMatch is what the SDK sends when IfMatch is left out.
type withoutIfMatch struct{ *http.Client }

func (c withoutIfMatch) Do(r *http.Request) (*http.Response, error) {
	if r.Header.Get("If-Match") != "" {
		r.Header.Set("If-Match", "*")
	}
	return c.Client.Do(r)
}

func TestContractSeesThatIfMatchIsMissing(t *testing.T) {
	open := opener(t, Options{Transport: withoutIfMatch{Transport()}})
	for _, check := range storetest.Contract() {
		if strings.Contains(check.Name, "an old version") || strings.Contains(check.Name, "many writers") {
			if check.Run(t.Context(), open(t)) == nil {
				t.Errorf("%q passed although every swap was sent with If-Match: *", check.Name)
			}
		}
	}
}

func TestATableThatIsMissingIsMade(t *testing.T) {
	open := opener(t, Options{})
	s := open(t)
	if _, _, err := s.Get(t.Context(), "p", "r"); !errors.Is(err, tablestore.ErrNotFound) {
		t.Errorf("first read: %v, want ErrNotFound", err)
	}
	s = open(t)
	if _, _, err := s.Put(t.Context(), tablestore.Row{Partition: "p", Key: "r"}); err != nil {
		t.Errorf("first insert: %v", err)
	}
	s = open(t)
	if rows, _, err := s.List(t.Context(), "p", "", ""); err != nil || len(rows) != 0 {
		t.Errorf("first list: %d rows, %v", len(rows), err)
	}
}

// answering is a service that answers each exchange the same, and counts them.
type answering struct {
	status int
	err    error
	asked  atomic.Int64
}

func (a *answering) Do(r *http.Request) (*http.Response, error) {
	a.asked.Add(1)
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{
		StatusCode: a.status, Request: r, Body: http.NoBody,
		Header: http.Header{"Date": {"Sat, 21 Nov 2026 08:00:00 GMT"}, "Retry-After": {"7"}},
	}, nil
}

func TestEveryExchangeIsTriedOnce(t *testing.T) {
	for _, c := range []struct {
		status int
		err    error
		want   error
	}{
		{status: 503, want: tablestore.ErrUnknown},
		{status: 500, want: tablestore.ErrUnknown},
		{status: 429, want: tablestore.ErrUnknown},
		{status: 408, want: tablestore.ErrUnknown},
		{status: 403, want: tablestore.ErrRefused},
		{status: 400, want: tablestore.ErrRefused},
		{status: 412, want: tablestore.ErrConflict},
		{status: 409, want: tablestore.ErrConflict},
		{err: errors.New("connection reset by peer"), want: tablestore.ErrUnknown},
	} {
		service := &answering{status: c.status, err: c.err}
		s, err := Connect("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net", "t", Options{Transport: service})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, reply, err := s.Put(t.Context(), tablestore.Row{Partition: "p", Key: "r", Version: "W/\"1\""})
		if !errors.Is(err, c.want) {
			t.Errorf("%d %v: %v, want %v", c.status, c.err, err, c.want)
		}
		if asked := service.asked.Load(); asked != 1 || time.Since(start) > time.Second {
			t.Errorf("%d %v: asked %d times in %v, want once", c.status, c.err, asked, time.Since(start))
		}
		if c.err == nil && reply.Date.IsZero() {
			t.Errorf("%d: the answer's Date was not taken", c.status)
		}
	}
}

func TestWhatTheServiceWouldRefuseIsRefusedHere(t *testing.T) {
	s, err := Connect("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net", "t", Options{Transport: &answering{status: 204}})
	if err != nil {
		t.Fatal(err)
	}
	many := map[string]string{}
	for i := range 253 {
		many[fmt.Sprintf("c%d", i)] = ""
	}
	for name, row := range map[string]tablestore.Row{
		"slash in a key":    {Partition: "p", Key: "a/b"},
		"control character": {Partition: "p\n", Key: "a"},
		"long key":          {Partition: "p", Key: strings.Repeat("k", 1025)},
		"long column":       {Partition: "p", Key: "k", Columns: map[string]string{"c": strings.Repeat("x", 33_000)}},
		"many columns":      {Partition: "p", Key: "k", Columns: many},
	} {
		if _, _, err := s.Put(context.Background(), row); !errors.Is(err, tablestore.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
		if _, _, err := s.Upsert(context.Background(), row); !errors.Is(err, tablestore.ErrRefused) {
			t.Errorf("%s, set: %v, want ErrRefused", name, err)
		}
	}
}

// token is an identity that hands out one token, or none.
type token struct {
	err   error
	asked []string
}

func (c *token) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.asked = append(c.asked, o.Scopes...)
	return azcore.AccessToken{Token: "secret", ExpiresOn: time.Now().Add(time.Hour)}, c.err
}

// A fetch of a token that takes longer than an exchange may is not begun anew
// by each.
func TestASlowTokenServesTheExchangesThatComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowToken{}
		p := &patient{under: slow}
		for i := range 4 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := p.GetToken(ctx, policy.TokenRequestOptions{})
			cancel()
			if early := i < 3; early != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("exchange %d: %v", i, err)
			}
		}
		if slow.fetches != 1 {
			t.Errorf("%d fetches, want one", slow.fetches)
		}
	})
}

// slowToken takes three and a half seconds.
type slowToken struct{ fetches int }

func (c *slowToken) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.fetches++
	select {
	case <-time.After(3500 * time.Millisecond):
		return azcore.AccessToken{Token: "secret"}, nil
	case <-ctx.Done():
		return azcore.AccessToken{}, ctx.Err()
	}
}

// bearing is a service that wants the token.
type bearing struct{ answering }

func (b *bearing) Do(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") != "Bearer secret" {
		b.status = http.StatusForbidden
	}
	return b.answering.Do(r)
}

func TestAnIdentityIsUsedWithItsToken(t *testing.T) {
	identity := &token{}
	s, err := Open("https://account.table.core.windows.net", "t", identity, Options{Transport: &bearing{answering{status: 204}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(t.Context(), tablestore.Row{Partition: "p", Key: "r", Version: "v"}); err != nil {
		t.Errorf("with the token: %v", err)
	}
	if len(identity.asked) != 1 || identity.asked[0] != "https://storage.azure.com/.default" {
		t.Errorf("asked for %q, want the storage service's scope", identity.asked)
	}
	identity.err = errors.New("no identity is assigned to this app")
	s, err = Open("https://account.table.core.windows.net", "t", identity, Options{Transport: &answering{status: 204}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "p", "r"); !errors.Is(err, tablestore.ErrUnknown) && !errors.Is(err, tablestore.ErrRefused) {
		t.Errorf("without a token: %v, want one of the table's errors", err)
	}
}
