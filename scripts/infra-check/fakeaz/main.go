// Command fakeaz stands in for az: it writes down how it was called and answers from recorded JSON, through the same queries
// (JMESPath) and the same tab-separated output as az. A call that nothing was recorded for fails, so that no script can call
// something unexpected and be believed.
//
// FAKE_AZ names a folder: replies.json is read, calls.log is written.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jmespath/go-jmespath"
)

// reply is one recorded answer: it fits calls that begin with Words and have the flags of With.
type reply struct {
	Words  []string          `json:"words"`
	With   map[string]string `json:"with"`
	Status int               `json:"status"`
	Error  string            `json:"error"`
	JSON   any               `json:"json"`
}

func main() {
	status, err := run(os.Getenv("FAKE_AZ"), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake az:", err)
	}
	os.Exit(status)
}

func run(dir string, args []string) (int, error) {
	desk, err := os.OpenRoot(dir)
	if err != nil {
		return 64, fmt.Errorf("open the folder that FAKE_AZ names: %w", err)
	}
	if err := note(desk, args); err != nil {
		return 64, err
	}
	b, err := desk.ReadFile("replies.json")
	if err != nil {
		return 64, fmt.Errorf("read replies: %w", err)
	}
	var replies []reply
	if err := json.Unmarshal(b, &replies); err != nil {
		return 64, fmt.Errorf("read replies: %w", err)
	}
	words, flags := split(args)
	for _, r := range replies {
		if !r.fits(words, flags) {
			continue
		}
		if r.Status != 0 {
			return r.Status, fmt.Errorf("%s", r.Error)
		}
		return 0, r.print(flags)
	}
	return 64, fmt.Errorf("nothing is recorded for: az %s", strings.Join(args, " "))
}

// note writes the call down, one line each.
func note(desk *os.Root, args []string) error {
	f, err := desk.OpenFile("calls.log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write down the call: %w", err)
	}
	_, err = fmt.Fprintln(f, "az "+strings.Join(args, " "))
	return errors.Join(err, f.Close())
}

// split takes flags with their values apart from the words before them.
func split(args []string) (words []string, flags map[string]string) {
	flags = map[string]string{}
	for i := 0; i < len(args); i++ {
		name, isFlag := args[i], strings.HasPrefix(args[i], "--")
		switch {
		case !isFlag:
			words = append(words, name)
		case i+1 < len(args) && !strings.HasPrefix(args[i+1], "--"):
			flags[name] = args[i+1]
			i++
		default:
			flags[name] = ""
		}
	}
	return words, flags
}

func (r reply) fits(words []string, flags map[string]string) bool {
	if !slices.Equal(r.Words, words) {
		return false
	}
	for name, v := range r.With {
		if flags[name] != v {
			return false
		}
	}
	return true
}

func (r reply) print(flags map[string]string) error {
	v := r.JSON
	if query, ok := flags["--query"]; ok {
		found, err := jmespath.Search(query, v)
		if err != nil {
			return fmt.Errorf("query %s: %w", query, err)
		}
		v = found
	}
	switch {
	case v == nil || flags["--output"] == "none":
		return nil
	case flags["--output"] == "tsv":
		fmt.Print(tsv(v))
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	fmt.Println(string(b))
	return nil
}

// tsv prints as az does: one line for each item, tabs inside an item, None for null.
func tsv(v any) string {
	rows, isList := v.([]any)
	if !isList {
		rows = []any{v}
	}
	var b strings.Builder
	for _, row := range rows {
		cells, ok := row.([]any)
		if !ok {
			cells = []any{row}
		}
		for i, c := range cells {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(cell(c))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case float64:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	case []any:
		return fmt.Sprint(len(v))
	case map[string]any:
		return ""
	}
	return fmt.Sprint(v)
}
