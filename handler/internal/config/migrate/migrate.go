// Package migrate turns the configuration of another gateway into a pool
// document. What cannot be carried over is listed with the reason, what works
// differently is listed too, and no key is ever copied: keys move to app
// settings.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

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

	options  Options
	source   string                 // the text, in capitals
	keys     map[string]string      // the setting of each key that is in the file
	settings map[string]bool        // names of settings that were made up
	asked    map[string]string      // sentences that ask for an endpoint, with the placeholder that they are about
	about    map[string]func() bool // sentences about how backends are called: whether one is called so
}

// Options is what a source does not hold itself. The zero value is none of it.
type Options struct {
	// Endpoints are the endpoints of backends whose source does not tell them, by
	// the name of the backend in the document.
	Endpoints map[string]string
	// Getenv returns a variable to which the source refers for an address or a
	// model's name, "" when it is not set. Keys are never looked up.
	Getenv func(name string) string
	// Parameters is the JSON file with the parameters of a Bicep file, "" for none.
	Parameters string
}

// ErrUnknown is a source that there is no importer for.
var ErrUnknown = errors.New("unknown source")

// ErrNothing is a source without a single backend in it.
var ErrNothing = errors.New("no backends found")

// importers are the readers of the sources, by name.
var importers = []struct {
	source string
	read   func(r *Result, text []byte) error
}{
	{"openai-apim-lb", fromPolicy},
	{"apim-pool", fromAPIMPool},
	{"aca-lb", fromNumbers},
	{"litellm", fromLiteLLM},
	{"powerproxy", fromPowerProxy},
	{"bifrost", fromBifrost},
	{"portkey", fromPortkey},
	{"list", fromList},
}

// Sources are the names of the importers.
func Sources() []string {
	var names []string
	for _, i := range importers {
		names = append(names, i.source)
	}
	return names
}

// Import reads the text of a source. On error there is no result.
func Import(source string, text []byte, o Options) (*Result, error) {
	for _, i := range importers {
		if i.source != source {
			continue
		}
		r := &Result{
			Document: document.New(), options: o, source: strings.ToUpper(string(text)),
			keys: map[string]string{}, settings: map[string]bool{}, asked: map[string]string{}, about: map[string]func() bool{},
		}
		if err := r.read(i.read, text); err != nil {
			return nil, fmt.Errorf("import %s: %w", source, err)
		}
		return r, nil
	}
	return nil, fmt.Errorf("import %q: %w. %s", source, ErrUnknown, jsondoc.DidYouMean(source, Sources()))
}

func (r *Result) read(importer func(r *Result, text []byte) error, text []byte) error {
	if err := importer(r, text); err != nil {
		return err
	}
	r.uniqueNames()
	r.places()
	r.deploymentsOnce()
	r.settle()
	if len(r.Document.Backends) == 0 {
		return r.nothing()
	}
	return r.endpoints()
}

// settle leaves out what was said about how backends are called where none is called
// so: only when all places have been looked at is it known which are left.
func (r *Result) settle() {
	for _, lines := range []*[]string{&r.Set, &r.Changed} {
		*lines = slices.DeleteFunc(*lines, func(line string) bool { return r.about[line] != nil && !r.about[line]() })
	}
}

// nothing is the error of a source without a backend. What was left out on the
// way says why.
func (r *Result) nothing() error {
	if len(r.Lost) == 0 {
		return fmt.Errorf("%w: is this the right file?", ErrNothing)
	}
	return fmt.Errorf("%w that Spillway can send to. Not carried over:\n  %s", ErrNothing, strings.Join(r.Lost, "\n  "))
}

// endpoints puts in the endpoints that were given by name, in the sentences too.
func (r *Result) endpoints() error {
	given := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.options.Endpoints)) {
		i := slices.IndexFunc(r.Document.Backends, func(b document.Backend) bool { return b.Name == name })
		if i < 0 {
			return fmt.Errorf("endpoint of %q: %w of that name. There are: %s", name, ErrNothing, strings.Join(r.backendNames(), ", "))
		}
		given[r.Document.Backends[i].Endpoint] = r.options.Endpoints[name]
		r.Document.Backends[i].Endpoint = r.options.Endpoints[name]
	}
	for unknown, known := range given {
		if !slices.ContainsFunc(r.Document.Backends, func(b document.Backend) bool { return b.Endpoint == unknown }) {
			r.answered(unknown, known)
		}
	}
	return nil
}

// answered removes what asked for an endpoint, and names it in place of its
// placeholder.
func (r *Result) answered(unknown, known string) {
	r.Changed = slices.DeleteFunc(r.Changed, func(line string) bool { return r.asked[line] == unknown })
	for _, lines := range [][]string{r.Set, r.Changed, r.Lost} {
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], unknown, known)
		}
	}
}

func (r *Result) backendNames() []string {
	var names []string
	for i := range r.Document.Backends {
		names = append(names, r.Document.Backends[i].Name)
	}
	return names
}

// getenv is a variable that the source refers to, "" when it is not known.
func (r *Result) getenv(name string) string {
	if r.options.Getenv == nil {
		return ""
	}
	return strings.TrimSpace(r.options.Getenv(name))
}

// Run is `spillway import SOURCE FILE`: the document goes to stdout, what has
// to be known to stderr. The file "-" is stdin.
func Run(ctx context.Context, source, file string, o Options, stdout, stderr io.Writer) error {
	text, err := readFile(ctx, source, file, o.Parameters)
	if err != nil {
		return fmt.Errorf("read %q: %w", file, err)
	}
	r, err := Import(source, text, o)
	if err != nil {
		return err
	}
	if _, err := stdout.Write(r.Document.Print()); err != nil {
		return fmt.Errorf("print document: %w", err)
	}
	return r.Report(stderr)
}

// readFile is the text of a file; Bicep is compiled, but for parameters that hold the
// settings of openai-aca-lb themselves.
func readFile(ctx context.Context, source, file, parameters string) ([]byte, error) {
	isParameters := strings.HasSuffix(file, ".bicepparam")
	if file == "-" {
		return io.ReadAll(os.Stdin)
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own path
	switch {
	case err != nil || !isParameters && !strings.HasSuffix(file, ".bicep"):
		return text, err
	case isParameters && source == "aca-lb" && numberedParameter().Match(text):
		return text, nil
	}
	return compiled(ctx, file, parameters)
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

// ask is something that is different until an endpoint is known, which has this
// placeholder so far.
func (r *Result) ask(placeholder, format string, args ...any) {
	r.changed(format, args...)
	r.asked[fmt.Sprintf(format, args...)] = placeholder
}

// changedWhile is something that is different if this holds in the end.
func (r *Result) changedWhile(holds func() bool, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	r.changed("%s", line)
	r.about[line] = holds
}

// byIdentity is something that is different because the app's own identity calls an
// endpoint, "" for one that is not known yet.
func (r *Result) byIdentity(endpoint, format string, args ...any) {
	r.changedWhile(func() bool {
		return endpoint == "" || slices.ContainsFunc(r.Document.Backends, func(b document.Backend) bool {
			return b.Endpoint == endpoint && b.Auth.Mode == "managed-identity"
		})
	}, format, args...)
}

// keyIn is an app setting that has to be made for a key.
func (r *Result) keyIn(setting, format string, args ...any) {
	line := setting + ": " + fmt.Sprintf(format, args...)
	r.set("%s", line)
	r.about[line] = r.usesKey(setting)
}

// usesKey tells whether a backend or a consumer is left that has its key in a setting.
func (r *Result) usesKey(setting string) func() bool {
	return func() bool {
		return slices.ContainsFunc(r.Document.Backends, func(b document.Backend) bool { return b.Auth.Setting == setting }) ||
			slices.ContainsFunc(r.Document.Consumers, func(c document.Consumer) bool { return c.KeySetting == setting })
	}
}

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

// lazily compiles an expression at its first use: a server imports nothing, and
// is not to hold what it does not use.
func lazily(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

var (
	notInName         = lazily(`[^A-Za-z0-9._-]+`)
	notInSetting      = lazily(`[^A-Za-z0-9]+`)
	notInModel        = lazily(`[^A-Za-z0-9._-]`)
	modelName         = lazily(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	numberedParameter = lazily(`(?im)^\s*param\s+backend_[^_\s]+_url\s*=`)
	identifier        = lazily(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// plainName makes a name that a pool document allows: "Some Endpoint" becomes
// some-endpoint.
func plainName(text string) string {
	name := strings.Trim(notInName().ReplaceAllString(strings.ToLower(text), "-"), "-._")
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
	name := strings.Trim(notInSetting().ReplaceAllString(strings.ToUpper(strings.Join(parts, "_")), "_"), "_")
	if !identifier().MatchString(name) {
		return "KEY_" + name
	}
	return name
}
