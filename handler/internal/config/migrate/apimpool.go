package migrate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// backendType is the ARM type of backends and of pools of them.
const backendType = "microsoft.apimanagement/service/backends"

// errText is a source that has to be turned into JSON first.
var errText = errors.New("it is no JSON: give an ARM template, the answer of \"az rest --method get --url .../backends?api-version=2024-05-01\", or the output of \"terraform show -json\"; a Bicep file becomes a template by \"az bicep build\"")

// entity is one backend of API Management, or a pool of them.
type entity struct {
	name       string
	at         *value
	properties *value
	arm        arm
}

// fromAPIMPool reads backends and pools of API Management.
func fromAPIMPool(r *Result, text []byte) error {
	root, err := parse(text)
	if err != nil || !root.isMap && !root.isList {
		return errText
	}
	p := &apim{Result: r, members: map[string]bool{}}
	p.collect(root, arm{})
	for _, e := range p.found {
		p.pool(e)
	}
	if len(p.members) == 0 {
		p.changed("there is no pool in the file: all backends have priority 1 and weight 1")
		for _, e := range p.found {
			p.member(e, nil)
		}
	}
	for _, e := range p.found {
		if e.properties.at("pool") == nil && !p.members[strings.ToLower(e.name)] {
			p.notCarried("%s: the backend %q is in no pool", e.at.path, e.name)
		}
	}
	p.changed("every model is passed through by its name, as before: name models under deployments so that each has its own health and price")
	p.changed("callers had subscription keys of API Management: give each application a consumer with a key; they go on sending it as api-key")
	return nil
}

// apim is what was found on the way.
type apim struct {
	*Result
	found   []entity
	members map[string]bool // lower-case names of backends that are in the document
	ruled   bool            // a rule was carried over to the pool
}

// collect finds backends in templates, in answers of ARM, and in Terraform's
// states and plans.
func (p *apim) collect(v *value, a arm) {
	if template := v.at("template"); template != nil {
		p.collect(template, a)
	}
	if v.at("resources") != nil && v.at("$schema") != nil {
		a = arm{parameters: v.at("parameters"), variables: v.at("variables")}
	}
	p.entry(v, a)
	for _, m := range v.members {
		if m.name != "template" && (m.value.isMap || m.value.isList) {
			p.collect(m.value, a)
		}
	}
	for _, item := range v.list {
		p.collect(item, a)
	}
}

// entry adds v if it is a backend.
func (p *apim) entry(v *value, a arm) {
	kind := strings.ToLower(v.at("type").scalar())
	values := v.at("values")
	switch {
	case kind == "azurerm_api_management_backend" && values != nil:
		p.found = append(p.found, entity{values.at("name").scalar(), v, values, a})
	case strings.HasPrefix(kind, "azapi_") && values != nil:
		if body := terraformBody(values); strings.HasPrefix(strings.ToLower(values.at("type").scalar()), backendType) && body != nil {
			p.azapi(v, values, body, a)
		}
	case (kind == backendType || kind == "backends") && v.at("properties") != nil:
		name := valueOr(v.at("name").scalar(), v.at("id").scalar())
		p.found = append(p.found, entity{a.name(name), v, v.at("properties"), a})
	}
}

// azapi adds a backend of the azapi provider, or what an update adds to one.
func (p *apim) azapi(v, values, body *value, a arm) {
	name := a.name(valueOr(values.at("name").scalar(), values.at("resource_id").scalar()))
	for i := range p.found {
		if strings.EqualFold(p.found[i].name, name) {
			p.found[i].properties = &value{path: p.found[i].properties.path, isMap: true, members: slices.Concat(p.found[i].properties.members, body.at("properties").members)}
			return
		}
	}
	p.found = append(p.found, entity{name, v, body.at("properties"), a})
}

// terraformBody is the body of an azapi resource, an object or JSON in a text.
func terraformBody(values *value) *value {
	body := values.at("body")
	if body != nil && !body.isMap {
		inner, err := parse([]byte(body.text))
		if err != nil {
			return nil
		}
		body = inner
	}
	if body.at("properties") == nil {
		return nil
	}
	return body
}

// scalar is the value's text, "" for nil.
func (v *value) scalar() string {
	if v == nil {
		return ""
	}
	return v.text
}

// pool adds the members of a pool.
func (p *apim) pool(e entity) {
	pool := e.properties.take("pool")
	if pool == nil {
		return
	}
	for _, service := range pool.items("services") {
		name := e.arm.name(service.stringAt("id"))
		i := slices.IndexFunc(p.found, func(other entity) bool { return strings.EqualFold(other.name, name) })
		switch {
		case i < 0:
			p.notCarried("%s: the backend %q is not in the file", service.path, name)
		case p.members[strings.ToLower(name)]:
			p.notCarried("%s: %q is in another pool already, and Spillway has one pool for each model", service.path, name)
		default:
			p.member(p.found[i], service)
			p.unsupported(service)
		}
	}
	p.unsupported(pool)
	e.properties.ignore(isInformational()...)
	p.unsupported(e.properties)
}

// isInformational are the members of a backend that say nothing about its requests.
func isInformational() []string {
	return []string{"url", "protocol", "type", "title", "description", "name", "id", "api_management_name", "resource_group_name", "resource_id", "timeouts"}
}

// unsupported lists every member that was not read, unless it is informational.
func (p *apim) unsupported(v *value) {
	for _, m := range v.others() {
		switch {
		case m.value.empty():
		case m.name == "sessionAffinity":
			p.notCarried("%s: a conversation stays with its backend by the id of its responses; no cookie is needed", m.value.path)
		default:
			p.notCarried("%s", m.value.path)
		}
	}
}

// member adds one backend, with its place in a pool.
func (p *apim) member(e entity, service *value) {
	p.members[strings.ToLower(e.name)] = true
	address, known := e.arm.text(e.properties.at("url").scalar())
	b := backend(plainName(e.name), base(address))
	if !known || address == "" || strings.Contains(address, "${") {
		b.Endpoint = placeholder(b.Name)
		p.changed("the URL of backend %q is only known to a deployment: write its endpoint into the document", e.name)
	}
	if service != nil {
		b.Priority, b.Weight = p.count(service, "priority", 1), p.count(service, "weight", 1)
	}
	p.credentials(e, &b)
	p.breakers(e.properties, &b)
	e.properties.ignore(isInformational()...)
	p.unsupported(e.properties)
	p.Document.Backends = append(p.Document.Backends, b)
}

// count reads a priority or a weight, which may be null or empty.
func (p *apim) count(service *value, name string, otherwise int) int {
	text := service.stringAt(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1000 {
		p.changed("%s.%s is %d now", service.path, name, otherwise)
		return otherwise
	}
	return n
}

// credentials reads how API Management authenticates: its own identity unless
// a header says otherwise.
func (p *apim) credentials(e entity, b *document.Backend) {
	credentials := e.properties.take("credentials")
	if credentials == nil {
		return
	}
	if len(credentials.list) > 0 {
		credentials = credentials.list[0] // as Terraform has it
	}
	for _, header := range credentials.take("header").names() {
		if strings.EqualFold(header, "api-key") {
			b.Auth = document.Auth{Mode: "api-key", Setting: settingName("AOAI_KEY", b.Name)}
			p.set("%s: the key that backend %q sends as api-key", b.Auth.Setting, e.name)
			continue
		}
		p.notCarried("the header %q that backend %q sends", header, e.name)
	}
	p.unsupported(credentials)
}

func (v *value) names() []string {
	var names []string
	if v != nil {
		for _, m := range v.members {
			names = append(names, m.name)
		}
	}
	return names
}

// trip is one rule of a circuit breaker, as ARM or as Terraform writes it.
type trip struct {
	path                        string
	count, percentage           string
	interval, duration, reasons *value
	ranges                      []*value
	acceptRetryAfter            string
}

// breakers reads the rules of one backend: API Management allows one.
func (p *apim) breakers(properties *value, b *document.Backend) {
	breaker := properties.take("circuitBreaker")
	for i, rule := range slices.Concat(breaker.items("rules"), properties.items("circuit_breaker_rule")) {
		if i > 0 {
			p.notCarried("%s: a backend has one rule, and another came first", rule.path)
			continue
		}
		condition := rule.take("failureCondition")
		if list := rule.items("failure_condition"); len(list) > 0 {
			condition = list[0] // as Terraform has it
		}
		rule.ignore("name")
		p.rule(trip{
			path: rule.path, count: condition.stringAt("count"), percentage: condition.stringAt("percentage"),
			interval: either(condition, "interval", "interval_duration"), duration: either(rule, "tripDuration", "trip_duration"),
			reasons:          either(condition, "errorReasons", "error_reasons"),
			ranges:           either(condition, "statusCodeRanges", "status_code_range").all(),
			acceptRetryAfter: either(rule, "acceptRetryAfter", "accept_retry_after_enabled").scalar(),
		}, b)
		p.unsupported(rule)
		p.unsupported(condition)
	}
	p.unsupported(breaker)
}

// either takes the member of the one name or of the other.
func either(v *value, name, other string) *value {
	if m := v.take(name); m != nil {
		return m
	}
	return v.take(other)
}

// rule carries over the rule of one backend: the first rule is the pool's, and
// a backend whose rule differs from it has members of its own.
func (p *apim) rule(t trip, b *document.Backend) {
	fresh := document.New()
	breaker, throttle := fresh.CircuitBreaker, fresh.Throttle
	codes := p.codes(t)
	p.throttling(t, codes, &throttle)
	if len(codes) > 0 {
		p.failing(t, &breaker)
	}
	pool := p.Document
	if !p.ruled {
		p.ruled, pool.CircuitBreaker, pool.Throttle = true, breaker, throttle
		return
	}
	b.CircuitBreaker = pool.CircuitBreaker.Override(&breaker)
	b.Throttle = pool.Throttle.Override(&throttle)
}

// failing carries over what opens a circuit. API Management opens one at count
// or at percentage.
func (p *apim) failing(t trip, b *document.CircuitBreaker) {
	count, err := strconv.Atoi(t.count)
	if err == nil && count > 0 {
		b.Failures = count
		p.changed("%s: %d failures open the circuit only where they are %d %% of the answers or came in a row", t.path, b.Failures, b.Percentage)
	}
	if n, err := strconv.Atoi(t.percentage); err == nil && n > 0 && n <= 100 {
		b.Percentage = n
	}
	p.duration(t.interval, &b.Interval)
	p.duration(t.duration, &b.TripDuration)
	b.MaxTripDuration = max(b.MaxTripDuration, b.TripDuration)
}

// throttling reports what becomes of a rule about 429; without codes it is about
// nothing else.
func (p *apim) throttling(t trip, codes []string, into *document.Throttle) {
	if len(codes) == 0 || slices.ContainsFunc(t.ranges, about429) {
		p.changed("%s: 429 opens no circuit: the backend is skipped for as long as its answer asks, else for throttle.defaultWait", t.path)
	}
	if len(codes) == 0 {
		p.duration(t.duration, &into.DefaultWait)
		into.MaxWait = max(into.MaxWait, into.DefaultWait)
	}
	into.AcceptRetryAfter = t.acceptRetryAfter != "false"
	if t.reasons != nil && len(t.reasons.list) > 0 {
		p.changed("%s: connection errors and timeouts always count as failures", t.reasons.path)
	}
	if slices.ContainsFunc(codes, func(c string) bool { return c != "408" && c[0] != '5' }) {
		p.changed("%s: 408, 500 to 599 and redirects are failures, instead of %s", t.path, strings.Join(codes, ", "))
	}
}

func about429(r *value) bool {
	from, to, ok := bounds(r)
	return ok && from <= 429 && to >= 429
}

func (p *apim) duration(from *value, into *jsondoc.Duration) {
	if from == nil {
		return
	}
	seconds, err := isoSeconds(from.text)
	if err != nil || seconds == 0 {
		p.notCarried("%s: %q is no duration", from.path, from.text)
		return
	}
	*into = jsondoc.Duration(time.Duration(seconds) * time.Second)
}

// codes is the status codes of a rule that can be failures, without 429.
func (p *apim) codes(t trip) []string {
	var codes []string
	for _, r := range t.ranges {
		from, to, ok := bounds(r)
		p.unsupported(r)
		if !ok || to < 400 || from > 599 {
			p.notCarried("%s: only statuses from 400 to 599 are failures", r.path)
			continue
		}
		from, to = max(from, 400), min(to, 599)
		for _, part := range [][2]int{{from, min(to, 428)}, {max(from, 430), to}} {
			switch {
			case part[0] > part[1]:
			case part[0] == part[1]:
				codes = append(codes, strconv.Itoa(part[0]))
			default:
				codes = append(codes, fmt.Sprintf("%d-%d", part[0], part[1]))
			}
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// bounds are the two ends of a range; ok is false when they are no numbers.
func bounds(r *value) (from, to int, ok bool) {
	from, errFrom := strconv.Atoi(r.stringAt("min"))
	to, errTo := strconv.Atoi(r.stringAt("max"))
	if from > to {
		from, to = to, from // seen in published templates, and taken by ARM
	}
	return from, to, errFrom == nil && errTo == nil
}
