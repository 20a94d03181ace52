package simulator

import (
	"crypto/x509"
	"net/http"
	"sync"
)

// TB is what Start needs of a *testing.T.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start builds a service and gives each resource a loopback listener of its
// own until the test ends.
func Start(t TB, cfg Config) *Service {
	t.Helper()
	return start(t, cfg, false)
}

// StartTLS is Start with TLS and HTTP/2. Clients trust CAPool.
func StartTLS(t TB, cfg Config) *Service {
	t.Helper()
	return start(t, cfg, true)
}

func start(t TB, cfg Config, secure bool) *Service {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatalf("aoaitest: %v", err)
	}
	s := New(cfg)
	t.Cleanup(s.Close)
	if secure {
		if err := s.secure(); err != nil {
			t.Fatalf("aoaitest: %v", err)
		}
	}
	for _, name := range s.order {
		if err := s.Listen(name, "127.0.0.1:0"); err != nil {
			t.Fatalf("aoaitest: %v", err)
		}
	}
	return s
}

// listeners are the open doors of a service.
type listeners struct {
	mu         sync.Mutex
	byResource map[string]*listener
	ca         *authority
	done       bool
}

func newListeners() *listeners { return &listeners{byResource: map[string]*listener{}} }

func (l *listeners) closing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// Listen opens a listener for one resource, or with resource "" the shared
// door. Port 0 chooses one; URL tells which.
func (s *Service) Listen(resource, addr string) error {
	handler := http.Handler(s)
	mode := TLSGood
	if resource != "" {
		res := s.mustFind(resource)
		handler, mode = s.handlerOf(res), res.TLS
	}
	d := newListener(resource, addr, handler)
	s.listeners.mu.Lock()
	defer s.listeners.mu.Unlock()
	if s.listeners.ca != nil {
		config, err := s.listeners.ca.config(mode)
		if err != nil {
			return err
		}
		d.server.TLSConfig, d.secure = config, true
	}
	if err := d.listen(); err != nil {
		return err
	}
	s.listeners.byResource[resource] = d
	return nil
}

// URL is the address of a resource, without a slash at its end: that of its
// own listener, else of its prefix on the shared one. "" is the shared one.
func (s *Service) URL(resource string) string {
	s.listeners.mu.Lock()
	defer s.listeners.mu.Unlock()
	scheme := "http://"
	if s.listeners.ca != nil {
		scheme = "https://"
	}
	if d := s.listeners.byResource[resource]; d != nil {
		return scheme + d.address()
	}
	if d := s.listeners.byResource[""]; d != nil {
		return scheme + d.address() + "/" + resource
	}
	return ""
}

// CAPool trusts the certificates of StartTLS; nil without TLS.
func (s *Service) CAPool() *x509.CertPool {
	s.listeners.mu.Lock()
	defer s.listeners.mu.Unlock()
	if s.listeners.ca == nil {
		return nil
	}
	return s.listeners.ca.pool
}

func (s *Service) secure() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	s.listeners.ca = ca
	return nil
}
