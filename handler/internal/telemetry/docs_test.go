package telemetry

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// section is what stands below a heading of a page, by its anchor.
func section(t *testing.T, page, anchor string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	found, level := "", 0
	for line := range strings.Lines(string(text)) {
		marks := len(line) - len(strings.TrimLeft(line, "#"))
		if marks > 0 && level > 0 && marks <= level {
			return found
		}
		slug := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#"))), " ", "-")
		if marks > 0 && slug == anchor {
			level = marks
		}
		if level > 0 {
			found += line
		}
	}
	return found
}

var quoted = regexp.MustCompile("`([^`]+)`")

// documentedFields is what docs/observability.md says that lines have, by message.
func documentedFields(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{"request": {}}
	other := false
	for line := range strings.Lines(section(t, "observability.md", "log-lines")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if strings.HasPrefix(line, "| `msg` |") {
			other = true
		}
		if len(cells) < 3 || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| field") || strings.HasPrefix(line, "| `msg` |") {
			continue
		}
		names := quoted.FindAllStringSubmatch(cells[0], -1)
		if other {
			fields := map[string]bool{"time": true, "level": true, "msg": true, "instance": true}
			for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
				fields[m[1]] = true
			}
			if strings.HasPrefix(names[0][1], "log lines dropped") {
				delete(fields, "instance")
			}
			all[names[0][1]] = fields
			continue
		}
		for _, m := range names {
			all["request"][strings.TrimSuffix(m[1], "[]")] = true
			if strings.HasSuffix(m[1], "[]") {
				for _, inner := range quoted.FindAllStringSubmatch(cells[1], -1) {
					all["request"][m[1]+"."+inner[1]] = true
				}
			}
		}
	}
	return all
}

// sloggedFields is what the program's other packages log, by message, read from
// their sources.
func sloggedFields(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(source, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !regexp.MustCompile(`^(Debug|Info|Warn|Error)(Context)?$|^LogAttrs$`).MatchString(name.Sel.Name) {
				return true
			}
			if receiver := lastName(name.X); !strings.EqualFold(receiver, "log") {
				return true
			}
			if message, fields := slogged(call); message != "" && len(fields)+1 == len(logTexts(call)) {
				all[message] = map[string]bool{"time": true, "level": true, "msg": true, "instance": true}
				for _, f := range fields {
					all[message][f] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// lastName is the name of an expression's last part: log of e.log.
func lastName(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

// logTexts are the literal texts that are arguments of a call: the message and the
// names of its fields.
func logTexts(call *ast.CallExpr) (texts []string) {
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				texts = append(texts, text)
			}
		}
	}
	for _, a := range call.Args {
		add(a)
		if inner, ok := a.(*ast.CallExpr); ok && len(inner.Args) == 2 { // slog.String("name", …)
			if fun, ok := inner.Fun.(*ast.SelectorExpr); ok && fun.X.(*ast.Ident).Name == "slog" {
				add(inner.Args[0])
			}
		}
	}
	return texts
}

func slogged(call *ast.CallExpr) (message string, fields []string) {
	texts := logTexts(call)
	if len(texts) == 0 {
		return "", nil
	}
	return texts[0], texts[1:]
}

// Every field of every line is in the page, and the page has no other.
func TestEveryFieldIsDocumented(t *testing.T) {
	documented, emitted := documentedFields(t), emittedFields(t)
	emitted["request"]["shortened"] = true // TestLongLinesAreShortened
	for message, fields := range emitted {
		if documented[message] == nil {
			t.Errorf("lines %q are not documented", message)
			continue
		}
		for field := range fields {
			if !documented[message][field] {
				t.Errorf("%s: %s is not documented", message, field)
			}
		}
	}
	for message, fields := range documented {
		for field := range fields {
			if !emitted[message][field] {
				t.Errorf("%s: %s is documented, and never written", message, field)
			}
		}
	}
}

// Every alert names its runbook, which has cause, check and cure.
func TestEveryAlertHasARunbook(t *testing.T) {
	index := section(t, "operations.md", "alerts")
	for _, r := range alertRules(t) {
		m := regexp.MustCompile(`Runbook: docs/operations\.md#([a-z0-9-]+)\.\n`).FindStringSubmatch(r.query)
		if m == nil {
			t.Errorf("%s names no runbook", r.name)
			continue
		}
		text := strings.ToLower(section(t, "operations.md", m[1]))
		for _, part := range []string{"cause", "check", "cure"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: the runbook %s has no %s", r.name, m[1], part)
			}
		}
		if !strings.Contains(index, "| `"+r.name+"` | [") || !strings.Contains(index, "(#"+m[1]+")") {
			t.Errorf("%s is not in the table of alerts", r.name)
		}
	}
}
