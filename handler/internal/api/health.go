package api

import (
	"encoding/json"
	"net/http"
)

func (s *Server) live(w http.ResponseWriter, _ *http.Request) {
	writeHealth(w, http.StatusOK, map[string]any{"status": "live"})
}

// ready is what probes of Front Door and Application Gateway ask: 503 when no
// model, or the one named by ?model=, has an available backend.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.Draining != nil && s.Draining() {
		writeHealth(w, http.StatusServiceUnavailable, map[string]any{"status": "draining"})
		return
	}
	ready, models := s.Readiness.Ready(r.URL.Query().Get("model"))
	if !ready {
		writeHealth(w, http.StatusServiceUnavailable, map[string]any{"status": "unavailable", "models": models})
		return
	}
	writeHealth(w, http.StatusOK, map[string]any{"status": "ready", "models": models})
}

func writeHealth(w http.ResponseWriter, status int, body map[string]any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}
