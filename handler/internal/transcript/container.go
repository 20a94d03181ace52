package transcript

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// ErrConnection is returned for a connection string that names no blob service,
// or holds no usable key or signature.
var ErrConnection = errors.New("transcript: the connection string names no blob service with a key")

// Properties is what is stored with the bytes of a blob. Values of Metadata are
// printable ASCII; empty ones are left out.
type Properties struct {
	ContentType string
	Metadata    map[string]string
}

// Container is a blob container. It is created by the first write when it is
// missing. It is safe for concurrent use.
type Container struct {
	name   string
	client *container.Client
}

// ConnectContainer is a container by the connection string of its account.
// Nothing is sent. transport may be nil. The error is ErrConnection.
func ConnectContainer(connection, name string, transport policy.Transporter) (*Container, error) {
	// The portal shows a signature with a leading question mark.
	connection = strings.Replace(connection, "SharedAccessSignature=?", "SharedAccessSignature=", 1)
	client, err := container.NewClientFromConnectionString(connection, name, clientOptions(transport))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConnection, err)
	}
	if _, query, _ := strings.Cut(client.URL(), "?"); !validQuery(query) {
		return nil, fmt.Errorf("%w: its shared access signature cannot be read", ErrConnection)
	}
	return &Container{name, client}, nil
}

func validQuery(query string) bool {
	_, err := url.ParseQuery(query)
	return err == nil
}

// OpenContainer is a container of the blob service at
// https://<account>.blob.core.windows.net, by an identity with the role Storage
// Blob Data Contributor. Nothing is sent. transport may be nil.
func OpenContainer(serviceURL, name string, credential azcore.TokenCredential, transport policy.Transporter) (*Container, error) {
	client, err := container.NewClient(strings.TrimRight(serviceURL, "/")+"/"+name, credential, clientOptions(transport))
	if err != nil {
		return nil, fmt.Errorf("open container %q at %q: %w", name, serviceURL, err)
	}
	return &Container{name, client}, nil
}

// clientOptions turns the SDK's retries off: a retry would hold memory that
// other transcripts need. Tokens may be sent without TLS, because the
// configuration accepts http only for addresses of loopback.
func clientOptions(transport policy.Transporter) *container.ClientOptions {
	return &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: transport,
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "spillway"},

		InsecureAllowCredentialWithHTTP: true,
	}}
}

// Put writes a whole blob.
func (c *Container) Put(ctx context.Context, name string, p Properties, body []byte) error {
	return c.do(ctx, func() error {
		_, err := c.client.NewBlockBlobClient(name).Upload(ctx, streaming.NopCloser(bytes.NewReader(body)), &blockblob.UploadOptions{HTTPHeaders: p.headers(), Metadata: p.metadata()})
		return err
	})
}

// Stage sends one block of a blob. The blob does not exist before Commit.
func (c *Container) Stage(ctx context.Context, name string, block int, body []byte) error {
	return c.do(ctx, func() error {
		_, err := c.client.NewBlockBlobClient(name).StageBlock(ctx, blockID(block), streaming.NopCloser(bytes.NewReader(body)), nil)
		return err
	})
}

// Commit makes a blob of its first blocks.
func (c *Container) Commit(ctx context.Context, name string, p Properties, blocks int) error {
	ids := make([]string, blocks)
	for i := range ids {
		ids[i] = blockID(i)
	}
	return c.do(ctx, func() error {
		_, err := c.client.NewBlockBlobClient(name).CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{HTTPHeaders: p.headers(), Metadata: p.metadata()})
		return err
	})
}

// do makes a call, and creates the container when it is missing. Several calls
// may find it missing at once.
func (c *Container) do(ctx context.Context, call func() error) error {
	err := call()
	if bloberror.HasCode(err, bloberror.ContainerNotFound) {
		_, err = c.client.Create(ctx, nil)
		if err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
			return fmt.Errorf("create container %q: %w", c.name, withoutSecrets(err))
		}
		err = call()
	}
	if err != nil {
		return fmt.Errorf("write to container %q: %w", c.name, withoutSecrets(err))
	}
	return nil
}

// withoutSecrets drops what must not be logged: the URL of a failed call, which
// may hold a signature, and the body of a response.
func withoutSecrets(err error) error {
	if response, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return fmt.Errorf("the service answered %d %s", response.StatusCode, response.ErrorCode)
	}
	if call, ok := errors.AsType[*url.Error](err); ok {
		return call.Err
	}
	return err
}

// blockID has the same length for every block of a blob, as the service demands.
func blockID(n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", n))
}

func (p *Properties) headers() *blob.HTTPHeaders {
	if p.ContentType == "" {
		return nil
	}
	return &blob.HTTPHeaders{BlobContentType: &p.ContentType}
}

func (p *Properties) metadata() map[string]*string {
	all := map[string]*string{}
	for name, value := range p.Metadata {
		if value != "" {
			all[name] = &value
		}
	}
	return all
}
