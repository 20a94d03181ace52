package e2e_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// peers are the proxies beside Spillway: nginx and haproxy where they are installed, and
// what PEERS names: name=host:port, with commas between. Those run already, in front of
// SPILLWAY_BENCH_BACKEND, which is where the backend then listens.
func peers(b *testing.B, backend string) map[string]*contender {
	b.Helper()
	all := map[string]*contender{}
	if nginx, err := exec.LookPath("nginx"); err == nil {
		all["nginx"] = startConfigured(b, nginxConfig, backend, func(file string) *exec.Cmd { return exec.Command(nginx, "-c", file, "-e", "stderr") })
	}
	if haproxy, err := exec.LookPath("haproxy"); err == nil {
		all["haproxy"] = startConfigured(b, haproxyConfig, backend, func(file string) *exec.Cmd { return exec.Command(haproxy, "-q", "-f", file) })
	}
	for peer := range strings.SplitSeq(os.Getenv("PEERS"), ",") {
		name, address, ok := strings.Cut(peer, "=")
		if !ok {
			continue
		}
		c := &contender{tb: b, address: strings.TrimPrefix(strings.TrimSuffix(address, "/"), "http://")}
		c.fault = b.Errorf
		if err := c.ping(); err != nil {
			b.Fatalf("PEERS: %s: %v", name, err)
		}
		all[name] = c
	}
	return all
}

// ping makes one request.
func (c *contender) ping() error {
	conn, err := net.Dial("tcp", c.address)
	if err != nil {
		return fmt.Errorf("call a peer: %w", err)
	}
	defer conn.Close()
	status, err := c.exchange(conn, bufio.NewReader(conn), plainRequest(1<<10))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("call a peer: status %d", status)
	}
	return err
}

// startConfigured starts a proxy that reads a file. It has as many workers as Go has
// threads.
func startConfigured(tb testing.TB, config, backend string, command func(file string) *exec.Cmd) *contender {
	tb.Helper()
	address, folder := freeAddress(tb), tb.TempDir()
	file := filepath.Join(folder, "proxy.conf")
	text := strings.NewReplacer("ADDRESS", address, "BACKEND", strings.TrimPrefix(backend, "http://"), "FOLDER", folder).Replace(config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return launch(tb, command(file), address)
}

const nginxConfig = `
daemon off; worker_processes auto; pid FOLDER/pid; error_log stderr crit; user root;
events { worker_connections 16384; }
http {
  access_log off; client_max_body_size 0; client_body_buffer_size 1m;
  client_body_temp_path FOLDER; proxy_temp_path FOLDER; fastcgi_temp_path FOLDER; uwsgi_temp_path FOLDER; scgi_temp_path FOLDER;
  upstream backend { server BACKEND; keepalive 2048; keepalive_requests 1000000; }
  server {
    listen ADDRESS; keepalive_requests 1000000;
    location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}
`

const haproxyConfig = `
global
  maxconn 4096
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout client 60s
  timeout server 60s
  timeout connect 5s
frontend in
  bind ADDRESS
  default_backend out
backend out
  server a BACKEND
`

// listeners are the processes that listen on an address of this machine.
func listeners(address string) []int {
	_, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	sockets := listeningSockets(number)
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil || !slices.Contains(sockets, to) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// listeningSockets are the sockets that listen on a port, as links of /proc name them.
func listeningSockets(port int) []string {
	var sockets []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > 9 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				sockets = append(sockets, "socket:["+fields[9]+"]")
			}
		}
	}
	return sockets
}
