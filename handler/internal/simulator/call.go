package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// call is one request in progress.
type call struct {
	svc     *Service
	res     *resource
	w       http.ResponseWriter
	out     io.Writer // w, for the body
	r       *http.Request
	route   route
	arrived time.Time
	seq     uint64
	entry   *Entry

	body         []byte
	request      *requestBody
	prompt       string
	promptTokens int
	cached       int

	dep     *deployment // nil until the deployment is known
	spec    Deployment  // its configuration on arrival
	spill   spill
	granted int // tokens charged to a provisioned deployment on arrival

	fault   *Fault // nil: none
	factor  float64
	latency time.Duration

	rateStatus rateStatus
	tier       string
	headers    bool // response headers were prepared
}

// serve handles one request.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, res *resource, path string) {
	s.active.Add(1)
	defer s.active.Done()
	c := s.begin(w, r, res, path)
	defer c.end()
	if apiErr := c.receive(); apiErr != nil {
		c.writeError(apiErr)
		return
	}
	c.matchFaults()
	if c.fault != nil && c.applyFault() {
		return
	}
	if apiErr := c.admit(); apiErr != nil {
		c.writeError(apiErr)
		return
	}
	if c.fault != nil && (c.fault.Action == "json-for-stream" || c.fault.Action == "stream-for-json") {
		c.request.Stream = c.fault.Action == "stream-for-json"
	}
	c.serveOperation()
}

// begin makes a call and its journal entry.
func (s *Service) begin(w http.ResponseWriter, r *http.Request, res *resource, path string) *call {
	c := &call{svc: s, res: res, w: w, out: w, r: r, arrived: s.cfg.Now(), seq: s.seq.Add(1), request: &requestBody{}, factor: 1}
	c.route = parseRoute(path, r.URL.Query())
	header := r.Header
	if s.journal.keepsBodies() {
		header = r.Header.Clone()
		if len(r.TransferEncoding) > 0 {
			header["Transfer-Encoding"] = r.TransferEncoding
		}
	}
	c.entry = &Entry{
		Seq: c.seq, Time: c.arrived, Resource: res.Name, Deployment: c.route.deployment, Operation: c.route.operation,
		Proto: r.Proto, Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery,
		Remote: r.RemoteAddr, Header: header, RequestID: s.guid(c.seq, 1),
	}
	s.journal.add(c.entry)
	return c
}

// receive reads and parses the body. With Expect: 100-continue the credential is
// checked first, so that a client without one need not send the body.
func (c *call) receive() *apiError {
	if c.r.Header.Get("Expect") != "" {
		if apiErr := c.authorize(); apiErr != nil {
			return apiErr
		}
	}
	body, err := io.ReadAll(c.upload())
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return bodyTooLarge()
	}
	c.body = body
	c.journalBody()
	if err != nil {
		c.clientDisconnected()
		return invalidRequest("the body ended early", "", "")
	}
	var bad error
	if c.r.Method == http.MethodPost {
		c.request, bad = parseBody(c.r.Header.Get("Content-Type"), body)
	}
	c.findDeployment()
	if bad != nil {
		return invalidRequest(bad.Error(), "", "")
	}
	return nil
}

func (c *call) upload() io.Reader {
	var body io.Reader = c.r.Body
	if limit := c.svc.cfg.MaxBody; limit > 0 {
		body = http.MaxBytesReader(c.w, c.r.Body, limit)
	}
	q := faultTarget{deployment: c.route.deployment, operation: c.route.operation, now: c.arrived}
	for _, f := range c.svc.faults.match(c.res.Name, q, true) {
		c.update(func(e *Entry) { e.Fault = f.Action })
		body = &slowReader{call: c, from: body, pause: f.Pause}
	}
	return body
}

func (c *call) journalBody() {
	size := len(c.body)
	if !c.svc.journal.keepsBodies() {
		c.update(func(e *Entry) { e.BodySize = size })
		return
	}
	sum := sha256.Sum256(c.body)
	c.update(func(e *Entry) {
		e.Body, e.BodySize, e.BodySHA256 = c.body, size, hex.EncodeToString(sum[:])
	})
}

// findDeployment finds the deployment: the path's, or the body's model on paths
// without one.
func (c *call) findDeployment() {
	name := c.route.deployment
	if c.route.family != familyDeployment {
		name = c.request.Model
	}
	c.update(func(e *Entry) { e.Deployment, e.Stream = name, c.request.Stream })
	if dep := c.res.deployments[name]; dep != nil {
		c.dep, c.spec = dep, *dep.spec.Load()
	}
}

// update changes the journal entry.
func (c *call) update(change func(*Entry)) { c.svc.journal.update(c.entry, change) }

func (c *call) now() time.Time { return c.svc.cfg.Now() }

// end finishes the entry unless it is finished.
func (c *call) end() {
	if c.dep != nil && c.entry.Admitted {
		c.dep.inFlight.Add(-1)
	}
	if c.r.Context().Err() != nil && !c.entry.Done {
		c.clientDisconnected()
	}
	c.finish(Broken)
	if c.fault != nil && c.fault.Action == "close-idle" {
		c.flush()
		closeRequestConn(c.r.Context())
	}
}

// clientDisconnected records that the client has left.
func (c *call) clientDisconnected() {
	if c.svc.listeners.closing() {
		return
	}
	now := c.now()
	c.update(func(e *Entry) {
		if e.DisconnectedAt.IsZero() && !e.Done {
			e.DisconnectedAt = now
		}
	})
	c.finish(Disconnected)
}

// finish ends the entry, once, and corrects the estimate.
func (c *call) finish(outcome Outcome) {
	if c.entry.Done {
		return
	}
	c.correctEstimate()
	now := c.now()
	c.update(func(e *Entry) { e.Outcome, e.End, e.Done = outcome, now, true })
}

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
	if rules.OneCredential && (c.r.Header.Get("api-key")+c.r.Header.Get("x-api-key") == "") == (c.r.Header.Get("Authorization") == "") {
		found = c.recordViolation("credentials", "want exactly one of a key and Authorization")
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
