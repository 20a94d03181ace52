package simulator_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/test/freeport"
)

func TestSimulatePrintsAddressesAndControls(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- simulator.Main(ctx, []string{"--listen", "127.0.0.1:0", "--fast", "--seed", "4"}, in)
		_ = in.Close()
	}()
	lines := bufio.NewScanner(out)
	output := ""
	for lines.Scan() && !strings.Contains(lines.Text(), "all controls:") {
		output += lines.Text() + "\n"
	}
	address := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(output)
	throttle := regexp.MustCompile(`curl -X POST '(\S+)'`).FindStringSubmatch(output)
	if address == "" || throttle == nil || !strings.Contains(output, "key-ptu-uksouth") {
		t.Fatalf("output:\n%s", output)
	}
	status := func(url, body string) int {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Api-Key", "key-ptu-uksouth")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	chat := address + "/ptu-uksouth" + chatPath
	if got := status(chat, hello); got != 200 {
		t.Errorf("chat: got %d", got)
	}
	if got := status(throttle[1], ""); got != 204 {
		t.Errorf("throttle: got %d", got)
	}
	if got := status(chat, hello); got != 429 {
		t.Errorf("chat when throttled: got %d", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestSimulateUsageErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resources.json")
	if err := os.WriteFile(file, []byte(`[{"name":"a","deployments":[{"name":"x"}]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args  []string
		usage bool
		holds string
	}{
		{[]string{"--lisen", "x"}, true, "lisen"},
		{[]string{"extra"}, true, `"extra"`},
		{[]string{"--listen", "nowhere"}, true, "--listen"},
		{[]string{"--ports", "99999"}, true, "--ports"},
		{[]string{"--listen", "127.0.0.1:99999"}, false, "--listen"},
		{[]string{"--resources", "/no/such/file"}, false, "--resources"},
		{[]string{"--resources", file}, false, "has no model"},
	}
	for _, tt := range tests {
		err := simulator.Main(t.Context(), tt.args, io.Discard)
		if err == nil || errors.Is(err, simulator.ErrUsage) != tt.usage || !strings.Contains(err.Error(), tt.holds) {
			t.Errorf("%v: got %v", tt.args, err)
		}
	}
	var help strings.Builder
	if err := simulator.Main(t.Context(), []string{"--help"}, &help); err != nil || !strings.Contains(help.String(), "-resources file") {
		t.Errorf("help: got %v and %s", err, help.String())
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	err := simulator.Config{Resources: []simulator.Resource{
		{Name: "a b", Auth: "odd"},
		{Name: "x", TLS: "odd", Deployments: []simulator.Deployment{{Name: "d", Model: "m", SKU: "Gold"}, {Name: "d", Model: "m"}}},
		{Name: "x"},
	}}.Validate()
	for _, want := range []string{`"a b"`, `auth "odd"`, `tls "odd"`, `sku "Gold"`, `name "d" must be unique`, `name "x" is taken`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
	if err := (simulator.Config{Resources: simulator.DefaultResources()}).Validate(); err != nil {
		t.Errorf("the default resources: %v", err)
	}
}

func TestResourceJSONRoundTrip(t *testing.T) {
	want := simulator.DefaultResources()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"timeToFirstToken":"120ms"`) {
		t.Errorf("durations are text: %s", text)
	}
	var got []simulator.Resource
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSimulatePorts(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	file := filepath.Join(t.TempDir(), "resources.json")
	if err := os.WriteFile(file, []byte(`[{"name":"alone","region":"uksouth","deployments":[{"name":"gpt-4o","model":"gpt-4o","perToken":"1h"}]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		// A port that is free now may be taken then; the error names it.
		ended <- simulator.Main(ctx, []string{"--listen", "127.0.0.1:0", "--ports", freePort(t), "--resources", file, "--fast"}, in)
		_ = in.Close()
	}()
	output, err := bufio.NewReader(out).ReadString(')')
	if err != nil || !strings.Contains(output, "/alone)") || strings.Count(output, "http://127.0.0.1:") != 3 {
		t.Errorf("output %s, %v", output, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

// freePort is a port that was free just now.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}
