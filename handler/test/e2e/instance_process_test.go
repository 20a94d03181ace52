package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
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
		text, changed := s.snapshot()
		for line := range strings.Lines(text) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, part) {
				return line
			}
		}
		select {
		case <-changed:
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
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", net.JoinHostPort(host, port)); err == nil {
			_ = conn.Close()
			return fmt.Sprintf("BlobEndpoint=http://%s:%s/devstoreaccount1;", host, port)
		}
		if time.Now().After(deadline) {
			t.Fatal("azurite does not answer")
		}
	}
}

// blobContainer reads the blobs of a container.
type blobContainer struct {
	t      *testing.T
	client *container.Client
}

func openContainer(t *testing.T, connection, name string) blobContainer {
	t.Helper()
	client, err := container.NewClientFromConnectionString(connection, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return blobContainer{t, client}
}

// get is the bytes and the metadata of a blob.
func (a blobContainer) get(name string) (string, map[string]string) {
	a.t.Helper()
	res, err := a.client.NewBlobClient(name).DownloadStream(a.t.Context(), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	metadata := map[string]string{}
	for name, value := range res.Metadata {
		metadata[name] = *value
	}
	return string(body), metadata
}

// blobNames is the names of all blobs; none when there is no container.
func (a blobContainer) blobNames() []string {
	a.t.Helper()
	var names []string
	for pages := a.client.NewListBlobsFlatPager(nil); pages.More(); {
		page, err := pages.NextPage(a.t.Context())
		if bloberror.HasCode(err, bloberror.ContainerNotFound) {
			return nil
		}
		if err != nil {
			a.t.Fatal(err)
		}
		for _, item := range page.Segment.BlobItems {
			names = append(names, *item.Name)
		}
	}
	return names
}
