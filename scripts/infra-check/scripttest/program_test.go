package scripttest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSmokeAgainstTheProgramItself runs the proof on the real program in front of the simulated service: the double could share
// the script's mistakes. scripts/infra-check.sh builds the program and names it.
func TestSmokeAgainstTheProgramItself(t *testing.T) {
	binary := os.Getenv("SPILLWAY_BINARY")
	if binary == "" {
		t.Skip("SPILLWAY_BINARY is not set: scripts/infra-check.sh --fast sets it")
	}
	service, address := free(t), free(t)
	pool := `{"backends":[` + simulated("ptu-uksouth", service, 1) + `,` + simulated("payg-sweden", service, 2) + `],` +
		`"consumers":[{"name":"t","keySetting":"TEAM_A_KEY"}]}`
	start(t, nil, binary, "simulate", "--listen", service)
	wait(t, "http://"+service+"/_control/")
	start(t, []string{
		"KEY_PTU_UKSOUTH=key-ptu-uksouth", "KEY_PAYG_SWEDEN=key-payg-sweden", "TEAM_A_KEY=" + longKey("consumer"), "SPILLWAY_OPERATOR_KEY=" + longKey("operator"),
		"SPILLWAY_CONFIG=" + pool, "SPILLWAY_EXPOSE=true", "SPILLWAY_LISTEN=" + address,
	}, binary)
	wait(t, "http://"+address+"/health/ready")

	d := NewDesk(t, fake)
	d.Set("SPILLWAY_KEY=" + longKey("consumer"))
	d.Set("SPILLWAY_OPERATOR_KEY=" + longKey("operator"))
	r := d.Script("", "smoke.sh", "--address", "http://"+address, "--model", "gpt-4o", "--backend", "ptu-uksouth", "--calls", "3")
	wantStatus(t, r, 0)
	wantWords(t, r, "3 answers, served by: ptu-uksouth x3", "3 answers, served by: payg-sweden x3", "restored ptu-uksouth/gpt-4o")
}

func longKey(of string) string { return of + "-" + strings.Repeat("0123456789", 4) }

func simulated(name, service string, priority int) string {
	setting := "KEY_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	return fmt.Sprintf(`{"name":%q,"endpoint":"http://%s/%s","priority":%d,"deployments":["gpt-4o"],"auth":{"mode":"api-key","setting":%q}}`,
		name, service, name, priority, setting)
}

// free is an address on loopback that nobody listened on a moment ago.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func start(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
	})
}

func wait(t *testing.T, url string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if res, err := http.Get(url); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s did not answer", url)
}
