package config

import (
	"log/slog"
	"net"
	"os"
	"regexp"
	"strconv"
	"time"

	"spillway/handler/internal/config/document"
)

// Settings are the process settings (docs/configuration.md#settings), parsed.
type Settings struct {
	Listen     string // host:port
	Standalone bool   // no Functions host in front: FUNCTIONS_CUSTOMHANDLER_PORT is unset
	Loopback   bool   // only this machine can connect
	Region     string // REGION_NAME; "" = unknown
	Instance   string // the name of this instance, unique in the fleet

	State        Connection
	StateTable   string // prefix of the names of tables
	StateRefresh time.Duration

	Callers     Callers
	OperatorKey Secret

	FirstTokenTimeout time.Duration
	ResponseTimeout   time.Duration
	CommitAfter       time.Duration // 0 = at once
	Heartbeat         time.Duration // 0 = never
	MaxWait           time.Duration // 0 = never wait
	MaxBody           int64         // bytes

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
		State:       c.connection(in),
		StateTable:  c.pattern("SPILLWAY_STATE_TABLE", w.StateTable, tablePattern),
		Callers:     c.callers(w),
		OperatorKey: c.operatorKey(w),
		MaxBody:     c.maxBody(in),
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
	if hostPattern.expression.MatchString(address) {
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
