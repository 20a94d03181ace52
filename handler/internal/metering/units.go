package metering

import (
	"strings"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/proxy"
)

// images is how many images the request asks for. They are billed also when its caller
// leaves.
func images(r *proxy.Request) int64 {
	if !strings.HasPrefix(r.Operation.Name, "image") {
		return 0
	}
	return max(1, r.Parsed.Choices)
}

// How many bytes a second of speech has: at 32 kbit/s, as is usual at the least, and at
// 6 kbit/s, than which hardly any encoding has fewer.
const (
	usualSpeech   = 4000
	densestSpeech = 750
	largestUpload = 25 << 20 // bytes, that the service takes
)

// seconds is how long the speech is that the request uploads, if a second has so many
// bytes.
func seconds(r *proxy.Request, bytes int64) int64 {
	if r.Operation.Name != "transcriptions" && r.Operation.Name != "translations" {
		return 0
	}
	size := int64(len(r.Body))
	switch s := r.StreamedBody; {
	case s != nil && s.Length < 0:
		size = largestUpload
	case s != nil:
		size += s.Length
	}
	return (size + bytes - 1) / bytes
}

// spoken is how many tokens of sound the speech has that the request asks for, of a
// model that is billed by them: a minute of some 900 characters has 1,250
// (docs/quotas.md#limits).
func spoken(r *proxy.Request, p *balancer.Pool) int64 {
	if r.Operation.Name != "speech" || p.Price.Output+p.Price.AudioOutput <= 0 {
		return 0
	}
	return r.Parsed.PromptBytes*4/3 + 1
}
