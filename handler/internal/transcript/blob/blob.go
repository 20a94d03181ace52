// Package blob writes block blobs over the storage service's own REST interface:
// a whole one at once, or block by block. It can write and nothing else.
package blob

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// version is that of the interface, the oldest one with large blocks.
const version = "2021-08-06"

// ErrRefused is an answer that says no. It names the service's own code and
// nothing of what was sent.
var ErrRefused = errors.New("blob: refused")

// Container is one container of an account. Its fields are set before the first
// call and not after; it is safe for concurrent use.
type Container struct {
	Endpoint string // https://ACCOUNT.blob.core.windows.net
	Name     string
	Sign     Signer
	Client   *http.Client // nil = http.DefaultClient
}

// Signer proves who asks. It is called with everything but the proof in place.
type Signer interface {
	Sign(ctx context.Context, r *http.Request) error
}

// About is what is kept beside a blob's bytes. Values are printable ASCII.
type About struct {
	Type string
	Meta map[string]string
}

// Put writes a whole blob.
func (c *Container) Put(ctx context.Context, name string, about About, body []byte) error {
	h := about.header("Content-Type")
	h.Set("X-Ms-Blob-Type", "BlockBlob")
	return c.do(ctx, name, nil, h, body)
}

// Stage sends one block of a blob that is not there before Commit.
func (c *Container) Stage(ctx context.Context, name string, block int, body []byte) error {
	return c.do(ctx, name, url.Values{"comp": {"block"}, "blockid": {blockID(block)}}, http.Header{}, body)
}

// Commit makes the blob out of its first so many blocks.
func (c *Container) Commit(ctx context.Context, name string, about About, blocks int) error {
	var list bytes.Buffer
	list.WriteString("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>")
	for i := range blocks {
		list.WriteString("<Latest>" + blockID(i) + "</Latest>")
	}
	list.WriteString("</BlockList>")
	return c.do(ctx, name, url.Values{"comp": {"blocklist"}}, about.header("X-Ms-Blob-Content-Type"), list.Bytes())
}

// blockID is of one length for all blocks, as the service wants it.
func blockID(n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", n))
}

func (a *About) header(typeName string) http.Header {
	h := http.Header{}
	if a.Type != "" {
		h.Set(typeName, a.Type)
	}
	for name, value := range a.Meta {
		if value != "" {
			h["X-Ms-Meta-"+name] = []string{value}
		}
	}
	return h
}

// do makes the call, and the container when it is missing: several may find it
// missing at once.
func (c *Container) do(ctx context.Context, name string, query url.Values, h http.Header, body []byte) error {
	code, err := c.call(ctx, escaped(name), query, h, body)
	if code != "ContainerNotFound" {
		return err
	}
	code, err = c.call(ctx, "", url.Values{"restype": {"container"}}, http.Header{}, nil)
	if err != nil && code != "ContainerAlreadyExists" {
		return fmt.Errorf("create container %q: %w", c.Name, err)
	}
	_, err = c.call(ctx, escaped(name), query, h, body)
	return err
}

// escaped keeps the slashes, which are folders to people.
func escaped(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/" + strings.Join(parts, "/")
}

// call makes one call; with an error it says the service's code for it.
func (c *Container) call(ctx context.Context, path string, query url.Values, h http.Header, body []byte) (code string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.Endpoint+"/"+c.Name+path, bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("write to container %q: %w", c.Name, err)
	}
	req.URL.RawQuery = query.Encode()
	for name, values := range h {
		req.Header[name] = values
	}
	req.Header.Set("X-Ms-Version", version)
	req.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
	if err := c.Sign.Sign(ctx, req); err != nil {
		return "", fmt.Errorf("sign for container %q: %w", c.Name, err)
	}
	res, err := cmp.Or(c.Client, http.DefaultClient).Do(req)
	if err != nil {
		return "", fmt.Errorf("write to container %q: %w", c.Name, withoutURL(err))
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode == http.StatusCreated {
		return "", nil
	}
	code = res.Header.Get("X-Ms-Error-Code")
	return code, fmt.Errorf("%w: %s", ErrRefused, strings.TrimSpace(strconv.Itoa(res.StatusCode)+" "+code))
}

// withoutURL drops the address of a failed call: it may hold a signature.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
