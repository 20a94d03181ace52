package azure

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// TestAzurite runs what needs a live table, on one emulator.
func TestAzurite(t *testing.T) {
	connection := storetest.Azurite(t)
	var tables atomic.Int64
	// opener returns a function that opens a new table, not created yet, each call.
	opener := func(o Options) func(*testing.T) *Store {
		return func(t *testing.T) *Store {
			t.Helper()
			s, err := Connect(connection, fmt.Sprintf("contract%d", tables.Add(1)), o)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Run("store meets the contract", func(t *testing.T) {
		open := opener(Options{})
		storetest.Run(t, func(t *testing.T) tablestore.Store { return open(t) })
	})
	t.Run("contract fails without If-Match", func(t *testing.T) {
		contractFailsWithoutIfMatch(t, opener(Options{Transport: withoutIfMatch{Transport()}}))
	})
	t.Run("missing table is created", func(t *testing.T) { missingTableIsCreated(t, opener(Options{})) })
	t.Run("list returns all pages", func(t *testing.T) { listReturnsAllPages(t, opener(Options{})(t)) })
}

// withoutIfMatch sends what the SDK does when IfMatch is not set.
type withoutIfMatch struct{ *http.Client }

func (c withoutIfMatch) Do(r *http.Request) (*http.Response, error) {
	if r.Header.Get("If-Match") != "" {
		r.Header.Set("If-Match", "*")
	}
	return c.Client.Do(r)
}

func contractFailsWithoutIfMatch(t *testing.T, open func(*testing.T) *Store) {
	t.Helper()
	for _, check := range storetest.Contract() {
		if strings.Contains(check.Name, "an old version") || strings.Contains(check.Name, "many writers") {
			if check.Run(t.Context(), open(t)) == nil {
				t.Errorf("%q passes although every swap was sent with If-Match: *", check.Name)
			}
		}
	}
}

func missingTableIsCreated(t *testing.T, open func(*testing.T) *Store) {
	t.Helper()
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

// fixedResponse responds to every exchange in the same way, and counts them.
type fixedResponse struct {
	status int
	err    error
	calls  atomic.Int64
}

func (a *fixedResponse) Do(r *http.Request) (*http.Response, error) {
	a.calls.Add(1)
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{
		StatusCode: a.status, Request: r, Body: http.NoBody,
		Header: http.Header{"Date": {"Sat, 21 Nov 2026 08:00:00 GMT"}, "Retry-After": {"7"}},
	}, nil
}

func listReturnsAllPages(t *testing.T, s *Store) {
	t.Helper()
	size := int32(7)
	s.pageSize = &size
	for i := range 20 {
		if _, _, err := s.Put(t.Context(), tablestore.Row{Partition: "p", Key: fmt.Sprintf("%02d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	rows, _, err := s.List(t.Context(), "p", "05", "")
	if err != nil || len(rows) != 15 || rows[0].Key != "05" || rows[14].Key != "19" {
		t.Errorf("listed %d rows in pages of 7, %v; want 05 to 19", len(rows), err)
	}
}

func TestExchangeIsTriedOnce(t *testing.T) {
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
		synctest.Test(t, func(t *testing.T) {
			service := &fixedResponse{status: c.status, err: c.err}
			s, err := Connect("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net", "t", Options{Transport: service})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, response, err := s.Put(t.Context(), tablestore.Row{Partition: "p", Key: "r", Version: "W/\"1\""})
			if !errors.Is(err, c.want) {
				t.Errorf("%d %v: %v, want %v", c.status, c.err, err, c.want)
			}
			if calls := service.calls.Load(); calls != 1 || time.Since(start) > 0 {
				t.Errorf("%d %v: %d calls in %v, want one at once", c.status, c.err, calls, time.Since(start))
			}
			if c.err == nil && response.Date.IsZero() {
				t.Errorf("%d: the response's Date is missing", c.status)
			}
		})
	}
}

// codedResponses answers an exchange with a row by one status and code, one with the
// table by another, and counts them.
type codedResponses struct {
	row, table coded
	calls      atomic.Int64
}

type coded struct {
	status int
	code   string
}

func (a *codedResponses) Do(r *http.Request) (*http.Response, error) {
	a.calls.Add(1)
	is := a.row
	if strings.HasSuffix(r.URL.Path, "/Tables") {
		is = a.table
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if is.code != "" {
		header.Set("X-Ms-Error-Code", is.code)
	}
	return &http.Response{StatusCode: is.status, Request: r, Body: io.NopCloser(strings.NewReader("{}")), Header: header}, nil
}

// A table that cannot be used is none without rows, and no write to it a conflict:
// either would be tried again at once, and forget what the fleet knows.
func TestUnusableTableIsNoEmptyOne(t *testing.T) {
	for name, c := range map[string]struct {
		row, table coded
		want       error
	}{
		"being deleted":       {coded{404, "TableNotFound"}, coded{409, "TableBeingDeleted"}, tablestore.ErrRefused},
		"never there":         {coded{404, "TableNotFound"}, coded{409, "TableAlreadyExists"}, tablestore.ErrUnknown},
		"another server":      {coded{404, ""}, coded{404, ""}, tablestore.ErrUnknown},
		"may not make tables": {coded{404, "TableNotFound"}, coded{403, "AuthorizationPermissionMismatch"}, tablestore.ErrRefused},
	} {
		service := &codedResponses{row: c.row, table: c.table}
		s, err := Connect("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net", "t", Options{Transport: service})
		if err != nil {
			t.Fatal(err)
		}
		_, _, read := s.Get(t.Context(), "p", "r")
		_, _, written := s.Replace(t.Context(), tablestore.Row{Partition: "p", Key: "r", Version: "W/\"1\""})
		for _, err := range []error{read, written} {
			if !errors.Is(err, c.want) || errors.Is(err, tablestore.ErrNotFound) || errors.Is(err, tablestore.ErrConflict) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
	}
}

func TestRowsOverTheServiceLimitsAreRefused(t *testing.T) {
	s, err := Connect("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net", "t", Options{Transport: &fixedResponse{status: 204}})
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
			t.Errorf("%s, upsert: %v, want ErrRefused", name, err)
		}
	}
}

// fixedToken is a credential that returns one token, or an error.
type fixedToken struct {
	err    error
	scopes []string
}

func (c *fixedToken) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.scopes = append(c.scopes, o.Scopes...)
	return azcore.AccessToken{Token: "secret", ExpiresOn: time.Now().Add(time.Hour)}, c.err
}

// A fetch of a token that takes longer than an exchange is not repeated for each.
func TestSlowTokenFetchIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowToken{}
		p := &sharedToken{inner: slow}
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

// slowToken is a credential whose fetch takes three and a half seconds.
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

// authenticating is a service that requires the token.
type authenticating struct{ fixedResponse }

func (b *authenticating) Do(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") != "Bearer secret" {
		b.status = http.StatusForbidden
	}
	return b.fixedResponse.Do(r)
}

func TestCredentialsTokenIsSent(t *testing.T) {
	identity := &fixedToken{}
	s, err := Open("https://account.table.core.windows.net", "t", identity, Options{Transport: &authenticating{fixedResponse{status: 204}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Put(t.Context(), tablestore.Row{Partition: "p", Key: "r", Version: "v"}); err != nil {
		t.Errorf("with the token: %v", err)
	}
	if len(identity.scopes) != 1 || identity.scopes[0] != "https://storage.azure.com/.default" {
		t.Errorf("requested %q, want the storage service's scope", identity.scopes)
	}
	identity.err = errors.New("no identity is assigned to this app")
	s, err = Open("https://account.table.core.windows.net", "t", identity, Options{Transport: &fixedResponse{status: 204}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), "p", "r"); !errors.Is(err, tablestore.ErrUnknown) && !errors.Is(err, tablestore.ErrRefused) {
		t.Errorf("without a token: %v, want one of the store's errors", err)
	}
}

// A deadline is said in words that an operator knows, and can be told from other errors.
func TestLateAnswersAreSaidPlainly(t *testing.T) {
	err := transportError(fmt.Errorf("Get %q: %w", "https://account.table.core.windows.net/t?sig=secret", context.DeadlineExceeded))
	if err.Error() != "table: outcome unknown: no answer in time" || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, tablestore.ErrUnknown) {
		t.Error(err)
	}
}
