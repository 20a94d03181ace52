// Package azure is a table in Azure Table Storage. It knows the SDK and how it
// differs from what callers expect (docs/shared-state.md#what-the-table-does), and
// nothing of what is stored.
package azure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"spillway/handler/internal/tablestore"
)

var _ tablestore.Store = (*Store)(nil)

// Store is one table of an account. It is safe for concurrent use.
type Store struct {
	client   *aztables.Client
	pageSize *int32 // of List; nil = the service's
}

// Options are how the service is reached. The zero Options are the public cloud
// and Transport().
type Options struct {
	Cloud     cloud.Configuration
	Transport policy.Transporter
}

// Connect opens the named table by a connection string. Nothing is sent before
// the first call.
func Connect(connection, name string, o Options) (*Store, error) {
	service, err := aztables.NewServiceClientFromConnectionString(connection, o.client())
	if err != nil {
		return nil, fmt.Errorf("open table %q by connection string: %w", name, err)
	}
	return &Store{client: service.NewClient(name)}, nil
}

// Open opens the named table at https://<account>.table.core.windows.net with
// an identity that holds the role Storage Table Data Contributor. Nothing is
// sent before the first call, which also fetches the first token.
func Open(serviceURL, name string, credential azcore.TokenCredential, o Options) (*Store, error) {
	service, err := aztables.NewServiceClient(serviceURL, &sharedToken{inner: credential}, o.client())
	if err != nil {
		return nil, fmt.Errorf("open table %q at %q: %w", name, serviceURL, err)
	}
	return &Store{client: service.NewClient(name)}, nil
}

// client turns the SDK's retries off: a swap that is sent again after a lost
// response conflicts with its own first try, seconds late
// (docs/shared-state.md#what-the-table-does).
func (o Options) client() *aztables.ClientOptions {
	if o.Transport == nil {
		o.Transport = Transport()
	}
	return &aztables.ClientOptions{ClientOptions: azcore.ClientOptions{
		Cloud:           o.Cloud,
		Transport:       o.Transport,
		Retry:           policy.RetryOptions{MaxRetries: -1},
		Telemetry:       policy.TelemetryOptions{ApplicationID: "spillway"},
		PerCallPolicies: []policy.Policy{asciiBodies{}},
	}}
}

// Transport returns an HTTP client for small, frequent exchanges with one host.
// It closes an idle connection before the emulator does after 5 s, so that no
// exchange uses a half-closed one; refreshes keep it open.
func Transport() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   2 * time.Second,
			MaxIdleConns:          32,
			MaxIdleConnsPerHost:   32,
			IdleConnTimeout:       4 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			DisableCompression:    true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// EnsureTable makes the table unless it exists.
func (s *Store) EnsureTable(ctx context.Context) error {
	_, err := s.client.CreateTable(ctx, nil)
	if errorCode(err) == string(aztables.TableAlreadyExists) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create table: %w", classifyError(err))
	}
	return nil
}

// withTable makes one exchange; a table that does not exist is made, and then the
// exchange, which cannot have been applied, is made again.
func (s *Store) withTable(ctx context.Context, exchange func(context.Context) error) error {
	err := exchange(ctx)
	if errorCode(err) != string(aztables.TableNotFound) {
		return err
	}
	if err := s.EnsureTable(ctx); err != nil {
		return err
	}
	err = exchange(ctx)
	if errorCode(err) == string(aztables.TableNotFound) {
		return fmt.Errorf("%w: the table is not there although it was just made", tablestore.ErrUnknown)
	}
	return err
}

// classifyError maps an error of the SDK to one of the store. A missing row is
// ErrNotFound; for a swap, the caller makes it ErrConflict.
func classifyError(err error) error {
	if err == nil || isStoreError(err) {
		return err
	}
	var res *azcore.ResponseError
	if !errors.As(err, &res) {
		return transportError(err)
	}
	switch status := res.StatusCode; {
	case res.ErrorCode == string(aztables.TableBeingDeleted):
		return fmt.Errorf("%w: the table is being deleted, which takes a minute; then it is made again", tablestore.ErrRefused)
	case status == http.StatusNotFound && res.ErrorCode == "": // a page of whatever is in between, not a row that is missing
		return fmt.Errorf("%w: status 404 without an error code", tablestore.ErrUnknown)
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: %s", tablestore.ErrNotFound, res.ErrorCode)
	case status == http.StatusConflict, status == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %s", tablestore.ErrConflict, res.ErrorCode)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return fmt.Errorf("%w: status %d %s", tablestore.ErrUnknown, status, res.ErrorCode)
	default:
		return fmt.Errorf("%w: status %d %s: check the credential, its role Storage Table Data Contributor, and this machine's clock", tablestore.ErrRefused, status, res.ErrorCode)
	}
}

// transportError distinguishes an exchange that was never sent, because there was
// no token, from one that may have been applied.
func transportError(err error) error {
	var auth *azidentity.AuthenticationFailedError
	if errors.As(err, &auth) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: no token: %w", tablestore.ErrRefused, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = lateError{}
	}
	return fmt.Errorf("%w: %w", tablestore.ErrUnknown, err)
}

// lateError is a deadline that passed, in the words of the log and the page.
type lateError struct{}

func (lateError) Error() string { return "no answer in time" }
func (lateError) Unwrap() error { return context.DeadlineExceeded }

func isStoreError(err error) bool {
	return errors.Is(err, tablestore.ErrUnknown) || errors.Is(err, tablestore.ErrRefused) ||
		errors.Is(err, tablestore.ErrConflict) || errors.Is(err, tablestore.ErrNotFound)
}

// errorCode is the service's code of an error; "" if it sent none.
func errorCode(err error) string {
	var res *azcore.ResponseError
	if errors.As(err, &res) {
		return res.ErrorCode
	}
	return ""
}
