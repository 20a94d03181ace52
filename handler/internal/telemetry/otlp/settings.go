package otlp

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/telemetry/meter"
)

// Settings are OpenTelemetry's own, by the names of its specification.
type Settings struct {
	Endpoint   string // OTEL_EXPORTER_OTLP_ENDPOINT: /v1/metrics and /v1/traces are added
	Headers    http.Header
	Timeout    time.Duration // of one push
	Gzip       bool
	Interval   time.Duration // between two pushes of metrics
	Attributes Resource      // OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
	Sampler    Sampler

	// Ignored names settings that ask for what this program does not do.
	Ignored []string
}

// Sampler decides which traces are told. A request whose caller decided follows
// the caller, unless Always is set.
type Sampler struct {
	Ratio  float64 // of the traces that begin here, in [0, 1]
	Always bool    // the caller's decision does not count
}

// Read understands the settings of the environment.
func Read(getenv func(string) string) Settings {
	s := Settings{
		Endpoint: strings.TrimRight(getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), "/"),
		Headers:  http.Header{},
		Timeout:  millis(getenv("OTEL_EXPORTER_OTLP_TIMEOUT"), 10*time.Second),
		Gzip:     getenv("OTEL_EXPORTER_OTLP_COMPRESSION") == "gzip",
		Interval: millis(getenv("OTEL_METRIC_EXPORT_INTERVAL"), time.Minute),
	}
	for name, value := range pairs(getenv("OTEL_EXPORTER_OTLP_HEADERS")) {
		s.Headers.Set(name, value)
	}
	service := getenv("OTEL_SERVICE_NAME")
	for name, value := range pairs(getenv("OTEL_RESOURCE_ATTRIBUTES")) {
		if name == "service.name" {
			service = cmp.Or(service, value)
			continue
		}
		s.Attributes = append(s.Attributes, meter.Label{Name: name, Value: value})
	}
	s.Attributes = append(Resource{{Name: "service.name", Value: cmp.Or(service, "spillway")}}, s.Attributes...)
	s.sampler(getenv("OTEL_TRACES_SAMPLER"), getenv("OTEL_TRACES_SAMPLER_ARG"))
	if p := getenv("OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" && p != "http/protobuf" {
		s.Ignored = append(s.Ignored, "OTEL_EXPORTER_OTLP_PROTOCOL="+p+": only http/protobuf is spoken; point the endpoint at the collector's HTTP port, mostly 4318")
	}
	return s
}

func (s *Settings) sampler(name, argument string) {
	ratio, err := strconv.ParseFloat(argument, 64)
	if err != nil || ratio < 0 || ratio > 1 {
		ratio = 1
	}
	switch name {
	case "", "parentbased_always_on":
		s.Sampler = Sampler{Ratio: 1}
	case "always_on":
		s.Sampler = Sampler{Ratio: 1, Always: true}
	case "always_off":
		s.Sampler = Sampler{Always: true}
	case "traceidratio":
		s.Sampler = Sampler{Ratio: ratio, Always: true}
	case "parentbased_always_off":
		s.Sampler = Sampler{}
	case "parentbased_traceidratio":
		s.Sampler = Sampler{Ratio: ratio}
	default:
		s.Sampler = Sampler{Ratio: 1}
		s.Ignored = append(s.Ignored, "OTEL_TRACES_SAMPLER="+name+": there is no such sampler; parentbased_always_on is used")
	}
}

// pairs reads name=value, separated by commas, values percent-encoded.
func pairs(list string) map[string]string {
	all := map[string]string{}
	for part := range strings.SplitSeq(list, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || strings.TrimSpace(name) == "" {
			continue
		}
		if plain, err := url.PathUnescape(strings.TrimSpace(value)); err == nil {
			all[strings.TrimSpace(name)] = plain
		}
	}
	return all
}

func millis(text string, otherwise time.Duration) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return otherwise
	}
	return time.Duration(n) * time.Millisecond
}
