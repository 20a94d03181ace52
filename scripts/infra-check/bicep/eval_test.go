package bicep

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spillway/scripts/infra-check/arm"
	"spillway/scripts/infra-check/finding"
)

// expand works a template out that is given as text.
func expand(t *testing.T, source string, params map[string]Value) (*Template, []*Instance, []finding.Finding) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.bicep"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	types, err := arm.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	var findings finding.List
	p := NewProgram(dir, types, &findings)
	main, instances := p.Expand("main.bicep", params)
	return main, instances, findings.Sorted()
}

func TestExpressionsComeToWhatTheServiceMakesOfThem(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		`1 + 2 * 3`:                                          `7`,
		`(1 + 2) * 3`:                                        `9`,
		`7 / 2`:                                              `3`,
		`7 % 4 - -1`:                                         `4`,
		`true || false && false`:                             `true`,
		`1 == 1 ? 'yes' : 'no'`:                              `"yes"`,
		`false ? 1 : true ? 2 : 3`:                           `2`,
		`null ?? 'x'`:                                        `"x"`,
		`{}.?a ?? {}.?b ?? 3`:                                `3`,
		`{ a: { b: 1 } }.?a.b`:                               `1`,
		`{ a: 1 }[?'b']`:                                     `null`,
		`[1, 2, 3][1]`:                                       `2`,
		`'a${1 + 1}b${'c${'d'}'}'`:                           `"a2bcd"`,
		`'it\'s \${x}'`:                                      `"it's ${x}"`,
		`items({ b: 1, a: 2 })[0].key`:                       `"a"`,
		`map([1, 2], x => x * 2)`:                            `[2,4]`,
		`map(['a', 'b'], (x, i) => i)`:                       `[0,1]`,
		`filter([1, 2, 3], x => x > 1)`:                      `[2,3]`,
		`flatten([[1], [2, 3]])`:                             `[1,2,3]`,
		`reduce([1, 2], 0, (a, b) => a + b)`:                 `3`,
		`toObject(['a'], k => k, k => toUpper(k))`:           `{"a":"A"}`,
		`union({ a: { x: 1 } }, { a: { y: 2 } })`:            `{"a":{"x":1,"y":2}}`,
		`shallowMerge([{ a: { x: 1 } }, { a: { y: 2 } }])`:   `{"a":{"y":2}}`,
		`union([1, 2], [2, 3])`:                              `[1,2,3]`,
		`contains('GlobalStandard', 'standard')`:             `true`,
		`contains({ a: null }, 'a')`:                         `true`,
		`empty('') && empty([]) && empty({}) && empty(null)`: `true`,
		`cidrSubnet('10.42.0.0/22', 24, 3)`:                  `"10.42.3.0/24"`,
		`max(1, 5, 3) - min(4, 2)`:                           `3`,
		`string({ b: 1, a: [true] })`:                        `"{\"b\":1,\"a\":[true]}"`,
		`{ '${'k'}y': 1, ...{ z: 2 } }`:                      `{"ky":1,"z":2}`,
		"[\n  1\n  2\n]":                                     `[1,2]`,
		"'''\nmany\nlines'''":                                `"many\nlines"`,
		"1 == 2\n  ? 'a'\n  : 'b'":                           `"b"`,
		"concat([1], /* between */ [2]) // behind":           `[1,2]`,
	} {
		main, _, findings := expand(t, "output x any = "+expression+"\n", nil)
		if len(findings) > 0 {
			t.Errorf("%s: %v", expression, findings)
			continue
		}
		got := Plain(main.Outputs["x"])
		if s, ok := got.(string); ok && Canonical(s) != want && `"`+s+`"` == strings.ReplaceAll(want, `\"`, `"`) {
			continue // text that is JSON is read by Canonical
		}
		if Canonical(got) != want {
			t.Errorf("%s is %s, want %s", expression, Canonical(got), want)
		}
	}
}

func TestReferencesKeepTheirTextAndTheirType(t *testing.T) {
	t.Parallel()
	main, _, findings := expand(t, `
resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: 'st'
  location: 'x'
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
}
output blob string = storage.properties.primaryEndpoints.blob
output both string = '${storage.id}/${storage.name}'
`, nil)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	if got := Plain(main.Outputs["blob"]); got != "«Microsoft.Storage/storageAccounts/st.properties.primaryEndpoints.blob»" {
		t.Error(got)
	}
	if got := main.Outputs["both"]; got != "«Microsoft.Storage/storageAccounts/st.id»/st" {
		t.Error(got)
	}
}

func TestLoopsConditionsAndNestedResourcesExpand(t *testing.T) {
	t.Parallel()
	_, instances, findings := expand(t, `
param names array
resource storage 'Microsoft.Storage/storageAccounts@2025-01-01' = [
  for (n, i) in names: if (n != 'skip') {
    name: '${n}${i}'
    location: 'x'
    kind: 'StorageV2'
    sku: { name: 'Standard_LRS' }
  }
]
resource one 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: 'one'
  location: 'x'
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  resource blob 'blobServices' = {
    name: 'default'
    resource c 'containers' = {
      name: 'c'
    }
  }
}
`, map[string]Value{"names": []Value{"a", "skip", "b"}})
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	var got []string
	for _, i := range instances {
		got = append(got, i.Type+"/"+i.Name)
	}
	want := "Microsoft.Storage/storageAccounts/a0 Microsoft.Storage/storageAccounts/b2 Microsoft.Storage/storageAccounts/one " +
		"Microsoft.Storage/storageAccounts/blobServices/one/default Microsoft.Storage/storageAccounts/blobServices/containers/one/default/c"
	if strings.Join(got, " ") != want {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

func TestSyntaxErrorsNameTheLine(t *testing.T) {
	t.Parallel()
	for source, line := range map[string]int{
		"var a = [\n  1,,\n]":              2,
		"\n\nvar = 1":                      3,
		"var a = 'open":                    1,
		"var a = {\n  b: 1 c: 2\n}":        2,
		"var a = 1 +\n":                    1,
		"var a = 'x${1'\n":                 1,
		"}\n":                              1,
		"resource x 'a@b' = 1\n":           1,
		"var a = 1 2":                      1,
		"param p {\n  a: string b: int\n}": 2,
	} {
		_, err := Parse("f", source)
		syntax, ok := err.(*SyntaxError) //nolint:errorlint // Parse returns it bare
		if !ok || syntax.Pos.Line != line {
			t.Errorf("%q: %v, want line %d", source, err, line)
		}
	}
}

// FuzzParse: whatever the text, an answer and no panic.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"var a = 1", "param p { *: a } = {}", "output x string = '${a.?b[?0]!::c}'", "'''", "@a()\nresource r 'x@1' = if (a) {}", "import { a } from 'b'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		file, err := Parse("f", source)
		if (file == nil) == (err == nil) {
			t.Errorf("%v with %v", file, err)
		}
	})
}
