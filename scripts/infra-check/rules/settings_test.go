package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The list of settings is the program's own: every field of what it reads from its environment, as envconfig names it.
func TestKnownSettingsAreThoseThatTheProgramReads(t *testing.T) {
	program := settingsOf(t, "../../../handler/internal/config/environment.go")
	known := KnownSettings()
	for _, name := range program {
		// Where to listen is the platform's matter.
		if name != "SPILLWAY_LISTEN" && !slices.Contains(known, name) {
			t.Errorf("the program reads %s, and an app that has it would be refused", name)
		}
	}
	for _, name := range known {
		if connection, _, parts := strings.Cut(name, "__"); parts {
			name = connection
		}
		if !slices.Contains(program, name) {
			t.Errorf("the program does not read %s", name)
		}
	}
}

var hump = regexp.MustCompile(`([a-z])([A-Z])`)

// settingsOf reads the fields of the type written.
func settingsOf(t *testing.T, file string) []string {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "written" {
			return true
		}
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			t.Fatalf("%s: written is no struct", file)
		}
		for _, f := range fields.Fields.List {
			names = append(names, settingOf(f))
		}
		return false
	})
	if len(names) < 20 {
		t.Fatalf("only %d settings found in %s", len(names), file)
	}
	return names
}

func settingOf(f *ast.Field) string {
	name := f.Names[0].Name
	if f.Tag != nil {
		text, _ := strconv.Unquote(f.Tag.Value)
		if reflect.StructTag(text).Get("split_words") == "true" {
			name = hump.ReplaceAllString(name, "${1}_$2")
		}
	}
	return "SPILLWAY_" + strings.ToUpper(name)
}
