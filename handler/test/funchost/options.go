package funchost

import (
	"cmp"
	"os"
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
