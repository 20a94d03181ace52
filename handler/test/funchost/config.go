package funchost

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Options configures a host. Root is required; the zero value of every other
// field is the host's default.
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

	// Forward ignores enableProxyingHttpRequest: the host only forwards, which
	// buffers responses and hides disconnects.
	Forward bool

	// Auth enforces authLevel. Off, as under `func start`, every function is
	// open. FunctionKeys open functions of level function, MasterKey all.
	Auth         bool
	FunctionKeys []string
	MasterKey    string

	// IdleTimeout is how long a call may make no progress; 0 is 240 s.
	IdleTimeout time.Duration

	// ReadyTimeout is how long the handler may take to answer its first ping;
	// 0 is initializationTimeout of host.json, or 30 s.
	ReadyTimeout time.Duration

	// FunctionTimeout bounds one call, and ends the whole process when it is
	// exceeded; 0 is functionTimeout of host.json, or 30 min; negative
	// is unbounded. TimeoutGrace is the time between the timeout and the end of
	// the process; 0 is 2 s.
	FunctionTimeout time.Duration
	TimeoutGrace    time.Duration

	// MaxBody is the largest request body in bytes; 0 is the setting
	// FUNCTIONS_REQUEST_BODY_SIZE_LIMIT, or 100 MiB.
	MaxBody int64

	// HideDisconnects imitates a front end that does not report a client's
	// disconnect to the host: the handler runs to its end.
	HideDisconnects bool

	// RestartWindow is how long a failure of the handler is remembered: the
	// third one within it stops the host; 0 is 30 min.
	RestartWindow time.Duration

	// OnLine and OnEvent, when set, are called with each line that the handler
	// prints and with each event as it happens. They must not block.
	OnLine  func(Line)
	OnEvent func(Event)

	// sleep waits between attempts and for TimeoutGrace; nil is a real wait.
	sleep func(context.Context, time.Duration) error

	// lossWindow is how close before the handler's abort data is lost; 0 is 5 ms.
	lossWindow time.Duration
}

// The host's defaults: docs/functions-host.md#body-and-time-limits,
// #start-and-readiness and #crashes.
const (
	defaultIdleTimeout     = 240 * time.Second
	defaultReadyTimeout    = 30 * time.Second
	defaultFunctionTimeout = 30 * time.Minute
	defaultTimeoutGrace    = 2 * time.Second
	defaultRestartWindow   = 30 * time.Minute
	defaultMaxBody         = 100 << 20
)

// defaultLossWindow is how close before the handler's abort data is still lost.
// The real host loses it about half of the time, the double always
// (docs/functions-host.md#what-the-test-double-does).
const defaultLossWindow = 5 * time.Millisecond

// withDefaults fills zero fields from host.json, the app settings and the host's
// defaults.
func (o Options) withDefaults(file hostFile) Options {
	limit, _ := strconv.ParseInt(o.setting("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"), 10, 64)
	o.MaxBody = cmp.Or(o.MaxBody, limit, defaultMaxBody)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, defaultIdleTimeout)
	o.ReadyTimeout = cmp.Or(o.ReadyTimeout, time.Duration(file.CustomHandler.InitializationTimeout), defaultReadyTimeout)
	o.FunctionTimeout = cmp.Or(o.FunctionTimeout, time.Duration(file.FunctionTimeout), defaultFunctionTimeout)
	o.TimeoutGrace = cmp.Or(o.TimeoutGrace, defaultTimeoutGrace)
	o.RestartWindow = cmp.Or(o.RestartWindow, defaultRestartWindow)
	o.HandlerPort = cmp.Or(o.HandlerPort, file.CustomHandler.Port)
	o.lossWindow = cmp.Or(o.lossWindow, defaultLossWindow)
	if o.sleep == nil {
		o.sleep = sleep
	}
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

// hostFile is the part of host.json that the double uses.
type hostFile struct {
	FunctionTimeout timeSpan `json:"functionTimeout"`
	Extensions      struct {
		HTTP struct {
			RoutePrefix *string `json:"routePrefix"`
		} `json:"http"`
	} `json:"extensions"`
	CustomHandler *customHandler `json:"customHandler"`
	Logging       struct {
		ApplicationInsights struct {
			HTTP struct {
				W3CTracing *bool `json:"enableW3CDistributedTracing"`
			} `json:"httpAutoCollectionOptions"`
		} `json:"applicationInsights"`
	} `json:"logging"`
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

// w3cTracing reports whether Application Insights makes up trace contexts; true
// when unset.
func (f hostFile) w3cTracing() bool {
	set := f.Logging.ApplicationInsights.HTTP.W3CTracing
	return set == nil || *set
}

// errorsOnly reports whether every line on stderr is an error; true when unset.
func (d description) errorsOnly() bool { return d.ErrorsOnly == nil || *d.ErrorsOnly }

// routePrefix is what stands before every route; "api" when unset.
func (f hostFile) routePrefix() string {
	if f.Extensions.HTTP.RoutePrefix == nil {
		return "api"
	}
	return strings.Trim(*f.Extensions.HTTP.RoutePrefix, "/")
}

// readHostFile reads host.json of a staged folder and refuses one that no host
// would start a handler from, or only by its JSON envelope.
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

// UnmarshalJSON reads a time span; an empty string leaves it zero.
func (s *timeSpan) UnmarshalJSON(text []byte) error {
	var value string
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	if value == "" {
		return nil
	}
	parsed, err := parseTimeSpan(value)
	*s = timeSpan(parsed)
	return err
}

func parseTimeSpan(value string) (time.Duration, error) {
	if value == "-1" {
		return -1, nil
	}
	var days int
	clock := value
	if day, rest, found := strings.Cut(value, "."); found && strings.Contains(rest, ":") {
		number, err := strconv.Atoi(day)
		if err != nil {
			return 0, fmt.Errorf("time span %q is not [d.]hh:mm:ss", value)
		}
		days, clock = number, rest
	}
	parts := strings.Split(clock, ":")
	if len(parts) != 3 {
		return 0, fmt.Errorf("time span %q is not [d.]hh:mm:ss", value)
	}
	length, err := time.ParseDuration(parts[0] + "h" + parts[1] + "m" + parts[2] + "s")
	if err != nil {
		return 0, fmt.Errorf("time span %q is not [d.]hh:mm:ss", value)
	}
	return time.Duration(days)*24*time.Hour + length, nil
}
