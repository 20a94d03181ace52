package preflight_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/cli/preflight"
	"spillway/handler/internal/simulator"
)

func TestTransportFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(sim *simulator.Service, target *backend.Target)
		want  string
	}{
		"dns":     {func(_ *simulator.Service, target *backend.Target) { target.Endpoint.Host = "nobody.invalid" }, "is not found by DNS. Correct the endpoint"},
		"refused": {func(sim *simulator.Service, _ *backend.Target) { sim.Down("sweden") }, "refuses connections. Correct host and port"},
		"silent": {func(sim *simulator.Service, _ *backend.Target) {
			sim.Fault("sweden", simulator.Fault{Action: "hang-before-headers"})
		}, "no answer came from HOST-sweden in time. Check"},
		"no token": {func(_ *simulator.Service, target *backend.Target) {
			target.Credential = failingCredential{backend.ErrCredentialUnavailable}
		}, "there is no token of the identity. On a developer's machine"},
		"identity": {func(_ *simulator.Service, target *backend.Target) {
			target.Credential = failingCredential{backend.ErrIdentityRefused}
		}, "the identity was refused a token. Assign"},
	} {
		t.Run(name, func(t *testing.T) {
			sim := simulator.Start(t, healthyService())
			in := newInput(t, sim)
			in.Timeout = 300 * time.Millisecond
			c.spoil(sim, in.Targets[1])
			text, report := print(t, in)
			if report.Count(preflight.Error) != 1 || !strings.Contains(text, c.want) || !strings.Contains(text, "error: backends[1] sweden: ") {
				t.Errorf("want one error with %q:\n%s", c.want, text)
			}
		})
	}
}

type failingCredential struct{ err error }

func (b failingCredential) Apply(context.Context, http.Header, http.Header) error { return b.err }

func TestTLSFaults(t *testing.T) {
	for mode, want := range map[simulator.TLSMode]string{
		simulator.TLSExpired:   "the certificate has expired or is not valid yet",
		simulator.TLSWrongName: "the certificate is for another name",
		simulator.TLSUnknownCA: "an authority that is not trusted here",
		simulator.TLSHang:      "the handshake does not end",
		simulator.TLSOld:       "the handshake was refused",
	} {
		t.Run(string(mode), func(t *testing.T) {
			cfg := healthyService()
			cfg.Resources[1].TLS = mode
			sim := simulator.StartTLS(t, cfg)
			in := newInput(t, sim)
			for _, target := range in.Targets {
				target.Transport = backend.NewTransport(backend.TransportOptions{RootCAs: sim.CAPool(), HandshakeTimeout: 200 * time.Millisecond})
				t.Cleanup(target.Transport.CloseIdleConnections)
			}
			text, report := print(t, in)
			if report.Count(preflight.Error) != 1 || !strings.Contains(text, "error: backends[1] sweden") || !strings.Contains(text, want) {
				t.Errorf("want one error with %q:\n%s", want, text)
			}
		})
	}
}
