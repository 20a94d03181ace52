package api_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/api"
	"spillway/handler/internal/auth"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// tenants is a gateway with two consumers, x and y, and one stateful backend.
type tenants struct {
	*gateway
	store *affinity.Store
	sent  int    // requests that reached a backend, searches included
	body  []byte // of the last one
}

func newTenants(t *testing.T) *tenants {
	d := &tenants{gateway: newGateway(t), store: affinity.New(affinity.Config{})}
	d.records = make(chan *api.RequestRecord, 1<<16)
	d.Affinity, d.StrictIDs, d.Locator, d.Models, d.Authenticator = d.store, true, d, d, d
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		d.sent, d.body = d.sent+1, bytes.Clone(r.Body)
		return serve(ctx, pools, deliver)
	}
	return d
}

var pools = []*balancer.Pool{{Model: "gpt-4o", Backends: []balancer.Backend{{Name: "a", Weight: 1, Stateful: true}}}}

func (d *tenants) Resolve(name string) ([]*balancer.Pool, bool) { return pools, name == "gpt-4o" }

func (d *tenants) Names(*consumer.Consumer) []string { return []string{"gpt-4o"} }

func (d *tenants) All() []*balancer.Pool { return pools }

func (d *tenants) Authenticate(_ context.Context, h http.Header, _ string) (auth.Identity, error) {
	return auth.Identity{Consumer: &consumer.Consumer{Name: h.Get("Api-Key")}}, nil
}

func (d *tenants) Locate(_ context.Context, among []*balancer.Backend, _ *proxy.Request) (*balancer.Backend, error) {
	d.sent++
	return among[0], nil
}

// made records an object of a consumer.
func (d *tenants) made(owner string, kind operations.Kind, id string) {
	d.store.Remember(affinity.Location{Backend: "a", Model: "gpt-4o", Kind: string(kind), Owner: owner, CreatedAt: time.Now()}, id)
}

// refused checks that y gets an error and that no backend saw the request.
func (d *tenants) refused(t *testing.T, method, path, body, contentType string, statuses ...int) {
	t.Helper()
	before := d.sent
	res, text := d.send(t, method, path, body, "Api-Key", "y", "Content-Type", contentType)
	if !strings.Contains(fmt.Sprint(statuses), fmt.Sprint(res.StatusCode)) {
		t.Errorf("%s %s %.200s: %d %.200s, want one of %v", method, path, body, res.StatusCode, text, statuses)
	}
	if d.sent != before {
		t.Errorf("%s %s %.200s reached a backend", method, path, body)
	}
}

// served checks that a consumer's own request is served.
func (d *tenants) served(t *testing.T, consumer, method, path, body, contentType string) {
	t.Helper()
	before := d.sent
	res, text := d.send(t, method, path, body, "Api-Key", consumer, "Content-Type", contentType)
	if res.StatusCode != http.StatusOK || d.sent != before+1 {
		t.Errorf("%s: %s %s %.200s: %d %.200s", consumer, method, path, body, res.StatusCode, text)
	}
}

// objects is one object of each kind, of x.
var objects = map[operations.Kind]string{
	operations.KindResponse: "resp_x", operations.KindItem: "msg_x", operations.KindConversation: "conv_x", operations.KindChat: "chatcmpl-x",
	operations.KindAudio: "audio_x", operations.KindFile: "file-x", operations.KindDataFile: "file-d-x", operations.KindUpload: "upload_x", operations.KindPart: "part_x",
	operations.KindBatch: "batch_x", operations.KindVectorStore: "vs_x", operations.KindContainer: "cntr_x", operations.KindTuningJob: "ftjob-x",
	operations.KindCheckpoint: "ckpt_x", operations.KindEval: "eval_x", operations.KindSkill: "skill_x", operations.KindPrompt: "pmpt_x",
	operations.KindVoice: "voice_x", operations.KindVideo: "video_x",
}

func newTenantsWithObjects(t *testing.T) *tenants {
	d := newTenants(t)
	for kind, id := range objects {
		if kind == operations.KindFile {
			kind = operations.KindBatchFile // which is a file as well
		}
		d.made("x", kind, id)
		d.made("y", kind, strings.TrimSuffix(id, "x")+"y")
	}
	d.made("x", operations.KindListed, "cntr_x/cfile_x")
	d.made("x", operations.KindListed, "vs_x/vsfb_x")
	return d
}

// recording is a relay whose answers name these objects.
type recording struct {
	api.Relay
	objects []operations.Object
}

func (r recording) Open(w http.ResponseWriter, req *proxy.Request) proxy.Answer {
	return recordingAnswer{r.Relay.Open(w, req), r.objects}
}

type recordingAnswer struct {
	proxy.Answer
	objects []operations.Object
}

func (r recordingAnswer) Deliver(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery {
	if a.Hooks.Created != nil {
		a.Hooks.Created(r.objects)
	}
	return r.Answer.Deliver(ctx, a)
}
