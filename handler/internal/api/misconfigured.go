package api

import "net/http"

// Misconfigured answers for a handler whose configuration is wrong. The host
// gives up for good on a process that exits three times
// (facts/azure-functions-host.md §2.3), so it listens, and says why it does
// nothing else. The faults hold names and paths of settings, never values of
// secrets.
func Misconfigured(faults []string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", (*Server)(nil).root)
	mux.HandleFunc("GET /health/live", (*Server)(nil).live)
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, _ *http.Request) {
		writeHealth(w, http.StatusServiceUnavailable, map[string]any{"status": "config_invalid", "faults": faults})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refusal := Refusal{
			Status: http.StatusServiceUnavailable, Type: serverError, Code: "config_invalid",
			Message: "Spillway is not configured and serves nothing. An operator finds the reasons on /health/ready and in the log.",
		}
		refusal.write(w, r)
	})
	return mux
}
