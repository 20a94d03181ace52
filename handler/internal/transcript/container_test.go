package transcript

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
)

const (
	account = "devstoreaccount1"
	// The emulator's own key, printed in its documentation.
	accountKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// azurite starts an emulated blob service for the test and returns its
// connection string, with the account key given.
func azurite(t *testing.T) (connection func(key string) string) {
	t.Helper()
	modules := os.Getenv("SPILLWAY_TOOLS")
	if modules == "" {
		modules, _ = filepath.Abs("../../../scripts/tools/node_modules")
	}
	program := filepath.Join(modules, "azurite", "dist", "src", "blob", "main.js")
	if _, err := os.Stat(program); err != nil {
		const help = "azurite is not installed: run scripts/tools/install.sh npm"
		if os.Getenv("SPILLWAY_REQUIRE_TOOLS") != "" {
			t.Fatal(help)
		}
		t.Skip(help)
	}
	process := exec.CommandContext(t.Context(), "node", program, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry",
		"--blobHost", "127.0.0.1", "--blobPort", "0")
	process.Dir = t.TempDir()
	out, err := process.StdoutPipe()
	if err == nil {
		err = process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, address, found := strings.Cut(lines.Text(), "listens on "); found {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return func(key string) string {
				return fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;BlobEndpoint=%s/%s;", account, key, address, account)
			}
		}
	}
	t.Fatalf("azurite ended: %v", lines.Err())
	return nil
}

func connect(t *testing.T, connection, name string) *Container {
	t.Helper()
	c, err := ConnectContainer(connection, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// download reads a blob and its properties.
func download(t *testing.T, c *Container, name string) (string, blob.DownloadStreamResponse) {
	t.Helper()
	res, err := c.client.NewBlobClient(name).DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), res
}

func TestContainerOnAzurite(t *testing.T) {
	connection := azurite(t)
	c := connect(t, connection(accountKey), "transcripts")
	properties := Properties{ContentType: "application/json", Metadata: map[string]string{"Consumer": "team a/b", "Backend": ""}}
	const name = "2026/11/21/12/tä am%20+x/req_1.request"
	if err := c.Put(t.Context(), name, properties, []byte(`{"a":1}`)); err != nil {
		t.Fatal(err) // the container does not exist before
	}
	body, res := download(t, c, name)
	if body != `{"a":1}` || *res.ContentType != "application/json" || len(res.Metadata) != 1 || *res.Metadata["Consumer"] != "team a/b" {
		t.Errorf("%q, %+v", body, res)
	}
	want := ""
	for i := range 12 {
		part := strings.Repeat(fmt.Sprint(i%10), 50_000)
		want += part
		if err := c.Stage(t.Context(), "long", i, []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Commit(t.Context(), "long", Properties{ContentType: "text/event-stream", Metadata: map[string]string{"Status": "200"}}, 12); err != nil {
		t.Fatal(err)
	}
	if body, res := download(t, c, "long"); body != want || *res.ContentType != "text/event-stream" || *res.Metadata["Status"] != "200" {
		t.Errorf("%d bytes, want %d; %+v", len(body), len(want), res)
	}
	wrong := connect(t, connection(base64.StdEncoding.EncodeToString([]byte("another"))), "transcripts")
	if err := wrong.Put(t.Context(), "x", Properties{}, nil); err == nil || !strings.Contains(err.Error(), "the service answered 403 AuthorizationFailure") {
		t.Errorf("with a wrong key: %v", err)
	}
	t.Run("concurrent first writes", func(t *testing.T) { writeConcurrently(t, connect(t, connection(accountKey), "new")) })
}

func writeConcurrently(t *testing.T, c *Container) {
	t.Helper()
	failed := make(chan error)
	const writers = 16
	for i := range writers {
		go func() { failed <- c.Put(t.Context(), fmt.Sprint(i), Properties{}, []byte("x")) }()
	}
	for range writers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

func TestConnectionStrings(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("key"))
	for text, want := range map[string]string{
		"AccountName=a;AccountKey=" + key: "https://a.blob.core.windows.net/c",
		"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=" + key + ";EndpointSuffix=core.x.cn": "https://a.blob.core.x.cn/c",
		"BlobEndpoint=https://a.b/;SharedAccessSignature=?sv=1&sig=a%2Bb":                              "https://a.b/c?sv=1&sig=a%2Bb",
		"AccountName=a":                                    "",
		"TableEndpoint=https://a":                          "",
		"AccountName=a;AccountKey=@@@":                     "",
		"BlobEndpoint=https://a;SharedAccessSignature=%zz": "",
	} {
		c, err := ConnectContainer(text, "c", nil)
		switch {
		case want == "" && (!errors.Is(err, ErrConnection) || strings.Contains(err.Error(), key)):
			t.Errorf("%s: %v", text, err)
		case want != "" && (err != nil || c.client.URL() != want):
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
}

// staticToken is an identity with one token.
type staticToken struct{}

func (staticToken) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token of " + strings.Join(o.Scopes, " "), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestContainerCredentials(t *testing.T) {
	var requests []*http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r)
		w.WriteHeader(http.StatusCreated)
	}))
	defer s.Close()
	identity, err := OpenContainer(s.URL+"/", "c", staticToken{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sas := connect(t, "BlobEndpoint="+s.URL+";SharedAccessSignature=sv=1&sig=a%2Bb", "c")
	for _, c := range []*Container{identity, sas} {
		if err := c.Stage(t.Context(), "n", 3, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := requests[0].Header.Get("Authorization"); got != "Bearer token of https://storage.azure.com/.default" || requests[0].URL.Path != "/c/n" {
		t.Errorf("%s with authorization %q", requests[0].URL.Path, got)
	}
	if q := requests[1].URL.Query(); q.Get("sig") != "a+b" || q.Get("comp") != "block" || q.Get("blockid") != "MDAwMDAwMDM=" {
		t.Errorf("query %v", q)
	}
}

func TestContainerErrorsHoldNoSecret(t *testing.T) {
	refused := connect(t, "BlobEndpoint=http://127.0.0.1:1/;SharedAccessSignature=sv=1&sig=canary", "c")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.Copy(w, r.Body)
	}))
	defer s.Close()
	echoed := connect(t, "BlobEndpoint="+s.URL+";SharedAccessSignature=sv=1&sig=canary", "c")
	for _, c := range []*Container{refused, echoed} {
		if err := c.Put(t.Context(), "n", Properties{}, []byte("canary")); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
	}
}
