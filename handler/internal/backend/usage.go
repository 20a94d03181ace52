package backend

import (
	"bytes"
	"sync"
	"time"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/health"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
	"spillway/handler/internal/proxy"
)

// usageAPIVersion is the first api-version that knows stream_options
// (docs/azure-openai.md#usage); versions are dates.
const usageAPIVersion = "2024-09-01"

// canRequestUsage reports whether the backend may be expected to accept
// stream_options in this request (docs/azure-openai.md#fields-that-spillway-adds).
func canRequestUsage(t *Target, r *proxy.Request) bool {
	switch {
	case r.Operation.Dialect != operations.Chat, !r.Parsed.Stream, r.Parsed.DataSources != (request.Span{}):
		return false
	case t.OpenAI, r.Family != operations.Deployments && r.Family != operations.Unscoped:
		return true
	}
	version, _ := operations.APIVersion(r.Query)
	return (version == "" || version >= usageAPIVersion) && !hasImages(r)
}

// hasImages errs on the side of true, which only leaves the usage to be estimated.
func hasImages(r *proxy.Request) bool { return bytes.Contains(r.Body, []byte(`"image_url"`)) }

// usageRefusals remembers which backends serve a shape of request only without
// stream_options. The zero usageRefusals is ready for use.
type usageRefusals struct {
	mu    sync.Mutex
	until map[usageRefusal]time.Time
}

// usageRefusal is a backend's deployment, and what may be why it refuses.
type usageRefusal struct {
	slot          health.Slot
	images, tools bool
}

const (
	usageRefusalTime = time.Hour
	maxUsageRefusals = 4096
)

func usageRefusalOf(b *balancer.Backend, r *proxy.Request) usageRefusal {
	return usageRefusal{b.Slot, hasImages(r), bytes.Contains(r.Body, []byte(`"tools"`))}
}

func (u *usageRefusals) has(b *balancer.Backend, r *proxy.Request) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.until) > 0 && time.Now().Before(u.until[usageRefusalOf(b, r)])
}

func (u *usageRefusals) add(b *balancer.Backend, r *proxy.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.until == nil || len(u.until) >= maxUsageRefusals {
		u.until = map[usageRefusal]time.Time{}
	}
	u.until[usageRefusalOf(b, r)] = time.Now().Add(usageRefusalTime)
}
