// Package simulator is a simulated Azure OpenAI service: several resources in one
// process, each with keys, deployments, limits, a store and faults. It answers as
// the real service was seen to answer (docs/azure-openai.md) and keeps a journal of
// all requests.
//
// It imports nothing of the program that it tests, so it cannot share its mistakes.
//
// A resource is reached by its own listener (Start), by the path prefix
// /{name}/openai/…, or by the Host {name}.openai.azure.com or
// {name}.services.ai.azure.com. Nothing is slow, limited or random by default: the
// zero Deployment answers at once and without limit.
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
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Service is a set of simulated Azure OpenAI resources. It is an http.Handler that
// tells resources apart by Host or path prefix. All its methods are safe for
// concurrent use.
type Service struct {
	cfg       Config
	resources map[string]*resource
	order     []string
	journal   *journal
	faults    *faultRules
	seq       atomic.Uint64
	listeners *listeners
	active    sync.WaitGroup

	violations violations
	control    *http.ServeMux
}

// New makes the resources of cfg. It does not listen: use it as an http.Handler,
// or use Start. It panics on a configuration that Validate refuses.
func New(cfg Config) *Service {
	if err := cfg.Validate(); err != nil {
		panic("simulator: " + err.Error())
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{
		cfg:       cfg,
		resources: make(map[string]*resource, len(cfg.Resources)),
		journal:   newJournal(cfg.Journal),
		faults:    newFaultRules(cfg.Seed),
		listeners: newListeners(),
	}
	for _, r := range cfg.Resources {
		s.resources[r.Name] = newResource(r, cfg.Now)
		s.order = append(s.order, r.Name)
	}
	s.control = s.controlMux()
	return s
}

// ServeHTTP serves the resource that the Host or the first path segment names.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Control && isControl(r.URL.Path) {
		s.serveControl(w, r)
		return
	}
	if res := s.resources[hostName(r.Host)]; res != nil {
		s.serve(w, r, res, r.URL.EscapedPath())
		return
	}
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if res := s.resources[name]; res != nil {
		s.serve(w, r, res, "/"+rest)
		return
	}
	apiErr := resourceNotFound()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(apiErr.status)
	_, _ = w.Write([]byte(apiErr.body))
}

// handlerOf is the handler of one resource's own listener.
func (s *Service) handlerOf(res *resource) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.Control && isControl(r.URL.Path) {
			s.serveControl(w, r)
			return
		}
		s.serve(w, r, res, r.URL.EscapedPath())
	})
}

// Reset removes faults, journal, counters, stores and caches, and restores the
// configured limits.
func (s *Service) Reset() {
	s.faults.clear("")
	s.journal.reset()
	s.violations.reset()
	for _, name := range s.order {
		s.resources[name].reset(s.cfg.Now())
	}
}

// hostName is the resource of an Azure host name, "" for others.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for _, suffix := range []string{".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"} {
		if name, ok := strings.CutSuffix(host, suffix); ok {
			return name
		}
	}
	return ""
}

// ResourceState is the state of a resource.
type ResourceState struct {
	Name        string            `json:"name"`
	Region      string            `json:"region"`
	URL         string            `json:"url"`
	Faults      []Fault           `json:"faults"`
	Deployments []DeploymentState `json:"deployments"`
}

// DeploymentState is the state of a deployment.
type DeploymentState struct {
	Deployment   Deployment `json:"deployment"`
	InFlight     int64      `json:"inFlight"`
	TokensLeft   int        `json:"tokensLeft"`
	RequestsLeft int        `json:"requestsLeft"`
	PTU          PTUReport  `json:"ptu"`
	ReopensIn    string     `json:"reopensIn"` // "0s" while it accepts
}

// State is the state of every resource, in order of configuration.
func (s *Service) State() []ResourceState {
	out := make([]ResourceState, 0, len(s.order))
	for _, name := range s.order {
		res := s.resources[name]
		state := ResourceState{Name: name, Region: res.Region, URL: s.URL(name), Faults: s.Faults(name)}
		for _, d := range res.order {
			state.Deployments = append(state.Deployments, res.deployments[d].state(s.cfg.Now()))
		}
		out = append(out, state)
	}
	return out
}

func (d *deployment) state(now time.Time) DeploymentState {
	d.mu.Lock()
	defer d.mu.Unlock()
	spec := *d.spec.Load()
	seen := d.rates(now, &spec)
	wait := d.bucket.untilAccepting()
	if spec.TokensPerMinute > 0 {
		wait = max(wait, seen.tokensReset)
	}
	return DeploymentState{
		Deployment: spec, InFlight: d.inFlight.Load(), TokensLeft: seen.tokensLeft, RequestsLeft: seen.requestsLeft,
		PTU: d.bucket.reportAt(now), ReopensIn: wait.String(),
	}
}

// controlMetrics serves the counters in Prometheus' text format.
func (s *Service) controlMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	for _, c := range s.Counts() {
		labels := fmt.Sprintf("resource=%q,deployment=%q", c.Resource, c.Deployment)
		for outcome, n := range c.Outcomes {
			_, _ = fmt.Fprintf(w, "aoai_requests_total{%s,outcome=%q} %d\n", labels, outcome, n)
		}
		for status, n := range c.Statuses {
			_, _ = fmt.Fprintf(w, "aoai_answers_total{%s,status=\"%d\"} %d\n", labels, status, n)
		}
		_, _ = fmt.Fprintf(w, "aoai_tokens_total{%s,type=\"input\"} %d\n", labels, c.PromptTokens)
		_, _ = fmt.Fprintf(w, "aoai_tokens_total{%s,type=\"cached\"} %d\n", labels, c.CachedTokens)
		_, _ = fmt.Fprintf(w, "aoai_tokens_total{%s,type=\"output\"} %d\n", labels, c.CompletionTokens)
	}
	for _, res := range s.State() {
		for _, d := range res.Deployments {
			if d.Deployment.SKU == Provisioned {
				_, _ = fmt.Fprintf(w, "aoai_utilization_percent{resource=%q,deployment=%q} %.1f\n", res.Name, d.Deployment.Name, d.PTU.Utilization)
			}
		}
	}
}

// SetDeployment changes a deployment while it serves, for instance its limits.
// Unfinished requests keep the configuration they began with; counters and the
// bucket's level stay.
func (s *Service) SetDeployment(resource, name string, change func(*Deployment)) error {
	res := s.resources[resource]
	if res == nil || res.deployments[name] == nil {
		return fmt.Errorf("%w: resource %q has no deployment %q", ErrConfig, resource, name)
	}
	d := res.deployments[name]
	d.mu.Lock()
	defer d.mu.Unlock()
	spec := *d.spec.Load()
	change(&spec)
	if err := spec.validate(); err != nil {
		return fmt.Errorf("%w: change deployment %q: %w", ErrConfig, name, err)
	}
	spec.Name = d.original.Name
	d.bucket.drain(s.cfg.Now())
	d.bucket.resize(spec)
	d.spec.Store(&spec)
	return nil
}

// Throttle makes a resource answer 429 for d (0: until Clear) with the time that is
// left: as a PTU does on a provisioned deployment, as pay-as-you-go on others.
func (s *Service) Throttle(resource string, d time.Duration) string {
	return s.Fault(resource, Fault{Action: "429", For: d})
}

// BrownOut makes a resource ten times slower and fails three of ten requests with
// 503, for d (0: until Clear).
func (s *Service) BrownOut(resource string, d time.Duration) {
	s.Fault(resource, Fault{Action: "slow", Factor: 10, For: d})
	s.Fault(resource, Fault{Action: "503", Probability: 0.3, For: d})
}

// PTU reports the use of a provisioned deployment since it was made or reset. It
// panics on an unknown one.
func (s *Service) PTU(resource, deployment string) PTUReport {
	d := s.mustFind(resource).deployments[deployment]
	if d == nil {
		panic("simulator: resource " + quote(resource) + " has no deployment " + quote(deployment))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bucket.reportAt(s.cfg.Now())
}

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
