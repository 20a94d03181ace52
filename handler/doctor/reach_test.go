package doctor_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/aoaitest"
	"spillway/handler/doctor"
	"spillway/handler/upstream"
)

func TestWhatLiesOnTheWayIsClassed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(sim *aoaitest.Service, target *upstream.Target)
		want  string
	}{
		"dns":     {func(_ *aoaitest.Service, target *upstream.Target) { target.Endpoint.Host = "nobody.invalid" }, "is not found by DNS. Correct the endpoint"},
		"refused": {func(sim *aoaitest.Service, _ *upstream.Target) { sim.Down("sweden") }, "refuses connections. Correct host and port"},
		"silent": {func(sim *aoaitest.Service, _ *upstream.Target) {
			sim.Fault("sweden", aoaitest.Fault{Action: "hang-before-headers"})
		}, "no answer came from HOST-sweden in time. Check"},
		"no token": {func(_ *aoaitest.Service, target *upstream.Target) { target.Credential = broken{upstream.ErrCredential} }, "there is no token of the identity. On a developer's machine"},
		"identity": {func(_ *aoaitest.Service, target *upstream.Target) { target.Credential = broken{upstream.ErrIdentity} }, "the identity was refused a token. Assign"},
	} {
		t.Run(name, func(t *testing.T) {
			sim := aoaitest.Start(t, service())
			s := subject(t, sim)
			s.Patience = 300 * time.Millisecond
			c.spoil(sim, s.Targets[1])
			text, report := print(t, s)
			if report.Count(doctor.Error) != 1 || !strings.Contains(text, c.want) || !strings.Contains(text, "error: backends[1] sweden: ") {
				t.Errorf("want one error with %q:\n%s", c.want, text)
			}
		})
	}
}

type broken struct{ err error }

func (b broken) Put(context.Context, http.Header, http.Header) error { return b.err }

func TestTLSThatFailsSaysWhy(t *testing.T) {
	for mode, want := range map[aoaitest.TLSMode]string{
		aoaitest.TLSExpired:   "the certificate has expired or is not valid yet",
		aoaitest.TLSWrongName: "the certificate is for another name",
		aoaitest.TLSUnknownCA: "an authority that is not trusted here",
		aoaitest.TLSHang:      "the handshake does not end",
		aoaitest.TLSOld:       "the handshake was refused",
	} {
		t.Run(string(mode), func(t *testing.T) {
			cfg := service()
			cfg.Resources[1].TLS = mode
			sim := aoaitest.StartTLS(t, cfg)
			s := subject(t, sim)
			for _, target := range s.Targets {
				target.Transport = upstream.NewTransport(upstream.Wire{Roots: sim.CAPool(), Handshake: 200 * time.Millisecond})
				t.Cleanup(target.Transport.CloseIdleConnections)
			}
			text, report := print(t, s)
			if report.Count(doctor.Error) != 1 || !strings.Contains(text, "error: backends[1] sweden") || !strings.Contains(text, want) {
				t.Errorf("want one error with %q:\n%s", want, text)
			}
		})
	}
}
