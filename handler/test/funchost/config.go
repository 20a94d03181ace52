package funchost

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Options is how a host is set up. Root is required; every other field's zero
// value is what the host does by default.
type Options struct {
	// Root is the staged folder: the one that holds host.json.
	Root string

	// Env are the app settings, as NAME=value. They come on top of this
	// process's own environment, as in the host.
	Env []string

	// Port is where the host listens on 127.0.0.1; 0 takes a free one.
	Port int

	// HandlerPort overrides customHandler.port of host.json; 0 leaves it, and
	// without either each start of the handler gets a free port.
	HandlerPort int

	// Forward ignores enableProxyingHttpRequest, so that the handler is called
	// as under a host that only forwards: buffered, blind to disconnects (D 45).
	Forward bool

	// Auth enforces authLevel. Off, as under `func start`, every function is
	// open. FunctionKeys open functions of level function, MasterKey all.
	Auth         bool
	FunctionKeys []string
	MasterKey    string

	// IdleTimeout is how long a call may make no progress; 0 is 240 s (D 28).
	IdleTimeout time.Duration

	// ReadyTimeout is how long the handler may take to answer its first ping;
	// 0 is initializationTimeout of host.json, or 30 s (D 4).
	ReadyTimeout time.Duration

	// FunctionTimeout bounds one call, and costs the whole process when it is
	// exceeded (D 43); 0 is functionTimeout of host.json, or 30 min; negative
	// is unbounded.
	FunctionTimeout time.Duration

	// MaxBody is the largest request body in bytes; 0 is the setting
	// FUNCTIONS_REQUEST_BODY_SIZE_LIMIT, or 100 MiB (D 21).
	MaxBody int64

	// HideDisconnects is a front end that does not tell the host that a caller
	// has left: the handler goes on to the end (D 30).
	HideDisconnects bool

	// RestartWindow is how long a failure of the handler is remembered: the
	// third one within it stops the host; 0 is 30 min (D 40).
	RestartWindow time.Duration

	// OnLine and OnEvent, when set, are told of each line the handler prints
	// and of each event as it happens. They must not block.
	OnLine  func(Line)
	OnEvent func(Event)
}

// What the host does unless told otherwise: facts/azure-functions-host.md §1.6, §2.2, §2.3.
const (
	defaultIdleTimeout     = 240 * time.Second
	defaultReadyTimeout    = 30 * time.Second
	defaultFunctionTimeout = 30 * time.Minute
	defaultRestartWindow   = 30 * time.Minute
	defaultMaxBody         = 100 << 20
)

// withDefaults fills what the caller left open from host.json, the app
// settings and the host's own defaults, in that order.
func (o Options) withDefaults(file hostFile) Options {
	limit, _ := strconv.ParseInt(o.setting("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"), 10, 64)
	o.MaxBody = cmp.Or(o.MaxBody, limit, defaultMaxBody)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, defaultIdleTimeout)
	o.ReadyTimeout = cmp.Or(o.ReadyTimeout, time.Duration(file.CustomHandler.InitializationTimeout), defaultReadyTimeout)
	o.FunctionTimeout = cmp.Or(o.FunctionTimeout, time.Duration(file.FunctionTimeout), defaultFunctionTimeout)
	o.RestartWindow = cmp.Or(o.RestartWindow, defaultRestartWindow)
	o.HandlerPort = cmp.Or(o.HandlerPort, file.CustomHandler.Port)
	return o
}

// setting is an app setting, or "" when there is none.
func (o Options) setting(name string) string {
	value := os.Getenv(name)
	for _, pair := range o.Env {
		if key, set, _ := strings.Cut(pair, "="); key == name {
			value = set
		}
	}
	return value
}

// hostFile is what the double reads of host.json.
type hostFile struct {
	FunctionTimeout timeSpan `json:"functionTimeout"`
	Extensions      struct {
		HTTP struct {
			RoutePrefix *string `json:"routePrefix"`
		} `json:"http"`
	} `json:"extensions"`
	CustomHandler *customHandler `json:"customHandler"`
}

type customHandler struct {
	Description           *description `json:"description"`
	Forwarding            bool         `json:"enableForwardingHttpRequest"`
	Proxying              bool         `json:"enableProxyingHttpRequest"`
	InitializationTimeout timeSpan     `json:"initializationTimeout"`
	Port                  int          `json:"port"`
}

type description struct {
	Executable       string   `json:"defaultExecutablePath"`
	WorkingDirectory string   `json:"workingDirectory"`
	WorkerDirectory  string   `json:"workerDirectory"`
	Arguments        []string `json:"arguments"`
	ErrorsOnly       *bool    `json:"useStdErrorStreamForErrorsOnly"`
}

// errorsOnly tells whether every line on stderr is an error; true when unset.
func (d description) errorsOnly() bool { return d.ErrorsOnly == nil || *d.ErrorsOnly }

// routePrefix is what stands before every route; "api" when unset (D 11).
func (f hostFile) routePrefix() string {
	if f.Extensions.HTTP.RoutePrefix == nil {
		return "api"
	}
	return strings.Trim(*f.Extensions.HTTP.RoutePrefix, "/")
}

// readHostFile reads host.json of a staged folder and refuses one that no host
// would start a handler from (D 2), or only by its JSON envelope (D 14).
func readHostFile(root string) (hostFile, error) {
	var file hostFile
	content, err := os.ReadFile(filepath.Join(root, "host.json"))
	if err != nil {
		return file, fmt.Errorf("read host.json: %w; stage the app first", err)
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return file, fmt.Errorf("read host.json: %w", err)
	}
	handler := file.CustomHandler
	switch {
	case handler == nil:
		return file, errors.New("host.json has no customHandler: name the program in customHandler.description.defaultExecutablePath")
	case handler.Description == nil:
		return file, errors.New("host.json: Missing worker Description: give customHandler.description")
	case handler.Description.Executable == "":
		return file, errors.New("host.json: customHandler.description.defaultExecutablePath is empty: name the program")
	case !handler.Proxying && !handler.Forwarding:
		return file, errors.New("host.json: without customHandler.enableProxyingHttpRequest the host sends a JSON envelope, which cannot stream: set it to true")
	}
	return file, nil
}

// timeSpan is a .NET TimeSpan in JSON: "[d.]hh:mm:ss", or "-1" for unbounded.
type timeSpan time.Duration

// UnmarshalJSON reads a span; an empty string leaves it zero.
func (s *timeSpan) UnmarshalJSON(text []byte) error {
	var word string
	if err := json.Unmarshal(text, &word); err != nil {
		return err
	}
	if word == "" {
		return nil
	}
	parsed, err := parseTimeSpan(word)
	*s = timeSpan(parsed)
	return err
}

func parseTimeSpan(word string) (time.Duration, error) {
	if word == "-1" {
		return -1, nil
	}
	var days int
	clock := word
	if day, rest, found := strings.Cut(word, "."); found && strings.Contains(rest, ":") {
		number, err := strconv.Atoi(day)
		if err != nil {
			return 0, fmt.Errorf("time span %q is not [d.]hh:mm:ss", word)
		}
		days, clock = number, rest
	}
	parts := strings.Split(clock, ":")
	if len(parts) != 3 {
		return 0, fmt.Errorf("time span %q is not [d.]hh:mm:ss", word)
	}
	length, err := time.ParseDuration(parts[0] + "h" + parts[1] + "m" + parts[2] + "s")
	if err != nil {
		return 0, fmt.Errorf("time span %q is not [d.]hh:mm:ss", word)
	}
	return time.Duration(days)*24*time.Hour + length, nil
}
