package scripttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/jmespath/go-jmespath"
)

// reply is one recorded answer: it fits calls with these words, the flags of With, all marks of When in the state and none of Unless.
type reply struct {
	Words  []string          `json:"words"`
	With   map[string]string `json:"with"`
	When   []string          `json:"when"`
	Unless []string          `json:"unless"`
	Sets   []string          `json:"sets"`   // marks that the call leaves in the state
	Clears []string          `json:"clears"` // marks that it removes
	Camel  bool              `json:"camel"`  // names of outputs come back in camel case: Azure/bicep#9360
	Status int               `json:"status"`
	Error  string            `json:"error"`
	JSON   any               `json:"json"`
}

// fakeAz stands in for az: it writes down how it was called and answers from recorded JSON, through the same queries (JMESPath) and the
// same tab-separated output as az. A call that nothing was recorded for fails, so that no script can call something unexpected and be
// believed.
//
// FAKE_AZ names a folder: replies.json is read, calls.log is written, and so is state, which holds what calls have left behind.
// FAKE_AZ_FAIL is the number of a call, from 1, that goes wrong, and FAKE_AZ_HOW is how: see wrong.
func fakeAz() int {
	status, err := answerCall(os.Getenv("FAKE_AZ"), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake az:", err)
	}
	return status
}

func answerCall(dir string, args []string) (int, error) {
	desk, err := os.OpenRoot(dir)
	if err != nil {
		return 64, fmt.Errorf("open the folder that FAKE_AZ names: %w", err)
	}
	calls, err := note(desk, args)
	if err != nil {
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
	state, _ := desk.ReadFile("state") // there is none before the first mark
	var out bytes.Buffer
	status, err := answer(&out, desk, replies, strings.Fields(string(state)), args)
	if os.Getenv("FAKE_AZ_FAIL") == strconv.Itoa(calls) {
		status = wrong(&out, status, os.Getenv("FAKE_AZ_HOW"))
	}
	if os.Getenv("FAKE_AZ_HOW") == "as on Windows" {
		out = *bytes.NewBufferString(strings.ReplaceAll(out.String(), "\n", "\r\n"))
	}
	fmt.Print(out.String())
	return status, err
}

// wrong makes an answer go wrong in one of the ways of az, and returns the status.
func wrong(out *bytes.Buffer, status int, how string) int {
	text := out.String()
	switch how {
	case "fails after its answer":
		fmt.Fprintln(os.Stderr, "ERROR: (ServiceUnavailable)")
		return 1
	case "fails without a word":
		out.Reset()
		return 1
	case "prints nothing":
		out.Reset()
	case "prints a page":
		out.Reset()
		out.WriteString("<html>\n<body>502 Bad Gateway</body>\n</html>\n")
	case "prints a part":
		out.Truncate(strings.LastIndexByte(strings.TrimSpace(text), '\n') + 1)
	case "warns":
		fmt.Fprintln(os.Stderr, "WARNING: The behavior of this command has been altered by the following extension: spillway")
	}
	return status
}

// answer prints the first reply that fits.
func answer(out io.Writer, desk *os.Root, replies []reply, state, args []string) (int, error) {
	words, flags := split(args)
	azDefaults(flags)
	for _, r := range replies {
		if !r.fits(words, flags, state) {
			continue
		}
		if r.Status != 0 {
			return r.Status, fmt.Errorf("%s", r.Error)
		}
		if err := r.leave(desk, state); err != nil {
			return 64, err
		}
		return 0, r.print(out, flags)
	}
	return 64, fmt.Errorf("nothing is recorded for: az %s", strings.Join(args, " "))
}

// note writes the call down, one line each, and tells how many there are.
func note(desk *os.Root, args []string) (int, error) {
	before, _ := desk.ReadFile("calls.log") // there is none before the first call
	f, err := desk.OpenFile("calls.log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("write down the call: %w", err)
	}
	_, err = fmt.Fprintln(f, "az "+strings.Join(args, " "))
	return strings.Count(string(before), "\n") + 1, errors.Join(err, f.Close())
}

// leave writes the marks that the call leaves behind.
func (r reply) leave(desk *os.Root, state []string) error {
	if len(r.Sets)+len(r.Clears) == 0 {
		return nil
	}
	left := slices.DeleteFunc(append(slices.Clone(state), r.Sets...), func(mark string) bool { return slices.Contains(r.Clears, mark) })
	if err := desk.WriteFile("state", []byte(strings.Join(left, "\n")), 0o600); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return nil
}

// split takes flags with their values apart from the words before them; of a flag's values and of a repeated flag, the last counts.
func split(args []string) (words []string, flags map[string]string) {
	flags = map[string]string{}
	flag := ""
	for _, arg := range args {
		switch {
		case strings.HasPrefix(arg, "--"):
			flag = arg
			flags[flag] = ""
		case flag == "":
			words = append(words, arg)
		default:
			flags[flag] = arg
		}
	}
	return words, flags
}

// azDefaults adds what is az's default by its configuration, which variables override.
func azDefaults(flags map[string]string) {
	for flag, variable := range map[string]string{"--output": "AZURE_CORE_OUTPUT", "--resource-group": "AZURE_DEFAULTS_GROUP"} {
		if v := os.Getenv(variable); flags[flag] == "" && v != "" {
			flags[flag] = v
		}
	}
}

func (r reply) fits(words []string, flags map[string]string, state []string) bool {
	if !slices.Equal(r.Words, words) {
		return false
	}
	for _, mark := range r.When {
		if !slices.Contains(state, mark) {
			return false
		}
	}
	for _, mark := range r.Unless {
		if slices.Contains(state, mark) {
			return false
		}
	}
	for name, v := range r.With {
		if flags[name] != v {
			return false
		}
	}
	return true
}

func (r reply) print(out io.Writer, flags map[string]string) error {
	v := r.JSON
	if r.Camel {
		v = camelOutputs(v)
	}
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
	case flags["--output"] == "table":
		_, _ = fmt.Fprintf(out, "Result\n--------\n%s", tsv(v)) // to a buffer
		return nil
	case flags["--output"] == "tsv":
		_, _ = fmt.Fprint(out, tsv(v)) // to a buffer
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, _ = fmt.Fprintln(out, string(b)) // to a buffer
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
	case bool:
		return map[bool]string{true: "True", false: "False"}[v] // az is Python
	case float64:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	case []any:
		return fmt.Sprint(len(v))
	case map[string]any:
		return ""
	}
	return fmt.Sprint(v)
}

// camelOutputs renames the outputs of a deployment as the service does at times: AZURE_LOCATION is azurE_LOCATION.
func camelOutputs(v any) any {
	deployment, _ := v.(map[string]any)
	properties, _ := deployment["properties"].(map[string]any)
	outputs, _ := properties["outputs"].(map[string]any)
	renamed := map[string]any{}
	for name, output := range outputs {
		renamed[camel(name)] = output
	}
	return map[string]any{"properties": map[string]any{"provisioningState": properties["provisioningState"], "outputs": renamed}}
}

// camel makes the first run of capitals small, but for the last one before something else.
func camel(name string) string {
	letters := []rune(name)
	for i, c := range letters {
		if !unicode.IsUpper(c) || i > 0 && i+1 < len(letters) && !unicode.IsUpper(letters[i+1]) {
			break
		}
		letters[i] = unicode.ToLower(c)
	}
	return string(letters)
}
