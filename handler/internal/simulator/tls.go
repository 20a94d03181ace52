package simulator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// TLSMode is a fault of a resource's TLS under StartTLS.
type TLSMode string

// The modes.
const (
	TLSGood      TLSMode = ""
	TLSExpired   TLSMode = "expired"
	TLSWrongName TLSMode = "wrong-name"
	TLSUnknownCA TLSMode = "unknown-ca"
	TLSHang      TLSMode = "hang" // the handshake never ends
	TLSOld       TLSMode = "tls10"
)

var tlsModes = []TLSMode{TLSGood, TLSExpired, TLSWrongName, TLSUnknownCA, TLSHang, TLSOld}

func (m TLSMode) known() bool { return slices.Contains(tlsModes, m) }

// authority signs the certificates of one service.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make authority key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "simulated Azure OpenAI"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert: cert, key: key, pool: pool}, nil
}

// config is the TLS configuration of a listener.
func (a *authority) config(mode TLSMode) (*tls.Config, error) {
	signer := a
	if mode == TLSUnknownCA {
		other, err := newAuthority()
		if err != nil {
			return nil, err
		}
		signer = other
	}
	cert, err := signer.leaf(mode)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	if mode == TLSOld {
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	}
	if mode == TLSHang {
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			<-hello.Context().Done()
			return nil, hello.Context().Err()
		}
	}
	return config, nil
}

func (a *authority) leaf(mode TLSMode) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "openai.azure.com"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "*.openai.azure.com", "*.services.ai.azure.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if mode == TLSExpired {
		template.NotAfter = time.Now().Add(-24 * time.Hour)
	}
	if mode == TLSWrongName {
		template.DNSNames, template.IPAddresses = []string{"elsewhere.example"}, nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
