package config

import (
	"bytes"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"

	"spillway/handler/internal/config/jsondoc"
)

// prefix stands before the names of all settings of ours.
const prefix = "SPILLWAY"

// written is our process settings as text: envconfig finds them, and they are
// checked afterwards, so that all of them can be wrong at once. The tags are
// their documentation: docs/configuration.md is made from them.
type written struct {
	Config            string `doc:"The pool document: inline JSON, or \"@path\" to a file. Unset, the numbered settings of openai-aca-lb are read."`
	ConfigSource      string `split_words:"true" default:"setting" doc:"setting, or table:NAME: the versions of NAME, pushed by \"spillway config push\" into the table of the shared state, win over SPILLWAY_CONFIG, which remains the fallback. NAME is the name of the app; apps that share an account have different ones."`
	ConfigAllow       string `split_words:"true" doc:"What a pushed document may name: ORIGIN=CREDENTIAL for what is sent where (such as https://contoso.openai.azure.com=AOAI_KEY, or =managed-identity, =pass-through, =none), SETTING for a consumer's key, with spaces or commas between. Unset, what SPILLWAY_CONFIG names. Settings of Spillway, of the Functions host and of the platform never."`
	State             string `doc:"Where shared state lives: a connection string of a storage account, or SPILLWAY_STATE__accountName (or __tableServiceUri, __blobServiceUri) with __credential=managedidentity and __clientId. Unset: AzureWebJobsStorage in the same forms. Neither: memory, and a warning at start."`
	StateTable        string `split_words:"true" default:"spillway" doc:"The prefix of the names of the tables, which are created when missing."`
	StateRefresh      string `split_words:"true" default:"500ms" doc:"How often shared state is read while there is traffic. 50ms to 1m."`
	Auth              string `default:"key" doc:"How callers authenticate: key, entra, or key,entra. none lets everybody in."`
	OperatorKey       string `split_words:"true" doc:"The operators' key, which opens /ops. Unset, and without SPILLWAY_OPERATOR_ROLE, /ops is closed (404), except in a standalone run on loopback."`
	OperatorRole      string `split_words:"true" doc:"The app role whose holders are operators, beside the key: they send an Entra ID token that SPILLWAY_ENTRA_TENANT and SPILLWAY_ENTRA_AUDIENCE accept."`
	EntraTenant       string `split_words:"true" doc:"The tenant whose tokens are accepted: its id or a domain."`
	EntraAudience     string `split_words:"true" doc:"The audience that a token must have."`
	EntraIssuer       string `split_words:"true" doc:"The issuer, where it is not one of the tenant's own."`
	FirstTokenTimeout string `split_words:"true" default:"60s" doc:"A stream without a meaningful event by then goes to the next backend."`
	ResponseTimeout   string `split_words:"true" default:"220s" doc:"The budget of one request to the first byte of its answer, over all attempts and waits. It must stay below the front end's own limit."`
	CommitAfter       string `split_words:"true" default:"10s" doc:"The longest time that the status line of a stream is held back for its first content. After it, the status line goes out alone, and another backend can still serve. 0 waits for the content."`
	Heartbeat         string `default:"15s" doc:"An SSE comment is sent while a stream is silent for this long. 0 sends none."`
	MaxWait           string `split_words:"true" default:"2s" doc:"When no backend is left, the request waits so long at most instead of being refused: for a throttled one that reopens within it, or for the trial of another request at one whose circuit is open. 0 never waits."`
	MaxBody           string `split_words:"true" default:"96MiB" doc:"A larger request body gets 413. Behind the Functions host it must not be above the host's limit (FUNCTIONS_REQUEST_BODY_SIZE_LIMIT, 100 MiB), whose refusal is an empty 500."`
	MemoryLimit       string `split_words:"true" doc:"How much memory this process may use: the Functions host needs the rest of the instance's. A request for which there is none gets 503 overloaded, those of the heaviest consumers first. Unset: GOMEMLIMIT, else 70 % of the container's memory. GOMEMLIMIT is set to it unless it is set."`
	Expose            string `default:"false" doc:"Adds x-spillway-backend and x-spillway-region to answers, and x-spillway-explain where a request carries that header."`
	LogLevel          string `split_words:"true" default:"info" doc:"debug, info, warn or error."`
	Transcripts       string `doc:"The blob container that keeps whole requests and answers of the consumers with \"transcripts\": true, in the account of SPILLWAY_STATE. Unset, nothing is kept."`
	TranscriptsRedact string `split_words:"true" doc:"A JSON list of regular expressions (RE2); what matches is kept as [redacted]."`
	Webhook           string `doc:"Where warnings of what is left of consumers' months are sent (warnAt): an https URL, which gets a POST signed by the Standard Webhooks convention. Unset, they are logged and counted only. It may be a Key Vault reference."`
	WebhookSecret     string `split_words:"true" doc:"The secret of the webhook's signatures, at least 16 characters; \"whsec_\" and base64 is decoded."`
	Listen            string `doc:"The address to listen on. Unset: 127.0.0.1 and FUNCTIONS_CUSTOMHANDLER_PORT, else 8080."`
}

// platform is what the Functions host and others set for every handler.
type platform struct {
	BodyLimit   string `envconfig:"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"`
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
	setDefaults(&in.ours)
	return in, envconfig.Process("", &in.platform)
}

// setDefaults fills in the default of whatever is set to nothing.
func setDefaults(w *written) {
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

// settingNames are the names of all process settings of ours.
func settingNames() []string {
	var out bytes.Buffer
	if err := envconfig.Usagef(prefix, new(written), &out, "{{range .}}{{.Key}} {{end}}"); err != nil {
		panic("config: " + err.Error())
	}
	return strings.Fields(out.String())
}

// scriptSettings are read by this project's scripts and tests, which start handlers.
var scriptSettings = []string{prefix + "_TOOLS", prefix + "_REQUIRE_TOOLS"}

// unknownSettings looks for settings of ours that do not exist. One that is nearly
// right is a fault: it was meant to do something. The rest is a warning.
// Names that the pool document refers to are its own affair.
func (c *checker) unknownSettings(in *inputs, referred []string) {
	known := settingNames()
	short := make([]string, len(known))
	for i, name := range known {
		short[i] = strings.TrimPrefix(name, prefix+"_")
	}
	for _, name := range slices.Sorted(maps.Keys(in.all)) {
		rest, ours := strings.CutPrefix(name, prefix+"_")
		if !ours || slices.Contains(known, name) || slices.Contains(scriptSettings, name) || strings.Contains(rest, "__") || slices.Contains(referred, name) {
			continue
		}
		if near := jsondoc.Nearest(rest, short); near != "" {
			c.setting(name, "is no setting of Spillway", "Did you mean "+prefix+"_"+near+"?")
			continue
		}
		c.settingWarning(name, "is no setting of Spillway and is ignored", "Remove it.")
	}
}
