package migrate

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
)

// backendType is the ARM type of backends and of pools of them.
const backendType = "microsoft.apimanagement/service/backends"

// errText is a source that has to be turned into JSON first.
var errText = errors.New("it is no JSON: give an ARM template, the answer of \"az rest --method get --url .../backends?api-version=2024-05-01\", the output of \"terraform show -json\" (of a plan or of what is applied), or a Bicep file by its name (.bicep, .bicepparam)")

// entity is one backend of API Management, or a pool of them.
type entity struct {
	name       string
	at         *value
	properties *value
	arm        arm
}

// fromAPIMPool reads backends and pools of API Management.
func fromAPIMPool(r *Result, text []byte) error {
	root, err := r.parse(text)
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
	planned := v.at("planned_values") != nil
	for _, m := range v.members {
		past := planned && (m.name == "prior_state" || m.name == "resource_changes")
		if m.name != "template" && !past && (m.value.isMap || m.value.isList) {
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
	switch {
	case kind == "azurerm_api_management_backend" || strings.HasPrefix(kind, "azapi_"):
		p.terraform(v, v.at("values"), kind, a)
		for _, instance := range v.at("instances").all() {
			p.terraform(instance, instance.at("attributes"), kind, a)
		}
	case kind == "" && (v.at("name") != nil || v.at("id") != nil) && untyped(v) != nil:
		p.found = append(p.found, entity{a.name(valueOr(v.at("name").scalar(), v.at("id").scalar())), v, untyped(v), a})
	case (kind == backendType || kind == "backends") && v.at("properties") != nil:
		if v.at("copy") != nil {
			p.notCarried("%s: a loop, which only a deployment unrolls: give the Bicep file, or what is deployed", v.path)
			return
		}
		name := valueOr(v.at("name").scalar(), v.at("id").scalar())
		p.found = append(p.found, entity{a.name(name), v, v.at("properties"), a})
	}
}

// untyped is the properties of an entry that does not tell its type, as answers
// have it that were cut down or flattened; nil where it is no backend.
func untyped(v *value) *value {
	properties := v.at("properties")
	switch {
	case properties.at("pool") != nil || properties.at("url") != nil:
		return properties
	case v.at("url") != nil && v.at("protocol") != nil && v.at("api_management_name") == nil:
		return v
	}
	return nil
}

// terraform adds a backend of a plan or a state.
func (p *apim) terraform(v, values *value, kind string, a arm) {
	switch {
	case values == nil:
	case kind == "azurerm_api_management_backend":
		p.found = append(p.found, entity{values.at("name").scalar(), v, values, a})
	case !strings.HasPrefix(strings.ToLower(values.at("type").scalar()), backendType):
	default:
		if body := terraformBody(values); body != nil {
			p.azapi(v, values, body, a)
			return
		}
		p.notCarried("%s: its body is only known after an apply: give the output of \"terraform show -json\" then", v.path)
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
		inner, _, err := parse([]byte(body.text))
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
		p.ask(b.Endpoint, "the URL of backend %q is only known to a deployment: give --endpoint %s=URL, or write it into the document", e.name, b.Name)
	}
	if service != nil {
		b.Priority, b.Weight = p.count(service, "priority", 1), p.count(service, "weight", 1)
	}
	called := p.credentials(e, &b)
	p.toItsDeployment(e.at.path, address, &b)
	p.breakers(e.properties, &b)
	e.properties.ignore(isInformational()...)
	p.unsupported(e.properties)
	if !called {
		p.notCarried("%s: the backend %q is called with credentials that Spillway does not send: add it with a key for the header api-key, or give the app's identity the role Cognitive Services OpenAI User there", e.at.path, e.name)
		return
	}
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

// credentials reads how API Management authenticates: by an identity, or a header.
// It is false where that is by something that Spillway does not send.
func (p *apim) credentials(e entity, b *document.Backend) bool {
	credentials := e.properties.take("credentials")
	if credentials != nil && len(credentials.list) > 0 {
		credentials = credentials.list[0] // as Terraform has it
	}
	if credentials.hollow() {
		p.byIdentity(b.Endpoint, "backend %q has no credentials in the file, so a policy sent them: the app's own identity calls %s now and needs the role Cognitive Services OpenAI User; write auth if it needs a key", e.name, b.Endpoint)
		return true
	}
	known := p.identity(credentials.take("managedIdentity"), b)
	headers := credentials.take("header")
	for _, header := range headers.names() {
		if !strings.EqualFold(header, "api-key") {
			p.notCarried("the header %q that backend %q sends", header, e.name)
			continue
		}
		key := headers.at(header)
		if len(key.all()) > 0 {
			key = key.list[0]
		}
		known, b.Auth = true, document.Auth{Mode: "api-key", Setting: p.keySetting(key.scalar(), "AOAI_KEY", b.Name)}
		p.keyIn(b.Auth.Setting, "the key that backend %q sends as api-key", e.name)
	}
	p.unsupported(credentials)
	return known
}

// identity reads whose tokens a backend gets. It is false without one.
func (p *apim) identity(identity *value, b *document.Backend) bool {
	if identity == nil {
		return false
	}
	b.Auth.ClientID = p.Result.identity(identity.path, identity.stringAt("clientId"))
	if resource := identity.stringAt("resource"); resource != "" && !strings.Contains(resource, "cognitiveservices.azure.com") {
		p.changed("%s: tokens are for cognitiveservices.azure.com now, which were for %s", identity.path, resource)
	}
	p.unsupported(identity)
	return true
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
