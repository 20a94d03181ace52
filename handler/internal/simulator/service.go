// Package aoaitest is a simulated Azure OpenAI service: several resources in
// one process, each with its keys, deployments, limits, store and faults. It
// answers as the real service was seen to answer (facts/azure-openai.md), keeps
// a journal of all it received, and does as it is told by faults.
//
// It imports nothing of the program it is built to test, so it cannot share
// its mistakes.
//
// A resource is reached by its own listener (Start), by the path prefix
// /{name}/openai/…, or by the Host {name}.openai.azure.com or
// {name}.services.ai.azure.com. Nothing is slow, limited or random unless it is
// asked for: the zero Deployment answers at once and for ever.
package simulator

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Service is a set of simulated Azure OpenAI resources. It is an http.Handler:
// the shared door on which resources are told apart by Host or path prefix.
// All its methods may be called at any time by any goroutine.
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

// New builds the resources of cfg. It listens nowhere: use it as an
// http.Handler, or use Start. A configuration that Validate refuses is a bug
// of the caller and panics with Validate's sentence.
func New(cfg Config) *Service {
	if err := cfg.Validate(); err != nil {
		panic("aoaitest: " + err.Error())
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

// ServeHTTP serves whichever resource the Host or the first path segment names.
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
	no := resourceNotFound()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(no.status)
	_, _ = w.Write([]byte(no.body))
}

// handlerOf is the door of one resource alone, as its own listener serves it.
func (s *Service) handlerOf(res *resource) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.Control && isControl(r.URL.Path) {
			s.serveControl(w, r)
			return
		}
		s.serve(w, r, res, r.URL.EscapedPath())
	})
}

// Reset forgets faults, journal, counters, stores and caches. Limits changed
// on the way (Throttle, SetDeployment) go back to the configuration.
func (s *Service) Reset() {
	s.faults.clear("")
	s.journal.reset()
	s.violations.reset()
	for _, name := range s.order {
		s.resources[name].reset(s.cfg.Now())
	}
}

// hostName is the resource named by an Azure host name, "" when it is none.
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
