// Package importer turns the configuration of what people ran before into a
// pool document. Whatever cannot be carried over is listed, never dropped
// silently, and no key is ever copied: keys move to app settings.
package migrate

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// Result is a pool document with what its owner has to know. The sentences
// are in the order in which their causes stand in the source.
type Result struct {
	Document *document.Document
	Set      []string // app settings that must be made: "AOAI_KEY_1: the key of https://..."
	Changed  []string // carried over, but it works differently now
	Lost     []string // not carried over
}

// ErrUnknown is a source that there is no importer for.
var ErrUnknown = errors.New("unknown source")

// ErrNothing is a source without a single backend in it.
var ErrNothing = errors.New("no backends found")

// Sources are the names of the importers.
func Sources() []string {
	return []string{"openai-apim-lb", "apim-pool", "aca-lb", "litellm", "powerproxy"}
}

// Import reads the text of a source. On error there is no result.
func Import(source string, text []byte) (*Result, error) {
	read := map[string]func(r *Result, text []byte) error{
		"openai-apim-lb": fromPolicy, "apim-pool": fromAPIMPool, "aca-lb": fromNumbers,
		"litellm": fromLiteLLM, "powerproxy": fromPowerProxy,
	}[source]
	if read == nil {
		return nil, fmt.Errorf("import %q: %w. %s", source, ErrUnknown, jsondoc.DidYouMean(source, Sources()))
	}
	r := &Result{Document: document.New()}
	if err := read(r, text); err != nil {
		return nil, fmt.Errorf("import %s: %w", source, err)
	}
	if len(r.Document.Backends) == 0 {
		return nil, fmt.Errorf("import %s: %w: is this the right file?", source, ErrNothing)
	}
	r.uniqueNames()
	return r, nil
}

// Run is `spillway import SOURCE FILE`: the document goes to stdout, what has
// to be known to stderr. The file "-" is stdin.
func Run(source, file string, stdout, stderr io.Writer) error {
	text, err := readFile(file)
	if err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}
	r, err := Import(source, text)
	if err != nil {
		return err
	}
	if _, err := stdout.Write(r.Document.Print()); err != nil {
		return fmt.Errorf("print document: %w", err)
	}
	return r.Report(stderr)
}

func readFile(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(file) //nolint:gosec // the operator's own path
}

// Report prints what the owner of the document has to know, and what is still
// wrong with it.
func (r *Result) Report(w io.Writer) error {
	_, faults := document.Parse("", r.Document.Print())
	var wrong []string
	if faults != nil {
		wrong = strings.Split(faults.Error(), "\n")
	}
	for _, part := range []struct {
		title string
		lines []string
	}{
		{"Make these app settings:", r.Set},
		{"Works differently now:", r.Changed},
		{"Not carried over:", r.Lost},
		{"Still to be corrected in the document:", wrong},
	} {
		if len(part.lines) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\n  %s\n", part.title, strings.Join(part.lines, "\n  ")); err != nil {
			return fmt.Errorf("print notes: %w", err)
		}
	}
	return nil
}

func (r *Result) set(format string, args ...any) { add(&r.Set, format, args...) }

func (r *Result) changed(format string, args ...any) { add(&r.Changed, format, args...) }

func (r *Result) notCarried(format string, args ...any) { add(&r.Lost, format, args...) }

// add appends a sentence, each only once.
func add(to *[]string, format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(*to, text) {
		*to = append(*to, text)
	}
}

// backend is a new backend with everything at its default.
func backend(name, endpoint string) document.Backend {
	var b document.Backend
	jsondoc.SetDefaults(&b)
	b.Name, b.Endpoint = name, endpoint
	return b
}

// consumer is a new consumer with everything at its default.
func consumer(name string) document.Consumer {
	var c document.Consumer
	jsondoc.SetDefaults(&c)
	c.Name = name
	return c
}

var (
	notInName    = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
	notInSetting = regexp.MustCompile(`[^A-Za-z0-9]+`)
	notInModel   = regexp.MustCompile(`[^A-Za-z0-9._-]`)
	modelName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	identifier   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// plainName makes a name that a pool document allows: "Some Endpoint" becomes
// some-endpoint.
func plainName(text string) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(text), "-"), "-._")
	if len(name) > 60 {
		name = name[:60]
	}
	if name == "" {
		return "unnamed"
	}
	return name
}

// hostName is a name for what is at the endpoint: the first label of its host.
func hostName(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" {
		return plainName(endpoint)
	}
	label, rest, _ := strings.Cut(u.Hostname(), ".")
	if label == "api" {
		label, _, _ = strings.Cut(rest, ".")
	}
	if _, err := strconv.Atoi(label); err == nil {
		label = u.Host
	}
	return plainName(label)
}

// settingName makes the name of an app setting.
func settingName(parts ...string) string {
	name := strings.Trim(notInSetting.ReplaceAllString(strings.ToUpper(strings.Join(parts, "_")), "_"), "_")
	if !identifier.MatchString(name) {
		return "KEY_" + name
	}
	return name
}

// base is an Azure OpenAI endpoint without what others put behind it.
func base(endpoint string) string {
	endpoint = strings.TrimRight(strings.TrimSpace(endpoint), "/")
	for _, end := range []string{"/openai/v1", "/openai"} {
		endpoint = strings.TrimSuffix(endpoint, end)
	}
	return strings.TrimRight(endpoint, "/")
}

// placeholder is an endpoint that validation refuses, because nobody said what
// the real one is.
func placeholder(name string) string {
	label := strings.NewReplacer(".", "-", "_", "-").Replace(plainName(name))
	return "https://" + strings.Trim(label, "-") + ".invalid"
}

// uniqueNames numbers backends and consumers that would have the same name.
func (r *Result) uniqueNames() {
	taken := map[string]bool{}
	for i := range r.Document.Backends {
		r.Document.Backends[i].Name = unique(r.Document.Backends[i].Name, taken)
	}
	taken = map[string]bool{}
	for i := range r.Document.Consumers {
		r.Document.Consumers[i].Name = unique(r.Document.Consumers[i].Name, taken)
	}
}

func unique(name string, taken map[string]bool) string {
	free := name
	for n := 2; taken[strings.ToLower(free)]; n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	taken[strings.ToLower(free)] = true
	return free
}

// model makes a name that callers can use, and reports when that is another one.
func (r *Result) model(name string) string {
	if modelName.MatchString(name) {
		return name
	}
	plain := strings.TrimLeft(notInModel.ReplaceAllString(name, "-"), ".-_")
	if len(plain) > 64 {
		plain = plain[:64]
	}
	if plain == "" {
		plain = "unnamed"
	}
	r.changed("the model %q is called %q now: names hold letters, digits, '.', '_' and '-' only", name, plain)
	return plain
}
