package backend_test

import (
	"net/http"
	"os"
	"os/exec"
	"testing"

	"spillway/handler/internal/backend"
)

// The environment's proxy is read once a process, so each reading is one.
func TestProxyOfTheEnvironmentIsNotForLocalAddresses(t *testing.T) {
	if os.Getenv("SPILLWAY_TEST_PROXY") != "" {
		checkProxy(t)
		return
	}
	again := exec.Command(os.Args[0], "-test.run=^TestProxyOfTheEnvironmentIsNotForLocalAddresses$")
	again.Env = append(os.Environ(), "SPILLWAY_TEST_PROXY=1", "HTTP_PROXY=http://proxy.invalid:3128", "HTTPS_PROXY=http://proxy.invalid:3128", "NO_PROXY=")
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func checkProxy(t *testing.T) {
	for at, want := range map[string]bool{
		"https://contoso.openai.azure.com/": true, "http://10.0.0.4/": true,
		"http://127.0.0.1:8080/": false, "http://[::1]/": false, "http://localhost/": false, "http://169.254.169.254/metadata": false, "http://[fe80::1]/": false,
	} {
		r, err := http.NewRequest(http.MethodGet, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		if proxy, err := backend.NewTransport(backend.TransportOptions{}).Proxy(r); err != nil || (proxy != nil) != want {
			t.Errorf("%s goes through %v, %v", at, proxy, err)
		}
	}
}
