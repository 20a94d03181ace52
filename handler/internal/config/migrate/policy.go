package migrate

import (
	"html"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// fromPolicy reads the policy of openai-apim-lb: the list of backends that it
// keeps in the variable listBackends, and what else it does.
func fromPolicy(r *Result, text []byte) error {
	policy := string(text)
	if strings.Contains(policy, "&quot;") {
		policy = html.UnescapeString(policy) // saved as XML rather than as written
	}
	tags := elements(policy)
	auth := r.policyAuth(tags)
	seen, shares := map[string]bool{}, map[int]float64{}
	for _, e := range tags {
		code := e.attributes["value"]
		if e.name != "set-variable" || !strings.Contains(code, "JObject") || seen[code] {
			continue
		}
		seen[code] = true
		for _, properties := range initializers(code) {
			r.policyBackend(properties, auth, shares)
		}
	}
	r.weigh(shares)
	r.policyRest(tags, policy)
	r.changed("every model is passed through by its name, as before: name models under deployments so that each has its own health and price")
	r.changed("callers had subscription keys of API Management: give each application a consumer with a key; they go on sending it as api-key")
	return nil
}

// policyAuth is how the policy authenticates to all of its backends. Where that is by
// something else than one identity, it is said.
func (r *Result) policyAuth(tags []element) document.Auth {
	auth, found := document.Auth{Mode: "managed-identity"}, false
	for i, e := range tags {
		switch id := e.attributes["client-id"]; {
		case e.name == "set-header" && strings.EqualFold(e.attributes["name"], "authorization") && i+1 < len(tags) && tags[i+1].name == "value":
			if !strings.Contains(tags[i+1].text, "context.Variables") {
				r.notCarried("<set-header> Authorization: Spillway sends tokens of identities and keys only: give backends auth with mode api-key if they take a key")
			}
		case e.name != "authentication-managed-identity":
		case found && id != auth.ClientID:
			r.changed("<authentication-managed-identity client-id=%q>: a policy may call by several identities, a backend has one: write it into auth.clientId where it is another than the first", id)
		default:
			found, auth.ClientID = true, id
			r.policyResource(e.attributes["resource"])
		}
	}
	if !found {
		r.changed("no identity authenticates in the policy: the app's own calls backends without a key now, and needs the role Cognitive Services OpenAI User; write auth if they need a key")
	}
	if !strings.Contains(auth.ClientID, "{{") {
		auth.ClientID = r.identity("<authentication-managed-identity client-id>", auth.ClientID)
	} else {
		auth.ClientID = "" // a named value: AZURE_CLIENT_ID is asked for
	}
	return auth
}

// policyResource says that tokens are for Azure OpenAI now, where they were for
// something else.
func (r *Result) policyResource(resource string) {
	if resource != "" && !strings.Contains(resource, "cognitiveservices.azure.com") && !strings.Contains(resource, "{{") {
		r.changed("<authentication-managed-identity>: tokens are for cognitiveservices.azure.com now, which were for %s", resource)
	}
}

var guid = lazily(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// policyBackend adds one backend of the list.
func (r *Result) policyBackend(properties []property, auth document.Auth, shares map[int]float64) {
	b := backend("", "")
	b.Auth = auth
	address, share, number := "", 1.0, len(r.Document.Backends)+1
	for _, p := range properties {
		text := stringLiteral(p.value)
		switch p.name {
		case "url":
			address = text
			b.Endpoint = base(text)
		case "backend-id", "backendId":
			b.Name = plainName(text)
		case "priority":
			b.Priority = r.policyPriority(p.value)
		case "region", "location":
			b.Region = text
		case "weight":
			share = r.policyShare(p.value)
		case "isThrottling", "retryAfter":
			// What the policy remembers; Spillway remembers it by itself.
		case "api-key", "apiKey", "key":
			b.Auth = document.Auth{Mode: "api-key", Setting: r.keySetting(text, "AOAI_KEY", strconv.Itoa(number))}
			r.keyIn(b.Auth.Setting, "the key that the policy holds for backend %d", number)
		default:
			r.notCarried("the property %q of backend %d", p.name, number)
		}
	}
	if b.Endpoint == "" && b.Name == "" {
		return // some other object
	}
	r.toItsDeployment("backend "+strconv.Itoa(number), address, &b)
	r.policyEndpoint(&b)
	shares[number-1] = share
	r.Document.Backends = append(r.Document.Backends, b)
}

// policyEndpoint completes what the list does not say.
func (r *Result) policyEndpoint(b *document.Backend) {
	switch {
	case b.Endpoint == "":
		b.Endpoint = placeholder(b.Name)
		r.ask(b.Endpoint, "backend %q is a backend of API Management, whose URL is not in the policy: write its endpoint into the document, or import it with apim-pool", b.Name)
	case strings.ContainsAny(b.Endpoint, "{}$"):
		written := b.Endpoint
		b.Name = plainName(written)
		b.Endpoint = placeholder(b.Name)
		r.ask(b.Endpoint, "the endpoint %q is filled in by a template: write the real one into the document", written)
	default:
		b.Name = hostName(b.Endpoint)
	}
}

func stringLiteral(code string) string {
	text, err := strconv.Unquote(code)
	if err != nil {
		return strings.Trim(code, `"`)
	}
	return text
}

func (r *Result) policyPriority(code string) int {
	n, err := strconv.Atoi(code)
	if err != nil || n < 0 || n > 1000 {
		r.changed("the priority %s of backend %d is no plain number: it is 1 now", code, len(r.Document.Backends)+1)
		return 1
	}
	return n
}

// policyShare is a weight, a number of C#. Backends without one have 1.
func (r *Result) policyShare(code string) float64 {
	share, err := strconv.ParseFloat(strings.TrimRight(code, "dDfFmM"), 64)
	if err != nil || !(share >= 0 && share <= 1e6) {
		r.changed("the weight %s of backend %d is no plain number: it is 1 now", code, len(r.Document.Backends)+1)
		return 1
	}
	return share
}

// structure is the elements that the known policy is made of.
var structure = []string{
	"policies", "inbound", "backend", "outbound", "on-error", "base", "choose", "when", "otherwise", "set-variable",
	"cache-lookup-value", "cache-store-value", "set-backend-service", "authentication-managed-identity", "value",
	"openid-config", "audiences", "audience", "issuers", "issuer", "required-claims", "claim", "client-application-ids", "application-id",
}

// replacement is what does the same in Spillway.
var replacement = map[string]string{
	"rate-limit": "set requestsPerMinute of consumers", "rate-limit-by-key": "set requestsPerMinute of consumers", "quota": "set tokensPerMonth of consumers", "quota-by-key": "set tokensPerMonth of consumers",
	"azure-openai-token-limit": "set tokensPerMinute of consumers", "llm-token-limit": "set tokensPerMinute of consumers",
	"azure-openai-emit-token-metric": "tokens are measured by themselves", "llm-emit-token-metric": "tokens are measured by themselves", "log-to-eventhub": "see SPILLWAY_TRANSCRIPTS and the log line of each request", "trace": "see the log line of each request", "emit-metric": "see the metrics",
	"ip-filter": "use access restrictions of the Function App", "cors": "Spillway is not for browsers", "limit-concurrency": "set concurrency of consumers",
	"azure-openai-semantic-cache-lookup": "answers are not cached", "azure-openai-semantic-cache-store": "answers are not cached", "llm-semantic-cache-lookup": "answers are not cached", "llm-semantic-cache-store": "answers are not cached",
	"llm-content-safety": "use the content filter of the deployments",
}

// policyRest reports what becomes of everything outside the list.
func (r *Result) policyRest(tags []element, policy string) {
	for _, e := range tags {
		switch {
		case e.name == "retry":
			r.changed("instead of %s retries every available backend is tried once, without a pause", e.attributes["count"])
		case e.name == "forward-request" && e.attributes["timeout"] != "":
			r.set("SPILLWAY_RESPONSE_TIMEOUT: %ss, for the timeout of forward-request", e.attributes["timeout"])
		case e.name == "set-header":
			r.policyHeader(e)
		case e.name == "validate-jwt" || e.name == "validate-azure-ad-token":
			r.policyEntra(tags)
		case e.name == "forward-request" || slices.Contains(structure, e.name):
		case replacement[e.name] != "":
			r.notCarried("<%s%s>: %s", e.name, e.limits(), replacement[e.name])
		default:
			r.notCarried("<%s>", e.name)
		}
	}
	if strings.Contains(policy, "{{uami-client-id}}") || strings.Contains(policy, "client-id=\"{{") {
		r.set("AZURE_CLIENT_ID: the client id of the user-assigned identity, a named value in the policy")
	}
	if strings.Contains(policy, "StatusCode == 401") {
		r.changed("a backend whose 401 another backend does not share is left by that instance at the second one, and it is logged as an error")
	}
	if m := waitPattern().FindStringSubmatch(policy); m != nil && m[1] != "10" {
		if seconds, err := strconv.Atoi(m[1]); err == nil && seconds > 0 && seconds <= 300 {
			r.Document.Throttle.DefaultWait = jsondoc.Duration(time.Duration(seconds) * time.Second)
		}
	}
}

// limits is the numbers of an element that limits something.
func (e element) limits() string {
	text := ""
	for _, name := range []string{"tokens-per-minute", "token-quota", "calls", "renewal-period", "bandwidth", "max-count"} {
		if n := e.attributes[name]; n != "" {
			text += " " + name + "=" + strconv.Quote(n)
		}
	}
	return text
}

// waitPattern finds how long a backend is left alone that does not say so.
var waitPattern = lazily(`"x-ratelimit-reset-tokens"\s*,\s*"(\d+)"`)

func (r *Result) policyHeader(e element) {
	switch name := strings.ToLower(e.attributes["name"]); name {
	case "authorization":
	case "x-openai-backendurl":
		r.set("SPILLWAY_EXPOSE: true, if callers want to know who answered; the header is x-spillway-backend")
	case "api-key":
		r.notCarried("<set-header> api-key: give backends auth with mode api-key and the name of an app setting")
	default:
		r.notCarried("<set-header> %s", name)
	}
}

// policyEntra carries over which tokens are let in.
func (r *Result) policyEntra(tags []element) {
	r.set("SPILLWAY_AUTH: entra, or key,entra")
	for i, e := range tags {
		switch e.name {
		case "audience":
			r.set("SPILLWAY_ENTRA_AUDIENCE: %s", e.text)
		case "issuer":
			r.set("SPILLWAY_ENTRA_ISSUER: %s", e.text)
		case "openid-config":
			r.set("SPILLWAY_ENTRA_TENANT: the tenant in %s", e.attributes["url"])
		case "application-id":
			r.policyCaller(e.text)
		case "claim":
			if name := e.attributes["name"]; (name == "appid" || name == "azp") && i+1 < len(tags) {
				r.policyCaller(tags[i+1].text)
			} else {
				r.notCarried("<claim name=%q>: consumers are matched by appId, group and role", name)
			}
		}
	}
}

// policyCaller adds the application that may call.
func (r *Result) policyCaller(id string) {
	if !guid().MatchString(id) {
		r.notCarried("the application %s that may call: add a consumer with its id as entra.appId", id)
		return
	}
	c := consumer("app-" + strings.ToLower(id[:8]))
	c.Entra = &document.Entra{AppID: id}
	r.Document.Consumers = append(r.Document.Consumers, c)
}
