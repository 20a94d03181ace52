package operations

import "strings"

const (
	needsWebSockets = "realtime sessions are WebSockets or WebRTC, which Azure Functions does not carry. Connect to the resource's own address, or use /audio/transcriptions, /audio/speech or chat with audio"
	administers     = "it administers an organization of OpenAI, which the key of this gateway must not do. Use OpenAI's own address"
	ofOpenAI        = "it is a service of OpenAI alone. Use OpenAI's own address"
	ofAgents        = "it is a service of OpenAI alone. Use /responses, with /conversations for state"
)

// refused are the families of operations of the published APIs that are not served,
// by the first one or two segments of their paths, with the reason and with what to
// use.
var refused = map[string]string{
	"realtime":                  needsWebSockets,
	"realtimeapi":               needsWebSockets,
	"live":                      needsWebSockets,
	"organization":              administers,
	"projects":                  administers,
	"safety":                    administers,
	"webhook_endpoints":         administers,
	"webhook_event_types":       administers,
	"agents":                    ofAgents,
	"vaults":                    ofAgents,
	"chatkit":                   ofAgents,
	"audio/voices":              ofOpenAI,
	"audio/voice_consents":      ofOpenAI,
	"content_provenance_checks": ofOpenAI,
	"messages":                  "Anthropic's Messages API is at /anthropic/v1/messages. Give Anthropic's SDKs the base URL that ends in /anthropic",
	"video":                     "it belongs to the preview of the first Sora. Use /videos",
	"engines":                   "engines were replaced by models. Use /models",
}

// RefusalOf is why a path below /v1 that no operation has is not served; "" when
// there is no more to say.
func RefusalOf(subpath string) string {
	first, rest, _ := strings.Cut(strings.ToLower(subpath), "/")
	second, _, _ := strings.Cut(rest, "/")
	if why := refused[first+"/"+second]; why != "" {
		return why
	}
	return refused[first]
}
