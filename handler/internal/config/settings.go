package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/bits"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/config/jsondoc"
)

// Settings are the process settings (docs/configuration.md#settings), parsed.
type Settings struct {
	Listen     string // host:port
	Standalone bool   // no Functions host in front: FUNCTIONS_CUSTOMHANDLER_PORT is unset
	Loopback   bool   // only this machine can connect
	Region     string // REGION_NAME; "" = unknown
	Instance   string // the name of this instance, unique in the fleet

	ConfigApp string // whose versions in the table win over SPILLWAY_CONFIG; "" = SPILLWAY_CONFIG alone

	State        Connection
	StateTable   string // prefix of the names of tables
	StateRefresh time.Duration

	Callers     Callers
	OperatorKey Secret
	// OperatorRole is the app role whose holders are operators; "" = the key alone
	// opens /ops.
	OperatorRole string

	Webhook       Secret // its URL, which may hold a secret; not set = there is none
	WebhookSecret Secret // of its signatures

	FirstTokenTimeout time.Duration
	ResponseTimeout   time.Duration
	CommitAfter       time.Duration // 0 = with the first content
	Heartbeat         time.Duration // 0 = never
	MaxWait           time.Duration // 0 = never wait
	MaxBody           int64         // bytes
	MemoryLimit       int64         // bytes; 0 = by the machine

	Expose      bool
	LogLevel    slog.Level
	Transcripts string           // name of the blob container; "" = off
	Redact      []*regexp.Regexp // what transcripts do not keep
	OTLP        string           // where metrics and traces are pushed to; "" = nowhere
	ClientID    string           // AZURE_CLIENT_ID: the identity of backends that name none
}

// Callers is how callers prove who they are. Neither Key nor Entra is "none":
// everyone is let in.
type Callers struct {
	Key      bool
	Entra    bool
	Tenant   string // id or domain; "" only with an Issuer
	Audience string
	Issuer   string // "" = those of the tenant
}

// None reports whether everyone is let in.
func (c Callers) None() bool { return !c.Key && !c.Entra }

// settings understands the process settings; what it cannot understand is
// reported and left at its zero value.
func (c *checker) settings(in *inputs) Settings {
	w, p := &in.ours, &in.platform
	s := Settings{
		Region: p.Region, Instance: p.instance(), ClientID: p.ClientID,
		ConfigApp:   c.configSource(w),
		State:       c.connection(in),
		StateTable:  c.pattern("SPILLWAY_STATE_TABLE", w.StateTable, tablePattern),
		Callers:     c.callers(w),
		OperatorKey: c.operatorKey(w), OperatorRole: c.pattern("SPILLWAY_OPERATOR_ROLE", w.OperatorRole, rolePattern),
		Webhook: c.webhook(w), WebhookSecret: NewSecret(w.WebhookSecret),
		MaxBody: c.maxBody(in), MemoryLimit: c.memoryLimit(in.ours.MemoryLimit),
		Expose:      c.boolean("SPILLWAY_EXPOSE", w.Expose),
		LogLevel:    c.level("SPILLWAY_LOG_LEVEL", w.LogLevel),
		Transcripts: c.pattern("SPILLWAY_TRANSCRIPTS", w.Transcripts, containerPattern),
		Redact:      c.patterns("SPILLWAY_TRANSCRIPTS_REDACT", w.TranscriptsRedact),
		OTLP:        c.collector("OTEL_EXPORTER_OTLP_ENDPOINT", p.OTLP),
	}
	c.durations(w, &s)
	c.listen(in, &s)
	return s
}

// durations understands everything that is a time.
func (c *checker) durations(w *written, s *Settings) {
	for _, d := range []struct {
		name, text string
		into       *time.Duration
		min, max   time.Duration
	}{
		{"SPILLWAY_STATE_REFRESH", w.StateRefresh, &s.StateRefresh, 50 * time.Millisecond, time.Minute},
		{"SPILLWAY_FIRST_TOKEN_TIMEOUT", w.FirstTokenTimeout, &s.FirstTokenTimeout, 100 * time.Millisecond, time.Hour},
		{"SPILLWAY_RESPONSE_TIMEOUT", w.ResponseTimeout, &s.ResponseTimeout, 100 * time.Millisecond, time.Hour},
		{"SPILLWAY_COMMIT_AFTER", w.CommitAfter, &s.CommitAfter, 0, time.Hour},
		{"SPILLWAY_HEARTBEAT", w.Heartbeat, &s.Heartbeat, 0, time.Hour},
		{"SPILLWAY_MAX_WAIT", w.MaxWait, &s.MaxWait, 0, time.Minute},
	} {
		*d.into = c.duration(d.name, d.text, d.min, d.max)
	}
	if s.Heartbeat > 0 && s.Heartbeat < time.Second {
		c.setting("SPILLWAY_HEARTBEAT", "is less than a second", `Write 1s or more, or 0 for none.`)
	}
}

// instance is the name that the platform gives this instance
// (docs/functions-host.md#plans); elsewhere the machine and the port, which no two processes share.
func (p *platform) instance() string {
	for _, name := range []string{p.Pod, p.Container, p.Instance} {
		if name != "" {
			return name
		}
	}
	machine, err := os.Hostname()
	if err != nil {
		machine = "localhost"
	}
	return machine + "-" + strconv.Itoa(os.Getpid())
}

// listen decides where to listen: where the host sets, unless SPILLWAY_LISTEN
// is set.
func (c *checker) listen(in *inputs, s *Settings) {
	host, port := "127.0.0.1", "8080"
	s.Standalone = in.platform.Port == ""
	if !s.Standalone {
		port = c.port("FUNCTIONS_CUSTOMHANDLER_PORT", in.platform.Port)
	}
	if address := in.ours.Listen; address != "" {
		var err error
		host, port, err = splitAddress(address, port)
		if err != nil {
			c.setting("SPILLWAY_LISTEN", strconv.Quote(address)+" is no address", `Write a host, a port, or both: "127.0.0.1", ":8080", "[::1]:8080".`)
		} else {
			port = c.port("SPILLWAY_LISTEN", port)
		}
	}
	s.Listen = net.JoinHostPort(host, port)
	s.Loopback = document.Loopback(host)
}

// splitAddress takes a host, a port, or both.
func splitAddress(address, port string) (string, string, error) {
	if net.ParseIP(address) != nil {
		return address, port, nil
	}
	host, given, err := net.SplitHostPort(address)
	if err == nil {
		return host, given, nil
	}
	if _, number := strconv.Atoi(address); number == nil {
		return "127.0.0.1", address, nil
	}
	if hostPattern.match(address) != nil {
		return address, port, nil
	}
	return "", "", err
}

func (c *checker) port(name, text string) string {
	if n, err := strconv.Atoi(text); err != nil || n < 0 || n > 65535 {
		c.setting(name, strconv.Quote(text)+" is no port", "Write a number from 0 to 65535.")
	}
	return text
}

// shape is a regular expression with its description. It is compiled when a
// setting is to have it, which most have not: the process does not hold it.
type shape struct {
	expression string
	words      string
}

// match returns the text and its groups; nil = the text has another shape.
func (s shape) match(text string) []string {
	return regexp.MustCompile(s.expression).FindStringSubmatch(text)
}

// The shapes of settings.
var (
	tablePattern      = shape{`^[A-Za-z][A-Za-z0-9]{2,40}$`, "the beginning of a table's name: 3 to 41 letters and digits, a letter first"}
	containerPattern  = shape{`^[a-z0-9](-?[a-z0-9]){2,62}$`, "the name of a blob container: 3 to 63 lower-case letters, digits and single hyphens"}
	hostPattern       = shape{`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`, "a host name"}
	rolePattern       = shape{`^[^\s,;"']{1,120}$`, "the value of an app role, such as Spillway.Operator"}
	guidPattern       = shape{`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`, "a GUID such as 11111111-2222-3333-4444-555555555555"}
	accountPattern    = shape{`^[a-z0-9]{3,24}$`, "the name of a storage account: 3 to 24 lower-case letters and digits"}
	deploymentPattern = shape{`^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$`, "a deployment name"}
	sizePattern       = shape{`^([0-9]+)\s*(B|KB|MB|GB|KiB|MiB|GiB)?$`, "a size such as 100MiB"}
)

// pattern is the text when it has the shape; "" has every shape.
func (c *checker) pattern(name, text string, want shape) string {
	if text == "" || want.match(text) != nil {
		return text
	}
	c.setting(name, strconv.Quote(text)+" is not allowed here", "Write "+want.words+".")
	return ""
}

func (c *checker) duration(name, text string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		fix := `Write a duration as Go does, for example "10s", "800ms" or "1m30s".`
		if _, number := strconv.ParseFloat(text, 64); number == nil {
			fix = fmt.Sprintf("Write the unit too: %qs or %qms.", text, text)
			fix = strings.NewReplacer(`"s`, `s"`, `"ms`, `ms"`).Replace(fix)
		}
		c.setting(name, strconv.Quote(text)+" is no duration", fix)
	case d < least || d > most:
		c.setting(name, text+" is out of range", fmt.Sprintf("Write %v to %v.", jsondoc.Duration(least), jsondoc.Duration(most)))
	default:
		return d
	}
	return 0
}

// memoryLimit is how much memory the process may use; 0 = it is not set.
func (c *checker) memoryLimit(text string) int64 {
	if text == "" {
		return 0
	}
	return c.size("SPILLWAY_MEMORY_LIMIT", text, 64<<20, 1<<40)
}

// size is a number of bytes, in decimal or binary units.
func (c *checker) size(name, text string, least, most int64) int64 {
	parts := sizePattern.match(text)
	if parts == nil {
		c.setting(name, strconv.Quote(text)+" is no size", `Write a number with B, KB, MB, GB, KiB, MiB or GiB, for example "100MiB".`)
		return 0
	}
	unit := map[string]int64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}[parts[2]]
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || n > most/unit || n*unit < least {
		c.setting(name, text+" is out of range", "Write "+inBinary(least)+" to "+inBinary(most)+".")
		return 0
	}
	return n * unit
}

// inBinary is a power of two in its unit.
func inBinary(n int64) string {
	at := (bits.Len64(uint64(n)) - 1) / 10
	return strconv.FormatInt(n>>(10*at), 10) + [...]string{"B", "KiB", "MiB", "GiB", "TiB"}[at]
}

// hostBodyLimit is the Functions host's own limit of a request body, where no
// setting changes it (docs/functions-host.md#body-and-time-limits).
const hostBodyLimit = 100 << 20

// maxBody is the largest request body. Behind the host it is at most the host's
// limit: beyond that the host answers with an empty 500, which SDKs repeat.
func (c *checker) maxBody(in *inputs) int64 {
	const name = "SPILLWAY_MAX_BODY"
	n := c.size(name, in.ours.MaxBody, 1<<10, 1<<30)
	limit := int64(hostBodyLimit)
	if text := in.platform.BodyLimit; text != "" {
		if own, err := strconv.ParseInt(text, 10, 64); err == nil && own > 0 {
			limit = own
		}
	}
	if in.platform.Port != "" && n > limit {
		c.setting(name, "is above the host's own limit of "+strconv.FormatInt(limit, 10)+" bytes",
			"Lower it to 96MiB or less, or raise FUNCTIONS_REQUEST_BODY_SIZE_LIMIT.")
	}
	return n
}

func (c *checker) boolean(name, text string) bool {
	value, err := strconv.ParseBool(text)
	if err != nil {
		c.setting(name, strconv.Quote(text)+" is neither true nor false", "Write true or false.")
	}
	return value
}

func (c *checker) level(name, text string) slog.Level {
	words := []string{"debug", "info", "warn", "error"}
	var level slog.Level
	for _, word := range words {
		if strings.EqualFold(word, text) && level.UnmarshalText([]byte(word)) == nil {
			return level
		}
	}
	c.setting(name, strconv.Quote(text)+" is no log level", jsondoc.DidYouMean(text, words))
	return level
}

// patterns reads a JSON list of regular expressions in Go's syntax, which takes
// a time linear in the text whatever the pattern is. "" is none. The patterns
// themselves are not repeated: one may hold the secret that it hides.
func (c *checker) patterns(name, text string) (all []*regexp.Regexp) {
	if text == "" {
		return nil
	}
	var list []string
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		c.setting(name, "is no JSON list of texts", `Write for example ["sk-[A-Za-z0-9]{20,}"].`)
		return nil
	}
	for i, one := range list {
		pattern, err := regexp.Compile(one)
		if err != nil || pattern.MatchString("") {
			c.setting(name, "has a pattern that cannot work, number "+strconv.Itoa(i+1), "Correct it: Go's regular expressions (RE2), matching at least one character.")
			continue
		}
		all = append(all, pattern)
	}
	return all
}

// collector is the address of an OpenTelemetry collector. A wrong one is a
// warning: telemetry never stops the gateway.
func (c *checker) collector(name, text string) string {
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		c.settingWarning(name, "is no http or https URL: nothing is exported", `Write for example "http://127.0.0.1:4318".`)
		return ""
	}
	return text
}
