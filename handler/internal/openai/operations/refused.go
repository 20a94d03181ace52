package operations

import "strings"

// refused are the families of operations of the published APIs that are not served,
// by the first segment of their paths, with the reason and with what to use.
var refused = map[string]string{
	"realtime":                  "realtime sessions are WebSockets or WebRTC, which Azure Functions does not carry. Connect to the resource's own address, or use /audio/transcriptions, /audio/speech or chat with audio",
	"organization":              "it administers an organization of OpenAI, which the key of this gateway must not do. Use OpenAI's own address",
	"projects":                  "it administers an organization of OpenAI, which the key of this gateway must not do. Use OpenAI's own address",
	"chatkit":                   "it is a service of OpenAI alone. Use /responses, with /conversations for state",
	"content_provenance_checks": "it is a service of OpenAI alone. Use OpenAI's own address",
	"video":                     "it belongs to the preview of the first Sora. Use /videos",
	"engines":                   "engines were replaced by models. Use /models",
}

// RefusalOf is why a path below /v1 that no operation has is not served; "" when
// there is no more to say.
func RefusalOf(subpath string) string {
	first, _, _ := strings.Cut(strings.ToLower(subpath), "/")
	return refused[first]
}
