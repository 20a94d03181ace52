package simulator

import (
	"maps"
	"slices"
	"strings"
)

type countKey struct {
	resource, deployment string
}

// Count sums what became of the finished requests of one deployment. It is
// kept whatever the bound of the journal.
type Count struct {
	Resource         string          `json:"resource"`
	Deployment       string          `json:"deployment"`
	Requests         int             `json:"requests"`
	Outcomes         map[Outcome]int `json:"outcomes"`
	Statuses         map[int]int     `json:"statuses"`
	PromptTokens     int             `json:"promptTokens"`
	CachedTokens     int             `json:"cachedTokens"`
	CompletionTokens int             `json:"completionTokens"`
}

// count books a finished entry. The lock is held.
func (j *journal) count(e *Entry) {
	key := countKey{e.Resource, e.Deployment}
	c := j.counts[key]
	if c == nil {
		c = &Count{Resource: e.Resource, Deployment: e.Deployment, Outcomes: map[Outcome]int{}, Statuses: map[int]int{}}
		j.counts[key] = c
	}
	c.Requests++
	c.Outcomes[e.Outcome]++
	c.Statuses[e.Status]++
	c.PromptTokens += e.PromptTokens
	c.CachedTokens += e.CachedTokens
	c.CompletionTokens += e.CompletionTokens
}

// Counts are the sums over finished requests, by resource and deployment
// (deployment "" where none was named or known), sorted.
func (s *Service) Counts() []Count {
	j := s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]Count, 0, len(j.counts))
	for _, c := range j.counts {
		sum := *c
		sum.Outcomes, sum.Statuses = maps.Clone(c.Outcomes), maps.Clone(c.Statuses)
		out = append(out, sum)
	}
	slices.SortFunc(out, func(a, b Count) int {
		return strings.Compare(a.Resource+"/"+a.Deployment, b.Resource+"/"+b.Deployment)
	})
	return out
}
