package storetest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"spillway/handler/test/freeport"
)

// The emulator's well-known account, which no other service has.
const (
	azuriteAccount = "devstoreaccount1"
	azuriteKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Azurite starts a table service for the length of the test and returns its
// connection string. The test is skipped if azurite is not installed: run
// scripts/tools/install.sh npm, or name a node_modules folder in SPILLWAY_TOOLS.
func Azurite(t testing.TB) string {
	t.Helper()
	return StartAzurite(t).ConnectionString
}

// AzuriteService is a running emulator that a test may stop and restart.
type AzuriteService struct {
	ConnectionString string

	t       testing.TB
	program string
	port    int
	process *exec.Cmd
}

// StartAzurite starts a table service that is stopped when the test ends.
func StartAzurite(t testing.TB) *AzuriteService {
	t.Helper()
	s := &AzuriteService{t: t, program: azuriteProgram(t), port: freePort(t)}
	s.ConnectionString = fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;TableEndpoint=http://127.0.0.1:%d/%s;",
		azuriteAccount, azuriteKey, s.port, azuriteAccount)
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts it, empty, always on the same port.
func (s *AzuriteService) Start() {
	s.t.Helper()
	//nolint:gosec // the emulator in our tools folder, and a port number
	s.process = exec.CommandContext(s.t.Context(), "node", s.program, "--inMemoryPersistence", "--silent", "--skipApiVersionCheck",
		"--disableTelemetry", "--tableHost", "127.0.0.1", "--tablePort", fmt.Sprint(s.port))
	s.process.Dir = s.t.TempDir()
	if err := s.process.Start(); err != nil {
		s.t.Fatalf("start azurite: %v", err)
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(20 * time.Millisecond) { // a busy machine starts it late
		err := s.ping()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("azurite does not respond: %v", err)
		}
	}
}

// ping returns nil when the emulator responds at all.
func (s *AzuriteService) ping() error {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", s.port), nil)
	if err != nil {
		return fmt.Errorf("call azurite: %w", err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("call azurite: %w", err)
	}
	return res.Body.Close()
}

// Stop kills it and loses its data.
func (s *AzuriteService) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
	s.process = nil
}

// azuriteProgram is the emulator's entry in the tools folder.
func azuriteProgram(t testing.TB) string {
	t.Helper()
	modules := os.Getenv("SPILLWAY_TOOLS")
	if modules == "" {
		modules = filepath.Join(moduleRoot(t), "scripts", "tools", "node_modules")
	}
	program := filepath.Join(modules, "azurite", "dist", "src", "table", "main.js")
	if _, err := os.Stat(program); err != nil { //nolint:gosec // the path comes from whoever runs the tests
		t.Skip("azurite is not installed: run scripts/tools/install.sh npm")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed: install Node.js 20 or newer")
	}
	return program
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
