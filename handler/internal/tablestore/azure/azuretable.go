// Package azuretable is a table in Azure Table Storage. It knows the SDK and
// its traps, and nothing of what is stored.
package azure

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"spillway/handler/internal/tablestore"
)

var _ tablestore.Store = (*Store)(nil)

// Store is one table of an account. It is safe for concurrent use.
type Store struct {
	client *aztables.Client
}

// Options say how the service is reached. The zero Options are the public
// cloud and a transport of our own.
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
	return &Store{service.NewClient(name)}, nil
}

// Open opens the named table at https://<account>.table.core.windows.net with
// an identity that holds the role Storage Table Data Contributor. Nothing is
// sent before the first call, which also fetches the first token.
func Open(serviceURL, name string, credential azcore.TokenCredential, o Options) (*Store, error) {
	service, err := aztables.NewServiceClient(serviceURL, &patient{under: credential}, o.client())
	if err != nil {
		return nil, fmt.Errorf("open table %q at %q: %w", name, serviceURL, err)
	}
	return &Store{service.NewClient(name)}, nil
}

// client turns the SDK's retries off: a swap that it resends after a lost
// answer meets its own first try and reports a conflict, seconds late
// (facts/table-state.md §1).
func (o Options) client() *aztables.ClientOptions {
	if o.Transport == nil {
		o.Transport = Transport()
	}
	return &aztables.ClientOptions{ClientOptions: azcore.ClientOptions{
		Cloud:     o.Cloud,
		Transport: o.Transport,
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "spillway"},
	}}
}

// Transport is an HTTP client fit for small, frequent exchanges with one host.
// It drops an idle connection before the emulator does after 5 s, so that no
// exchange meets a half-closed one; a refresh keeps it open.
func Transport() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   2 * time.Second,
			MaxIdleConns:          16,
			MaxIdleConnsPerHost:   16,
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
	return exchange(ctx)
}
