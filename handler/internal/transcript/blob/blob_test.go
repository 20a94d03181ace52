package blob

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	account = "devstoreaccount1"
	// The emulator's own, printed in its documentation.
	accountKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// azurite starts an emulated blob service for the length of the test.
func azurite(t *testing.T) (connection string) {
	t.Helper()
	modules := os.Getenv("SPILLWAY_TOOLS")
	if modules == "" {
		modules, _ = filepath.Abs("../../../../scripts/tools/node_modules")
	}
	program := filepath.Join(modules, "azurite", "dist", "src", "blob", "main.js")
	if _, err := os.Stat(program); err != nil {
		t.Skip("azurite is not installed: run scripts/tools/install.sh npm")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	process := exec.CommandContext(t.Context(), "node", program, "--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry",
		"--blobHost", "127.0.0.1", "--blobPort", fmt.Sprint(port))
	process.Dir = t.TempDir()
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = conn.Close()
			return fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;BlobEndpoint=http://127.0.0.1:%d/%s;", account, accountKey, port, account)
		}
		if time.Now().After(deadline) {
			t.Fatal("azurite does not answer")
		}
	}
}

// fetch reads a blob back, signed by the same hand.
func fetch(t *testing.T, c *Container, name string) (string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Endpoint+"/"+c.Name+escaped(name), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Ms-Version", version)
	req.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
	if err := c.Sign.Sign(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v: %.300s", name, res.StatusCode, err, body)
	}
	return string(body), res.Header
}

func TestAzuriteTakesBlobs(t *testing.T) {
	c, err := Connect(azurite(t), "transcripts")
	if err != nil {
		t.Fatal(err)
	}
	about := About{Type: "application/json", Meta: map[string]string{"Consumer": "team a/b", "Backend": ""}}
	const name = "2026/11/21/12/tä am%20+x/req_1.request"
	if err := c.Put(t.Context(), name, about, []byte(`{"a":1}`)); err != nil {
		t.Fatal(err) // the container was made on the way
	}
	body, h := fetch(t, c, name)
	if body != `{"a":1}` || h.Get("Content-Type") != "application/json" || h.Get("X-Ms-Meta-Consumer") != "team a/b" {
		t.Errorf("%q, %v", body, h)
	}
	want := ""
	for i := range 12 {
		part := strings.Repeat(fmt.Sprint(i%10), 50_000)
		want += part
		if err := c.Stage(t.Context(), "long", i, []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Commit(t.Context(), "long", About{Type: "text/event-stream", Meta: map[string]string{"Status": "200"}}, 12); err != nil {
		t.Fatal(err)
	}
	if body, h := fetch(t, c, "long"); body != want || h.Get("Content-Type") != "text/event-stream" || h.Get("X-Ms-Meta-Status") != "200" {
		t.Errorf("%d bytes, want %d; %v", len(body), len(want), h)
	}
	wrong := &Container{Endpoint: c.Endpoint, Name: "transcripts", Sign: &sharedKey{account, []byte("another")}}
	if err := wrong.Put(t.Context(), "x", About{}, nil); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "403") {
		t.Errorf("with a wrong key: %v", err)
	}
}

func TestTheFirstWritesMayComeAtOnce(t *testing.T) {
	c, err := Connect(azurite(t), "new")
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	const writers = 16
	for i := range writers {
		go func() { failed <- c.Put(t.Context(), fmt.Sprint(i), About{}, []byte("x")) }()
	}
	for range writers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

func TestConnectionStringsAreRead(t *testing.T) {
	key := base64.StdEncoding.EncodeToString([]byte("key"))
	for text, want := range map[string]string{
		"AccountName=a;AccountKey=" + key: "https://a.blob.core.windows.net",
		"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=" + key + ";EndpointSuffix=core.x.cn": "https://a.blob.core.x.cn",
		"BlobEndpoint=https://a.b/;SharedAccessSignature=?sv=1&sig=a%2Bb":                              "https://a.b",
		"AccountName=a":                                    "",
		"TableEndpoint=https://a":                          "",
		"AccountName=a;AccountKey=@@@":                     "",
		"BlobEndpoint=https://a;SharedAccessSignature=%zz": "",
	} {
		c, err := Connect(text, "c")
		switch {
		case want == "" && (!errors.Is(err, ErrConnection) || strings.Contains(err.Error(), key)):
			t.Errorf("%s: %v", text, err)
		case want != "" && (err != nil || c.Endpoint != want):
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
}

func TestIdentityAndSignaturesAreSent(t *testing.T) {
	var saw []*http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw = append(saw, r)
		w.WriteHeader(http.StatusCreated)
	}))
	defer s.Close()
	bearer := &Container{Endpoint: s.URL, Name: "c", Sign: Bearer(func(context.Context) (string, error) { return "token", nil })}
	sas, err := Connect("BlobEndpoint="+s.URL+";SharedAccessSignature=sv=1&sig=a%2Bb", "c")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Container{bearer, sas} {
		if err := c.Stage(t.Context(), "n", 3, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := saw[0].Header.Get("Authorization"); got != "Bearer token" {
		t.Errorf("authorization %q", got)
	}
	if q := saw[1].URL.Query(); q.Get("sig") != "a+b" || q.Get("comp") != "block" || q.Get("blockid") != "MDAwMDAwMDM=" {
		t.Errorf("query %v", q)
	}
}

func TestAFailureTellsNoSecret(t *testing.T) {
	c, err := Connect("BlobEndpoint=http://127.0.0.1:1;SharedAccessSignature=sv=1&sig=canary", "c")
	if err != nil {
		t.Fatal(err)
	}
	err = c.Put(t.Context(), "n", About{}, []byte("canary"))
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}
