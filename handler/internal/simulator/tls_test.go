package simulator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
)

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

func TestTLSIsServedWithHTTP2(t *testing.T) {
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

func TestBadCertificatesAreBadAsNamed(t *testing.T) {
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
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := secureGet(ctx, t, s); err == nil || !tt.is(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
