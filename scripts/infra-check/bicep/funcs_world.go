package bicep

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

func objectOf(pairs ...Value) *Object {
	o := NewObject()
	for i := 0; i+1 < len(pairs); i += 2 {
		o.Set(asText(pairs[i]), pairs[i+1])
	}
	return o
}

func environment(call) (Value, string) {
	return objectOf("name", "AzureCloud", "suffixes", objectOf("storage", "core.windows.net", "keyvaultDns", ".vault.azure.net")), ""
}

func subscription(call) (Value, string) {
	return objectOf("id", "/subscriptions/"+Subscription, "subscriptionId", Subscription, "tenantId", Tenant), ""
}

func tenant(call) (Value, string) { return objectOf("tenantId", Tenant), "" }

func resourceGroup(c call) (Value, string) {
	if len(c.args) > 0 {
		return objectOf("name", c.text(len(c.args)-1)), ""
	}
	return objectOf("name", c.template.group, "id", Ref{Text: "Microsoft.Resources/resourceGroups/" + c.template.group + ".id"}), ""
}

// readEnvironment gives the default or a placeholder: a parameter file must not need the environment of the checker.
func readEnvironment(c call) (Value, string) {
	if len(c.args) == 2 {
		return c.args[1], ""
	}
	return "value-of-" + c.text(0), ""
}

func loadText(c call) (Value, string) {
	name := beside(c.template.file.Path, c.text(0))
	b, err := os.ReadFile(filepath.Join(c.template.program.Dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, fmt.Sprintf("file %s is not there", name)
	}
	return string(b), ""
}

func loadJSON(c call) (Value, string) {
	s, fault := loadText(c)
	if fault != "" {
		return nil, fault
	}
	return parseJSON(asText(s), c.text(0))
}

// jsonOf is json(), the only way to write a number with decimals.
func jsonOf(c call) (Value, string) { return parseJSON(c.text(0), c.text(0)) }

func parseJSON(text, name string) (Value, string) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	v, err := decode(d)
	if err != nil {
		return nil, fmt.Sprintf("%s is not JSON: %v", name, err)
	}
	return v, ""
}

// decode keeps the order of members, which encoding/json does not.
func decode(d *json.Decoder) (Value, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			return decodeArray(d)
		}
		return decodeObject(d)
	case json.Number:
		if n, err := token.Int64(); err == nil {
			return n, nil
		}
		return token.Float64()
	}
	return token, nil
}

func decodeArray(d *json.Decoder) (Value, error) {
	out := []Value{}
	for d.More() {
		v, err := decode(d)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := d.Token()
	return out, err
}

func decodeObject(d *json.Decoder) (Value, error) {
	out := NewObject()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := decode(d)
		if err != nil {
			return nil, err
		}
		out.Set(fmt.Sprint(key), v)
	}
	_, err := d.Token()
	return out, err
}
