package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

var errUnknownVerb = errors.New("no such verb; use throttle, fail, slow, brownout, down, up or restore")

// verb is one line of the control endpoint: what becomes of a resource, and
// for how long.
type verb struct {
	name       string
	resource   string
	deployment string
	length, by time.Duration
}

// controlVerb is the short form of the usual faults.
func (s *Service) controlVerb(w http.ResponseWriter, r *http.Request) {
	v, err := readVerb(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch err := s.apply(v); {
	case errors.Is(err, errUnknownVerb):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func readVerb(r *http.Request) (verb, error) {
	v := verb{name: r.PathValue("verb"), resource: r.PathValue("name"), deployment: r.URL.Query().Get("deployment")}
	for name, into := range map[string]*time.Duration{"for": &v.length, "by": &v.by} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return v, fmt.Errorf("%s=%q is no duration; write it like 10s", name, text)
		}
		*into = d
	}
	return v, nil
}

func (s *Service) apply(v verb) error {
	rule := Fault{For: v.length, Deployment: v.deployment}
	switch v.name {
	case "up":
		return s.Up(v.resource)
	case "restore":
		s.Clear(v.resource)
		return nil
	case "brownout":
		s.BrownOut(v.resource, v.length)
		return nil
	case "throttle":
		rule.Action = "429"
	case "fail":
		rule.Action = "503"
	case "slow":
		rule.Action, rule.Latency = "slow", v.by
	case "down":
		if v.length == 0 && v.deployment == "" {
			s.Down(v.resource)
			return nil
		}
		rule.Action = "refuse"
	default:
		return errUnknownVerb
	}
	s.Fault(v.resource, rule)
	return nil
}
