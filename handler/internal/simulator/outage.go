package simulator

import (
	"io"
	"log"
)

// Down takes a resource off the network: its listener refuses connections and
// those that are open are cut. Without a listener of its own, the resource
// resets every connection that names it instead.
func (s *Service) Down(resource string) {
	s.mustFind(resource)
	s.listeners.mu.Lock()
	d := s.listeners.byResource[resource]
	s.listeners.mu.Unlock()
	if d == nil {
		s.Fault(resource, Fault{Action: "refuse"})
		return
	}
	d.close()
}

// Up brings a resource back on the same port, and clears its faults.
func (s *Service) Up(resource string) error {
	s.mustFind(resource)
	s.faults.clear(resource)
	s.listeners.mu.Lock()
	d := s.listeners.byResource[resource]
	s.listeners.mu.Unlock()
	if d == nil {
		return nil
	}
	return d.listen()
}

// CloseIdle closes all connections of a resource that wait for a request, and
// those now busy once they wait. It says nothing to the callers, as a front end
// that rotates.
func (s *Service) CloseIdle(resource string) {
	s.mustFind(resource)
	s.listeners.mu.Lock()
	d := s.listeners.byResource[resource]
	s.listeners.mu.Unlock()
	if d != nil {
		d.closeIdle()
	}
}

// Close ends all listeners and connections and waits for requests under way.
// Callers cut off by it are not counted as having left.
func (s *Service) Close() {
	s.listeners.mu.Lock()
	s.listeners.done = true
	doors := s.listeners.byResource
	s.listeners.byResource = map[string]*listener{}
	s.listeners.mu.Unlock()
	for _, d := range doors {
		d.close()
	}
	s.active.Wait()
}

// quietLog drops what net/http says of aborted handlers: faults abort.
func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
