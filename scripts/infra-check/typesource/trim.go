package typesource

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

// Source names what the snapshot was cut from; it is part of the snapshot.
const Source = "npm @azure/mcp-linux-x64@0.5.13 dist/Azure.Bicep.Types.Az.dll (Azure.Bicep.Types.Az 0.2.792, MIT)"

//go:embed wanted.txt
var wanted string

// trimmer copies the types that are reachable from the wanted resources into one list.
type trimmer struct {
	resources map[string][]byte
	files     map[string][]any
	seen      map[string]int
	types     []any
}

// Snapshot cuts the types of wanted.txt out of an assembly and returns the file arm/types.json.gz. The same input gives the same bytes.
func Snapshot(assembly []byte) ([]byte, error) {
	all, err := Resources(assembly)
	if err != nil {
		return nil, err
	}
	var index struct {
		Resources map[string]struct {
			Ref string `json:"$ref"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(all["index.json"], &index); err != nil {
		return nil, fmt.Errorf("read index.json of the assembly: %w", err)
	}
	t := &trimmer{resources: all, files: map[string][]any{}, seen: map[string]int{}}
	entries := map[string]any{}
	lines := bufio.NewScanner(strings.NewReader(wanted))
	for lines.Scan() {
		name := strings.TrimSpace(lines.Text())
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		entry, ok := index.Resources[name]
		if !ok {
			return nil, fmt.Errorf("the assembly has no %s: change wanted.txt", name)
		}
		n, err := t.copy(entry.Ref)
		if err != nil {
			return nil, err
		}
		entries[name] = reference(n)
	}
	return pack(map[string]any{"source": Source, "resources": entries, "types": t.types})
}

func reference(n int) map[string]any { return map[string]any{"$ref": fmt.Sprintf("#/%d", n)} }

// copy returns the place of a type in the new list; ref is "file/types.json#/12".
func (t *trimmer) copy(ref string) (int, error) {
	if n, ok := t.seen[ref]; ok {
		return n, nil
	}
	file, index, ok := strings.Cut(ref, "#/")
	if !ok {
		return 0, fmt.Errorf("read reference %q: no #/", ref)
	}
	if t.files[file] == nil {
		var types []any
		if err := json.Unmarshal(t.resources[file], &types); err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		t.files[file] = types
	}
	var i int
	if _, err := fmt.Sscanf(index, "%d", &i); err != nil || i >= len(t.files[file]) {
		return 0, fmt.Errorf("read reference %q: no such entry", ref)
	}
	n := len(t.types)
	t.types = append(t.types, nil)
	t.seen[ref] = n
	copied, err := t.rewrite(t.files[file][i], file)
	t.types[n] = copied
	return n, err
}

// rewrite turns the references inside a type into references to the new list and leaves descriptions out.
func (t *trimmer) rewrite(v any, file string) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && len(v) == 1 {
			n, err := t.copy(file + ref[strings.Index(ref, "#/"):])
			return reference(n), err
		}
		out := map[string]any{}
		for _, key := range sortedKeys(v) {
			if _, isText := v[key].(string); isText && key == "description" {
				continue
			}
			copied, err := t.rewrite(v[key], file)
			if err != nil {
				return nil, err
			}
			out[key] = copied
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			copied, err := t.rewrite(v[i], file)
			if err != nil {
				return nil, err
			}
			out[i] = copied
		}
		return out, nil
	}
	return v, nil
}

func pack(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	var out bytes.Buffer
	zw, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	if _, err := zw.Write(text); err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	return out.Bytes(), nil
}
