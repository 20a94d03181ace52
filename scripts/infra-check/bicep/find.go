package bicep

import (
	"strconv"
	"strings"
)

// find walks "properties.subnets[0].name" and returns the value there with the line it was written on.
func (o *Object) find(path string) (Value, Pos) {
	var v Value = o
	var pos Pos
	for _, step := range strings.Split(strings.ReplaceAll(path, "[", ".["), ".") {
		if i, isIndex := strings.CutPrefix(step, "["); isIndex {
			items, _ := v.([]Value)
			n, err := strconv.Atoi(strings.TrimSuffix(i, "]"))
			if err != nil || n >= len(items) {
				return nil, Pos{}
			}
			v = items[n]
			continue
		}
		parent, ok := v.(*Object)
		if !ok {
			return nil, Pos{}
		}
		if v, ok = parent.values[step]; !ok {
			return nil, Pos{}
		}
		pos = parent.lines[step]
	}
	return v, pos
}

// Find returns the value at a path such as "properties.sku.name", nil when there is none.
func (o *Object) Find(path string) Value {
	v, _ := o.find(path)
	return v
}
