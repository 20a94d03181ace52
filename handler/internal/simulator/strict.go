package simulator

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Strict is a set of rules for the requests of a gateway, checked on every
// request. The zero value of each is off.
type Strict struct {
	// Secrets must appear nowhere: no header, query or body.
	Secrets []string `json:"secrets,omitempty"`

	// OneCredential: exactly one of api-key and Authorization.
	OneCredential bool `json:"oneCredential,omitempty"`

	// NoHopByHop: none of the hop-by-hop, proxy and forwarding headers, no cookie.
	NoHopByHop bool `json:"noHopByHop,omitempty"`

	// NoStainless: none of the SDKs' x-stainless-*.
	NoStainless bool `json:"noStainless,omitempty"`

	// Bodies are the SHA-256 sums, in hex, of the accepted bodies; none accepts
	// all.
	Bodies []string `json:"bodies,omitempty"`

	// Reject answers 400 to a request that breaks a rule. Otherwise it is only
	// recorded.
	Reject bool `json:"reject,omitempty"`
}

// Violation is one broken rule.
type Violation struct {
	Seq      uint64 `json:"seq"` // of the journal entry
	Resource string `json:"resource"`
	Rule     string `json:"rule"` // "secret", "credentials", "hop-by-hop", "stainless", "body"
	Detail   string `json:"detail"`
}

func (v Violation) String() string {
	return fmt.Sprintf("request %d to %s: %s: %s", v.Seq, v.Resource, v.Rule, v.Detail)
}

type violations struct {
	mu   sync.Mutex
	list []Violation
}

func (v *violations) reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = nil
}

// Violations are the broken rules so far, in order.
func (s *Service) Violations() []Violation {
	s.violations.mu.Lock()
	defer s.violations.mu.Unlock()
	return slices.Clone(s.violations.list)
}

// checkStrict checks the rules; it returns an error only with Reject.
func (c *call) checkStrict() *apiError {
	rules := &c.svc.cfg.Strict
	found := len(rules.Secrets) > 0 && c.findSecrets(rules.Secrets)
	if rules.OneCredential && (c.r.Header.Get("api-key") == "") == (c.r.Header.Get("Authorization") == "") {
		found = c.recordViolation("credentials", "want exactly one of api-key and Authorization")
	}
	if name := hopByHop(c.r.Header); rules.NoHopByHop && name != "" {
		found = c.recordViolation("hop-by-hop", name)
	}
	if name := headerWith(c.r.Header, "X-Stainless-"); rules.NoStainless && name != "" {
		found = c.recordViolation("stainless", name)
	}
	if len(rules.Bodies) > 0 && !slices.Contains(rules.Bodies, c.entry.BodySHA256) {
		found = c.recordViolation("body", "sha256 "+c.entry.BodySHA256+" is none of those expected")
	}
	if found && rules.Reject {
		return invalidRequest("the request breaks a rule; see the violations", "", "strict")
	}
	return nil
}

func (c *call) recordViolation(rule, detail string) bool {
	v := &c.svc.violations
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = append(v.list, Violation{Seq: c.seq, Resource: c.res.Name, Rule: rule, Detail: detail})
	return true
}

// findSecrets records where a secret was found, without the secret.
func (c *call) findSecrets(secrets []string) bool {
	found := false
	for i, secret := range secrets {
		for name, values := range c.r.Header {
			if strings.Contains(strings.Join(values, "\n"), secret) {
				found = c.recordViolation("secret", fmt.Sprintf("secret %d in header %s", i, name))
			}
		}
		if strings.Contains(c.r.URL.RawQuery, secret) || strings.Contains(c.r.URL.Path, secret) {
			found = c.recordViolation("secret", fmt.Sprintf("secret %d in the URL", i))
		}
		if bytes.Contains(c.body, []byte(secret)) {
			found = c.recordViolation("secret", fmt.Sprintf("secret %d in the body", i))
		}
	}
	return found
}

// hopByHop is the name of a header that a gateway must not forward, or "".
func hopByHop(h http.Header) string {
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
		"Upgrade", "Cookie", "X-Functions-Key", "X-Ms-Spillover-Deployment",
	} {
		if len(h.Values(name)) > 0 {
			return name
		}
	}
	return headerWith(h, "X-Forwarded-")
}

func headerWith(h http.Header, prefix string) string {
	for name := range h {
		if strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return ""
}
