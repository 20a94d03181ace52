package simulator

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// admit checks a request in the service's order: headers, credential, path,
// deployment, rates, body, capacity. nil admits it.
func (c *call) admit() *apiError {
	if apiErr := c.checkRequest(); apiErr != nil {
		return apiErr
	}
	family, ok := c.requiredCapability()
	if !ok {
		return resourceNotFound()
	}
	if family == "" {
		return nil
	}
	if c.dep == nil {
		return c.unknownDeployment()
	}
	apiErr := c.admitToDeployment(family)
	if apiErr != nil && c.canSpill(apiErr) {
		return c.spillOver(family, apiErr)
	}
	return apiErr
}

// checkRequest checks what does not depend on the deployment.
func (c *call) checkRequest() *apiError {
	if limit := c.svc.cfg.MaxCustomHeaders; limit > 0 && customHeaders(c.r.Header) > limit {
		return tooManyHeaders()
	}
	if apiErr := c.checkStrict(); apiErr != nil {
		return apiErr
	}
	if apiErr := c.authorize(); apiErr != nil {
		return apiErr
	}
	if c.route.family == familyNone {
		return resourceNotFound()
	}
	if !c.route.versionFits() {
		if c.route.family == familyV1 {
			return versionNotSupported()
		}
		return resourceNotFound()
	}
	return nil
}

// requiredCapability is what a deployment must support for this operation, ""
// when the operation belongs to the resource, and whether it exists at all.
func (c *call) requiredCapability() (string, bool) {
	r := c.route
	compact := r.operation == "responses" && len(r.rest) == 1 && r.rest[0] == "compact"
	counts := r.operation == "messages" && len(r.rest) == 1 && r.rest[0] == "count_tokens"
	if (r.operation == "messages") != (r.family == familyAnthropic) {
		return "", false
	}
	if (len(r.rest) == 0 || compact || counts) && c.r.Method == http.MethodPost {
		if family := capabilityOf(r.operation); family != "" {
			return family, family != "responses" || r.family != familyDeployment
		}
	}
	if r.operation == "responses" || r.operation == "models" || objectPrefix[r.operation] != "" {
		// The Node SDK posts batches to deployments as well.
		return "", r.family != familyDeployment || r.operation == "batches"
	}
	return "", false
}

func capabilityOf(operation string) string {
	switch operation {
	case "chat/completions":
		return "chat"
	case "completions", "embeddings", "responses", "messages":
		return operation
	case "images/generations", "images/edits":
		return "images"
	case "audio/speech":
		return "speech"
	case "audio/transcriptions", "audio/translations":
		return "transcription"
	default:
		return ""
	}
}

func (c *call) unknownDeployment() *apiError {
	if c.route.family != familyDeployment && c.request.Model == "" {
		return invalidRequest("you must provide a model parameter", "model", "")
	}
	return deploymentNotFound(c.route)
}

// admitToDeployment checks what depends on the deployment, and charges it.
func (c *call) admitToDeployment(family string) *apiError {
	if wait, ok := c.countRequest(); !ok {
		return c.newThrottle(wait).forLimit("call")
	}
	if !c.spec.supports(family) {
		return operationNotSupported(c.route.operation, c.spec.Model)
	}
	if apiErr := c.checkBody(family); apiErr != nil {
		return apiErr
	}
	if apiErr := c.checkContext(); apiErr != nil {
		return apiErr
	}
	if apiErr := c.chargeEstimate(); apiErr != nil {
		return apiErr
	}
	c.dep.inFlight.Add(1)
	c.update(func(e *Entry) { e.Admitted = true })
	if strings.Contains(c.prompt, TriggerPromptFilter) {
		return promptFiltered()
	}
	return nil
}

func (c *call) newThrottle(wait time.Duration) throttle {
	return throttle{route: c.route, model: c.spec.servedModel(), region: c.res.Region, retryAfter: wait, withRetryAfter: true}
}

// countRequest counts a request towards the deployment's rate.
func (c *call) countRequest() (time.Duration, bool) {
	c.dep.mu.Lock()
	defer c.dep.mu.Unlock()
	wait, ok := c.dep.AdmitRequest(c.now(), &c.spec)
	c.rateStatus = c.dep.rates(c.now(), &c.spec)
	return wait, ok
}

func (c *call) checkContext() *apiError {
	if c.prompt == "" {
		c.prompt = c.request.promptText()
	}
	c.promptTokens = countTokens(len(c.prompt))
	window := c.spec.ContextWindow
	if window <= 0 {
		return nil
	}
	asked := c.promptTokens
	if output, bounded := c.request.outputTokens(&c.spec); bounded {
		asked += output
	}
	if asked > window {
		return contextLengthExceeded(window, asked)
	}
	return nil
}

// chargeEstimate charges the estimate to the deployment's capacity.
func (c *call) chargeEstimate() *apiError {
	probe := c.res.cache.probe(c.spec.Model, c.request.PromptCacheKey, c.prompt)
	c.cached = c.res.cache.cached(c.now(), probe)
	estimate := c.estimate(&c.spec)
	apiErr := c.charge(estimate)
	prompt, cached, used := c.promptTokens, c.cached, c.rateStatus.utilization
	c.update(func(e *Entry) {
		e.EstimatedTokens, e.Utilization = estimate, used
		if apiErr == nil {
			e.PromptTokens, e.CachedTokens = prompt, cached
		}
	})
	if apiErr == nil {
		c.res.cache.add(c.now(), probe)
	}
	return apiErr
}

func (c *call) charge(estimate int) *apiError {
	c.dep.mu.Lock()
	defer c.dep.mu.Unlock()
	now := c.now()
	defer func() { c.rateStatus = c.dep.rates(now, &c.spec) }()
	if c.spec.SKU != Provisioned {
		if wait, ok := c.dep.AdmitTokens(now, &c.spec, estimate); !ok {
			return c.newThrottle(wait).forLimit("token")
		}
		return nil
	}
	granted := min(max(0, estimate-c.cached), largestEstimate)
	if wait, ok := c.dep.AdmitTokens(now, &c.spec, granted); !ok {
		return c.newThrottle(wait).provisioned()
	}
	c.granted = granted
	return nil
}

// correctEstimate returns what a request did not use to a provisioned deployment.
func (c *call) correctEstimate() {
	if c.granted == 0 || c.dep == nil {
		return
	}
	actual := max(0, c.entry.PromptTokens-c.entry.CachedTokens) + c.entry.CompletionTokens
	c.dep.mu.Lock()
	defer c.dep.mu.Unlock()
	c.dep.Settle(c.now(), &c.spec, c.granted, actual)
	c.granted = 0
}

// spill is the deployment that refused a request that another one serves
// (docs/azure-openai.md#spillover).
type spill struct {
	from   string
	status int
}

// spilloverName is the deployment that takes over: the deployment's property,
// else the request's header.
func (c *call) spilloverName() string {
	if c.spec.Spillover != "" {
		return c.spec.Spillover
	}
	return c.r.Header.Get("x-ms-spillover-deployment")
}

func (c *call) canSpill(apiErr *apiError) bool {
	if c.dep == nil || c.spec.SKU != Provisioned || c.spill.from != "" {
		return false
	}
	target := c.res.deployments[c.spilloverName()]
	if target == nil || target.spec.Load().SKU == Provisioned {
		return false
	}
	switch apiErr.status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable:
		return true
	default:
		return apiErr.name == "400-context"
	}
}

// spillOver serves a request by the other deployment. When that refuses it too,
// the error is the original one.
func (c *call) spillOver(family string, original *apiError) *apiError {
	dep, spec, rates := c.dep, c.spec, c.rateStatus
	c.spill = spill{from: spec.Name, status: original.status}
	c.dep = c.res.deployments[c.spilloverName()]
	c.spec = *c.dep.spec.Load()
	if apiErr := c.admitToDeployment(family); apiErr != nil {
		c.dep, c.spec, c.rateStatus, c.spill = dep, spec, rates, spill{}
		return original
	}
	c.update(func(e *Entry) { e.SpilledFrom, e.Deployment = spec.Name, c.spec.Name })
	return nil
}

func (s spill) headers(h http.Header) {
	h.Set("X-Ms-Is-Spilled-Over", strconv.FormatBool(s.from != ""))
	if s.from == "" {
		return
	}
	h.Set("x-ms-spillover-from-deployment", s.from)
	h.Set("x-ms-spillover-error", strconv.Itoa(s.status))
}

// AuthMode is how a resource treats credentials
// (docs/azure-openai.md#authentication).
type AuthMode string

// The modes. Each but AuthOrdinary and AuthAnonymous has its own error.
const (
	AuthOrdinary     AuthMode = ""
	AuthAnonymous    AuthMode = "anonymous"     // no credential is needed
	AuthKeysDisabled AuthMode = "keys-disabled" // tokens only: 403 for keys
	AuthNoRole       AuthMode = "no-role"       // tokens lack the data action: 401 PermissionDenied
	AuthNetwork      AuthMode = "network"       // 403 Virtual Network/Firewall
	AuthPrivate      AuthMode = "private"       // 403 public access disabled
	AuthBlocked      AuthMode = "blocked"       // 403 abuse block
)

var authModes = []AuthMode{
	AuthOrdinary, AuthAnonymous, AuthKeysDisabled, AuthNoRole, AuthNetwork, AuthPrivate, AuthBlocked,
}

func (m AuthMode) known() bool { return slices.Contains(authModes, m) }

// authorize checks a request's credential; nil accepts it.
func (c *call) authorize() *apiError {
	switch c.res.Auth {
	case AuthAnonymous:
		return nil
	case AuthNetwork:
		return networkDenied()
	case AuthPrivate:
		return publicAccessDisabled()
	case AuthBlocked:
		return resourceBlocked()
	case AuthOrdinary, AuthKeysDisabled, AuthNoRole: // depends on the credential
	}
	bearer, isBearer := bearerToken(c.r.Header)
	// A bearer token takes precedence over a key.
	if isBearer && (looksLikeJWT(bearer) || c.route.family != familyV1) {
		return c.authorizeToken(bearer)
	}
	key := c.r.Header.Get("api-key")
	if c.route.family == familyAnthropic {
		key = c.r.Header.Get("x-api-key")
	}
	if isBearer {
		key = bearer
	}
	return c.authorizeKey(key)
}

func (c *call) authorizeKey(key string) *apiError {
	if c.res.Auth == AuthKeysDisabled && key != "" {
		return keyAuthDisabled()
	}
	if key == "" {
		return invalidKey()
	}
	if len(c.res.Keys) == 0 {
		return nil
	}
	for _, good := range c.res.Keys {
		if subtle.ConstantTimeCompare([]byte(key), []byte(good)) == 1 {
			return nil
		}
	}
	return invalidKey()
}

func (c *call) authorizeToken(token string) *apiError {
	if len(c.res.Tokens) > 0 && !slices.Contains(c.res.Tokens, token) {
		return invalidToken()
	}
	if len(c.res.Tokens) == 0 && !goodJWT(token, c.arrived) {
		return invalidToken()
	}
	if c.res.Auth == AuthNoRole {
		return permissionDenied(c.route)
	}
	return nil
}

func bearerToken(h http.Header) (string, bool) {
	scheme, token, ok := strings.Cut(h.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

func looksLikeJWT(token string) bool {
	return strings.HasPrefix(token, "eyJ") && strings.Count(token, ".") == 2
}

// goodJWT checks a token's shape, audience and expiry, but no signature.
func goodJWT(token string, now time.Time) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct {
		Aud string `json:"aud"`
		Exp int64  `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return false
	}
	return goodAudience(claims.Aud) && (claims.Exp == 0 || now.Unix() < claims.Exp)
}

func goodAudience(aud string) bool {
	switch strings.TrimSuffix(aud, "/") {
	case "", "https://cognitiveservices.azure.com", "https://ai.azure.com":
		return true
	default:
		return false
	}
}
