package simulator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

func TestTransportFaults(t *testing.T) {
	tests := []struct {
		action   string
		headers  bool  // does a status line arrive
		want     error // nil accepts any
		wantText string
	}{
		{"refuse", false, syscall.ECONNRESET, ""},
		{"reset-before-headers", false, syscall.ECONNRESET, ""},
		{"eof-before-headers", false, io.EOF, ""},
		{"reset-in-headers", false, nil, ""},
		{"reset-after-headers", true, syscall.ECONNRESET, ""},
		{"truncated-200", true, io.ErrUnexpectedEOF, ""},
		{"length-negative", false, nil, "Content-Length"},
		{"length-two", false, nil, "Content-Length"},
		{"garbage", false, nil, "malformed HTTP"},
	}
	s := simulator.Start(t, pool())
	for _, tt := range tests {
		t.Run(tt.action, func(t *testing.T) {
			s.Reset()
			s.Next("payg", simulator.Fault{Action: tt.action})
			r, err := do(t.Context(), s, "payg", chatPath, hello)
			if tt.headers {
				if r.status != 200 {
					t.Fatalf("got status %d, %v; want 200", r.status, err)
				}
				err = r.err
			}
			if err == nil || (tt.want != nil && !errors.Is(err, tt.want)) || !strings.Contains(err.Error(), tt.wantText) {
				t.Errorf("got %v, want %v %s", err, tt.want, tt.wantText)
			}
			if e := s.Journal()[0]; e.Outcome != simulator.Broken || !e.Done {
				t.Errorf("the journal has %q, done %v", e.Outcome, e.Done)
			}
		})
	}
}

func TestBodyLongerThanContentLength(t *testing.T) {
	s := simulator.Start(t, pool())
	s.Next("payg", simulator.Fault{Action: "length-short"})
	r := post(t, s, "payg", chatPath, hello)
	if r.status != 200 || r.err != nil || strings.HasSuffix(r.body, "}") {
		t.Errorf("got %d %v %s", r.status, r.err, r.body)
	}
}

func TestHangUntilDisconnect(t *testing.T) {
	for _, action := range []string{"hang-before-headers", "hang-after-headers"} {
		t.Run(action, func(t *testing.T) {
			s := simulator.Start(t, pool())
			s.Next("payg", simulator.Fault{Action: action})
			ctx, leave := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				r, err := do(ctx, s, "payg", chatPath, hello)
				ended <- errors.Join(err, r.err)
			}()
			waitCtx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := s.WaitJournal(waitCtx, func(e simulator.Entry) bool { return e.Fault == action }); err != nil {
				t.Fatal(err)
			}
			leave()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the client got %v", err)
			}
			e, err := s.WaitDisconnect(waitCtx, "payg")
			if err != nil || e.Outcome != simulator.Disconnected {
				t.Errorf("got %v, outcome %q", err, e.Outcome)
			}
		})
	}
}

func TestHangEndsAfterHold(t *testing.T) {
	s := simulator.Start(t, pool())
	s.Next("payg", simulator.Fault{Action: "hang-before-headers", Hold: time.Millisecond})
	if _, err := do(t.Context(), s, "payg", chatPath, hello); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end of the connection", err)
	}
	if e := s.Journal()[0]; e.Disconnected() {
		t.Error("the client did not leave")
	}
}

func TestDownAndUp(t *testing.T) {
	s := simulator.Start(t, pool())
	url := s.URL("payg")
	s.Down("payg")
	if _, err := do(t.Context(), s, "payg", chatPath, hello); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want a refused connection", err)
	}
	if r := post(t, s, "ptu", chatPath, hello); r.status != 200 {
		t.Errorf("the other resource: got %d", r.status)
	}
	if err := s.Up("payg"); err != nil {
		t.Fatal(err)
	}
	if r := post(t, s, "payg", chatPath, hello); r.status != 200 || s.URL("payg") != url {
		t.Errorf("got %d at %s, want 200 at %s", r.status, s.URL("payg"), url)
	}
}

func TestDownResetsStreams(t *testing.T) {
	cfg := pool()
	cfg.Resources[1].Deployments[0].PerToken = time.Hour
	s := simulator.Start(t, cfg)
	ended := make(chan error, 1)
	go func() {
		r, err := do(t.Context(), s, "payg", chatPath, helloAloud)
		ended <- errors.Join(err, r.err)
	}()
	waitCtx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.WaitJournal(waitCtx, func(e simulator.Entry) bool { return e.CompletionTokens == 1 }); err != nil {
		t.Fatal(err)
	}
	s.Down("payg")
	if err := <-ended; err == nil {
		t.Error("the stream ended as if it were whole")
	}
}

// keepAlive is a client that reuses connections.
func keepAlive(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// sendWith posts over a connection that stays open, so that no Connection
// header goes out.
func sendWith(t *testing.T, s *simulator.Service, path, body string, headers []string) (reply, error) {
	t.Helper()
	return send(t, keepAlive(t), s.URL("payg")+path, body, headers)
}

func send(t *testing.T, client *http.Client, url, body string, headers []string) (reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Api-Key", "key-payg")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return readReply(client, req)
}

func TestCloseIdle(t *testing.T) {
	tests := []struct {
		name  string
		close func(*simulator.Service)
	}{
		{"by the service", func(s *simulator.Service) { s.CloseIdle("payg") }},
		{"after an answer", func(*simulator.Service) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := simulator.Start(t, pool())
			if tt.name == "after an answer" {
				s.Next("payg", simulator.Fault{Action: "close-idle"})
			}
			client := keepAlive(t)
			for i := range 2 {
				r, err := send(t, client, s.URL("payg")+chatPath, hello, nil)
				if i == 1 && err != nil {
					// The client wrote while the service closed.
					r, err = send(t, client, s.URL("payg")+chatPath, hello, nil)
				}
				if err != nil || r.status != 200 || r.header.Get("Connection") != "" {
					t.Fatalf("got %d %v, Connection %q", r.status, err, r.header.Get("Connection"))
				}
				tt.close(s)
			}
			if e := s.Journal(); e[0].Remote == e[len(e)-1].Remote {
				t.Error("both requests came over one connection")
			}
		})
	}
}

// secureGet sends a chat over TLS and returns the protocol it was served by.
func secureGet(ctx context.Context, t *testing.T, s *simulator.Service) (string, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CAPool(), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL("payg")+chatPath, strings.NewReader(hello))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Api-Key", "key-payg")
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	_ = res.Body.Close()
	return res.Proto, nil
}

func TestTLSAndHTTP2(t *testing.T) {
	s := simulator.StartTLS(t, pool())
	proto, err := secureGet(t.Context(), t, s)
	if err != nil || proto != "HTTP/2.0" || s.Journal()[0].Proto != "HTTP/2.0" {
		t.Errorf("got %s, %v", proto, err)
	}
	s.Next("payg", simulator.Fault{Action: "reset-before-headers"})
	if _, err := secureGet(t.Context(), t, s); err == nil {
		t.Error("over HTTP/2 a reset went unnoticed")
	}
}

func TestTLSModes(t *testing.T) {
	tests := []struct {
		mode simulator.TLSMode
		is   func(error) bool
	}{
		{simulator.TLSExpired, func(err error) bool {
			var e x509.CertificateInvalidError
			return errors.As(err, &e) && e.Reason == x509.Expired
		}},
		{simulator.TLSWrongName, func(err error) bool {
			var e x509.HostnameError
			return errors.As(err, &e)
		}},
		{simulator.TLSUnknownCA, func(err error) bool {
			var e x509.UnknownAuthorityError
			return errors.As(err, &e)
		}},
		{simulator.TLSOld, func(err error) bool { return strings.Contains(err.Error(), "protocol version") }},
		{simulator.TLSHang, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
	}
	for _, tt := range tests {
		t.Run(string(tt.mode), func(t *testing.T) {
			cfg := pool()
			cfg.Resources[1].TLS = tt.mode
			s := simulator.StartTLS(t, cfg)
			limit := time.Minute
			if tt.mode == simulator.TLSHang {
				limit = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if _, err := secureGet(ctx, t, s); err == nil || !tt.is(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
