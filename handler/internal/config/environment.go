package config

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"
)

// prefix stands before the names of all settings of ours.
const prefix = "SPILLWAY"

// written is our process settings as text: envconfig finds them, and what they
// mean is judged after, so that all of them can be wrong at once.
type written struct {
	Config            string
	State             string
	StateTable        string `split_words:"true" default:"spillway"`
	StateRefresh      string `split_words:"true" default:"500ms"`
	Auth              string `default:"key"`
	OperatorKey       string `split_words:"true"`
	EntraTenant       string `split_words:"true"`
	EntraAudience     string `split_words:"true"`
	EntraIssuer       string `split_words:"true"`
	FirstTokenTimeout string `split_words:"true" default:"60s"`
	ResponseTimeout   string `split_words:"true" default:"220s"`
	CommitAfter       string `split_words:"true" default:"10s"`
	Heartbeat         string `default:"15s"`
	MaxWait           string `split_words:"true" default:"2s"`
	MaxBody           string `split_words:"true" default:"100MiB"`
	Expose            string `default:"false"`
	LogLevel          string `split_words:"true" default:"info"`
	Transcripts       string
	TranscriptsRedact string `split_words:"true"`
	Listen            string
}

// platform is what the Functions host and others tell every handler.
type platform struct {
	Port        string `envconfig:"FUNCTIONS_CUSTOMHANDLER_PORT"`
	Region      string `envconfig:"REGION_NAME"`
	Pod         string `envconfig:"WEBSITE_POD_NAME"`
	Container   string `envconfig:"CONTAINER_NAME"`
	Instance    string `envconfig:"WEBSITE_INSTANCE_ID"`
	OTLP        string `envconfig:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	ClientID    string `envconfig:"AZURE_CLIENT_ID"`
	HTTPTimeout string `envconfig:"HTTP_TIMEOUT_SECONDS"`
}

// inputs is everything that the configuration depends on.
type inputs struct {
	ours     written
	platform platform
	all      map[string]string
}

// environment reads the variables of this process. A variable that is set to
// nothing is the same as one that is not set.
func environment() (inputs, error) {
	in := inputs{all: map[string]string{}}
	for _, pair := range os.Environ() {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			in.all[name] = value
		}
	}
	if err := envconfig.Process(prefix, &in.ours); err != nil {
		return in, err
	}
	preset(&in.ours)
	return in, envconfig.Process("", &in.platform)
}

// preset fills in the default of whatever is set to nothing.
func preset(w *written) {
	v := reflect.ValueOf(w).Elem()
	for i := range v.NumField() {
		if v.Field(i).String() == "" {
			v.Field(i).SetString(v.Type().Field(i).Tag.Get("default"))
		}
	}
}

// get is a variable by its exact name or, failing that, in another case: the
// parts of a connection are written in mixed case, and some tools change it.
func (in *inputs) get(name string) string {
	if value := in.all[name]; value != "" {
		return value
	}
	for _, other := range slices.Sorted(maps.Keys(in.all)) {
		if strings.EqualFold(other, name) && in.all[other] != "" {
			return in.all[other]
		}
	}
	return ""
}
