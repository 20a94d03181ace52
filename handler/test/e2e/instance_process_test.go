package e2e_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spillway/handler/internal/transcript/blob"
)

// instanceProcess is one process of the staged binary, and all that it says.
type instanceProcess struct {
	t         *testing.T
	url       string
	process   *exec.Cmd
	ended     chan struct{}
	out, errs outputBuffer
}

// startInstanceProcess starts a process and waits until it listens.
func startInstanceProcess(t *testing.T, env ...string) *instanceProcess {
	t.Helper()
	p := &instanceProcess{t: t, ended: make(chan struct{})}
	p.process = exec.Command(stagedProgram())
	p.process.Env = append(append(os.Environ(), "SPILLWAY_LISTEN=127.0.0.1:0", "BACKEND_KEY="+backendKey, "SPILLWAY_AUTH=none", "SPILLWAY_EXPOSE=true",
		"SPILLWAY_STATE=", "AzureWebJobsStorage=", "FUNCTIONS_CUSTOMHANDLER_PORT="), env...)
	p.process.Stdout, p.process.Stderr = &p.out, &p.errs
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.process.Wait()
	}()
	t.Cleanup(p.kill)
	line := p.out.await(t, `"msg":"listening"`)
	_, rest, _ := strings.Cut(line, `"address":"`)
	address, _, _ := strings.Cut(rest, `"`)
	p.url = "http://" + address
	return p
}

// kill ends it as the platform does: at once and without a word.
func (p *instanceProcess) kill() {
	_ = p.process.Process.Kill()
	<-p.ended
}

// terminate asks it to end and waits until it has.
func (p *instanceProcess) terminate() {
	p.t.Helper()
	_ = p.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.t.Fatal("a process does not end when it is asked to")
	}
}

// outputBuffer is what a process wrote so far.
type outputBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed when there is more; nil = nobody waits
}

func (s *outputBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
	return s.text.Write(p)
}

func (s *outputBuffer) String() string {
	text, _ := s.snapshot()
	return text
}

// snapshot is what was written so far, and a channel that is closed when there is
// more.
func (s *outputBuffer) snapshot() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more == nil {
		s.more = make(chan struct{})
	}
	return s.text.String(), s.more
}

// await is the first whole line with the part in it.
func (s *outputBuffer) await(t *testing.T, part string) string {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		text, news := s.snapshot()
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, part) {
				return line
			}
		}
		select {
		case <-news:
		case <-deadline:
			t.Fatalf("%s was never said, but: %.2000s", part, text)
		}
	}
}

// startBlobService is an emulated blob service for the length of the test, as the
// part of a connection string that names it.
func startBlobService(t *testing.T) string {
	t.Helper()
	program := filepath.Join(tools(t), "azurite", "dist", "src", "blob", "main.js")
	host, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", program, "--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", host, "--blobPort", port)
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", net.JoinHostPort(host, port)); err == nil {
			_ = conn.Close()
			return fmt.Sprintf("BlobEndpoint=http://%s:%s/devstoreaccount1;", host, port)
		}
		if time.Now().After(deadline) {
			t.Fatal("azurite does not answer")
		}
	}
}

// blobContainer reads a container back.
type blobContainer struct {
	t *testing.T
	*blob.Container
}

func openContainer(t *testing.T, connection, name string) blobContainer {
	t.Helper()
	c, err := blob.Connect(connection, name)
	if err != nil {
		t.Fatal(err)
	}
	return blobContainer{t, c}
}

// get asks for something below the container.
func (a blobContainer) get(path string, query url.Values) (string, http.Header) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.Endpoint+"/"+a.Name+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	req.URL.RawQuery = query.Encode()
	req.Header.Set("X-Ms-Version", "2021-08-06")
	req.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
	if err := a.Sign.Sign(a.t.Context(), req); err != nil {
		a.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotFound {
		a.t.Fatalf("%s: %d, %v: %.300s", path, res.StatusCode, err, body)
	}
	return string(body), res.Header
}

// blobNames are those of all blobs; none when there is no container.
func (a blobContainer) blobNames() []string {
	a.t.Helper()
	text, _ := a.get("", url.Values{"restype": {"container"}, "comp": {"list"}})
	var list struct {
		Names []string `xml:"Blobs>Blob>Name"`
	}
	if err := xml.Unmarshal([]byte(text), &list); err != nil {
		a.t.Fatalf("%.300s: %v", text, err)
	}
	return list.Names
}
