package api_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/api"
	"spillway/handler/internal/auth"
	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// adopters is a gateway with the consumers x and y. Backend b adopts for y, c for y
// outside its geographies, and a for nobody.
type adopters struct {
	*gateway
	store    *affinity.Store
	table    tablestore.Store
	away     atomic.Bool         // the table does not answer
	holds    map[string][]string // by backend: paths that it answers with 200
	sought   []string            // backend and path of each search
	before   []time.Time         // of each search: until when its object must have been made
	pinnedTo string              // the backend of the last request that was served
}

func newAdopters(t *testing.T) *adopters {
	d := &adopters{gateway: newGateway(t), holds: map[string][]string{}}
	d.records = make(chan *api.RequestRecord, 1<<10)
	d.table = awayTable{new(memory.Store), &d.away}
	d.store = affinity.New(affinity.Config{Table: d.table, Now: func() time.Time { return instant }})
	d.Affinity, d.StrictIDs, d.Locator, d.Models, d.Authenticator = d.store, true, d, d, d
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		d.pinnedTo = "any"
		if r.PinnedTo != nil {
			d.pinnedTo = r.PinnedTo.Backend
		}
		return serve(ctx, pools, deliver)
	}
	return d
}

// awayTable is a table that can be taken away.
type awayTable struct {
	tablestore.Store
	away *atomic.Bool
}

func (a awayTable) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	if a.away.Load() {
		return tablestore.Row{}, tablestore.Response{}, tablestore.ErrUnknown
	}
	return a.Store.Get(ctx, partition, key)
}

func (a awayTable) Put(ctx context.Context, row tablestore.Row) (tablestore.Version, tablestore.Response, error) {
	if a.away.Load() {
		return "", tablestore.Response{}, tablestore.ErrUnknown
	}
	return a.Store.Put(ctx, row)
}

func (d *adopters) All() []*balancer.Pool {
	return []*balancer.Pool{model("gpt-4o",
		balancer.Backend{Name: "a", Index: 0, Weight: 1, Geography: "eu", Stateful: true},
		balancer.Backend{Name: "b", Index: 1, Weight: 1, Geography: "eu", Adopt: "y"},
		balancer.Backend{Name: "c", Index: 2, Weight: 1, Geography: "us", Adopt: "y"},
	)}
}

func (d *adopters) Resolve(name string) ([]*balancer.Pool, bool) { return d.All(), name == "gpt-4o" }
func (d *adopters) Names(*consumer.Consumer) []string            { return []string{"gpt-4o"} }

func (d *adopters) Authenticate(_ context.Context, h http.Header, _ string) (auth.Identity, error) {
	return auth.Identity{Consumer: &consumer.Consumer{Name: h.Get("Api-Key"), Geographies: []string{"eu"}}}, nil
}

func (d *adopters) Locate(_ context.Context, among []*balancer.Backend, r *proxy.Request) (*balancer.Backend, error) {
	for _, b := range among {
		path := r.Operation.Path + "/" + r.Subpath
		d.sought, d.before = append(d.sought, b.Name+" "+r.Method+" "+path), append(d.before, r.MadeBefore[b.Name])
		if slices.Contains(d.holds[b.Name], path) {
			return b, nil
		}
	}
	return nil, nil
}

// want sends a request and checks its status, what was searched for, and, where it is
// served, at which backend.
func (d *adopters) want(t *testing.T, who, request, body string, status int, servedAt string, sought ...string) {
	t.Helper()
	d.sought, d.pinnedTo = nil, ""
	method, path, _ := strings.Cut(request, " ")
	res, text := d.send(t, method, "/openai/v1/"+path, body, "Api-Key", who, "Content-Type", "application/json")
	if res.StatusCode != status || d.pinnedTo != servedAt || !slices.Equal(d.sought, sought) {
		t.Errorf("%s: %s %s: %d %s, served at %q, searched for %q; want %d at %q, %q", who, request, body, res.StatusCode, text, d.pinnedTo, d.sought, status, servedAt, sought)
	}
}

// What nobody is known to have made is the consumer's for which its backend adopts, by
// the path and by the body, and nobody else's.
func TestUnknownObjectsAreAdopted(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		kind operations.Kind
		path string // of the object
		body string // of a request to generate that names it; "" = none does
		kept bool   // for 30 days only
	}{
		{operations.KindDataFile, "files/file-old", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_file","file_id":"file-old"}]}]}`, false},
		{operations.KindVectorStore, "vector_stores/vs_old", `{"model":"gpt-4o","tools":[{"type":"file_search","vector_store_ids":["vs_old"]}]}`, false},
		{operations.KindResponse, "responses/resp_old", `{"model":"gpt-4o","previous_response_id":"resp_old"}`, true},
		{operations.KindConversation, "conversations/conv_old", `{"model":"gpt-4o","conversation":{"id":"conv_old"}}`, false},
		{operations.KindContainer, "containers/cntr_old", `{"model":"gpt-4o","tools":[{"type":"code_interpreter","container":"cntr_old"}]}`, true},
		{operations.KindChat, "chat/completions/chatcmpl-old", "", false},
		{operations.KindBatch, "batches/batch_old", "", false},
		{operations.KindTuningJob, "fine_tuning/jobs/ftjob-old", "", false},
		{operations.KindEval, "evals/eval_old", "", false},
		{operations.KindSkill, "skills/skill_old", "", false},
		{operations.KindVideo, "videos/video_old", "", false},
	} {
		requests := [][2]string{{"GET " + kind.path, ""}}
		if kind.body != "" {
			requests = [][2]string{{"DELETE " + kind.path, ""}, {"POST responses", kind.body}}
		}
		for _, r := range requests {
			t.Run(r[0]+" "+kind.path, func(t *testing.T) {
				t.Parallel()
				d := newAdopters(t)
				d.holds["a"], d.holds["c"] = []string{kind.path}, []string{kind.path}
				d.want(t, "y", r[0], r[1], 404, "", "b GET "+kind.path)
				d.holds["b"] = []string{kind.path}
				d.want(t, "x", r[0], r[1], 404, "")
				d.want(t, "y", r[0], r[1], 200, "b", "b GET "+kind.path)
				d.want(t, "y", r[0], r[1], 200, "b")
				d.want(t, "x", r[0], r[1], 404, "")
				id := kind.path[strings.LastIndexByte(kind.path, '/')+1:]
				l, err := d.store.Lookup(t.Context(), "y", id)
				if err != nil || l.Backend != "b" || l.Model != "gpt-4o" || l.Kind != string(kind.kind) || l.Expires.IsZero() == kind.kept {
					t.Errorf("%s: recorded as %+v, %v", id, l, err)
				}
			})
		}
	}
}

func TestAdoptionIsRefused(t *testing.T) {
	t.Parallel()
	d := newAdopters(t)
	paths := []string{"files/file-old", "files/file-x", "uploads/upload_old", "files/msg_old", "conversations/msg_old", "vector_stores/vs_old"}
	d.holds["b"] = paths
	d.store.Record(t.Context(), affinity.Location{Backend: "a", Model: "gpt-4o", Kind: string(operations.KindFile), Owner: "x", CreatedAt: instant}, "file-x")

	// Another's row exists: no request leaves, and none for what is named with it.
	d.want(t, "y", "GET files/file-x", "", 404, "")
	d.want(t, "y", "POST vector_stores", `{"file_ids":["file-old","file-x"]}`, 404, "")
	d.want(t, "y", "POST vector_stores/vs_old/files", `{"file_id":"file-x"}`, 404, "")
	// No list, and nothing that cannot be read by its id.
	d.want(t, "y", "GET files", "", 403, "")
	d.want(t, "y", "POST uploads/upload_old/cancel", "", 404, "")
	d.want(t, "y", "POST responses", `{"model":"gpt-4o","input":[{"type":"item_reference","id":"msg_old"}]}`, 404, "")
	// An id that is no segment of a path reaches no backend.
	for _, id := range []string{"../files/file-old", "file-old/content", "file-old?x=1", "", ".."} {
		d.sought = nil
		d.send(t, "POST", "/openai/v1/vector_stores", fmt.Sprintf(`{"file_ids":[%q]}`, id), "Api-Key", "y")
		if len(d.sought) > 0 {
			t.Errorf("%q: searched for %q", id, d.sought)
		}
	}
	// Each unknown id costs a request, so their number is bounded.
	many := func(n int) string { return `{"file_ids":["file-1"` + strings.Repeat(`,"file-%d"`, n-1) + `]}` }
	numbers := []any{2, 3, 4, 5, 6, 7, 8, 9}
	d.want(t, "y", "POST vector_stores", fmt.Sprintf(many(9), numbers...), 400, "")
	// The table is away: nothing is known to be nobody's.
	d.away.Store(true)
	d.want(t, "y", "GET files/file-old", "", 503, "")
	d.want(t, "y", "POST vector_stores", `{"file_ids":["file-old"]}`, 503, "")
	d.away.Store(false)
	d.want(t, "y", "POST vector_stores", `{"file_ids":["file-old"]}`, 200, "b", "b GET files/file-old")
}

// What was made since a backend began to adopt may be another's, who has not been told
// of it yet. That instant stays, and is the same at every instance.
func TestAdoptionIsOfWhatWasMadeBefore(t *testing.T) {
	t.Parallel()
	d := newAdopters(t)
	d.BeginAdoptions(t.Context())
	d.Now = func() time.Time { return instant.Add(time.Hour) }
	d.want(t, "y", "GET files/file-1", "", 404, "", "b GET files/file-1")
	other := newAdopters(t)
	other.store = affinity.New(affinity.Config{Table: d.table, Now: d.Now})
	other.Affinity, other.Now = other.store, func() time.Time { return instant.Add(2 * time.Hour) }
	other.BeginAdoptions(t.Context())
	other.want(t, "y", "POST vector_stores", `{"file_ids":["file-2"]}`, 404, "", "b GET files/file-2")
	for _, got := range append(d.before, other.before...) {
		if !got.Equal(instant) {
			t.Errorf("searched for what was made until %v, want %v", got, instant)
		}
	}
}

// Searches count in the consumer's limits, found or not.
func TestAdoptionCountsAgainstTheLimits(t *testing.T) {
	t.Parallel()
	d := newAdopters(t)
	d.Meter = &limit{left: 1}
	d.want(t, "y", "GET files/file-1", "", 404, "", "b GET files/file-1")
	d.want(t, "y", "GET files/file-2", "", 429, "")
}

// Somebody else's row is written, or the table goes away, while the backend is asked:
// the first row stays.
func TestTheFirstOwnerOfAnAdoptedObjectStays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		meanwhile func(d *adopters)
		status    int
	}{
		"another's row": {func(d *adopters) {
			d.store.Record(context.Background(), affinity.Location{Backend: "b", Model: "gpt-4o", Kind: "file", Owner: "x", CreatedAt: instant}, "file-old")
		}, 404},
		"no table": {func(d *adopters) { d.away.Store(true) }, 503},
	} {
		d := newAdopters(t)
		d.holds["b"] = []string{"files/file-old"}
		d.Locator = meanwhile{d, func() { c.meanwhile(d) }}
		d.want(t, "y", "GET files/file-old", "", c.status, "", "b GET files/file-old")
		d.away.Store(false)
		if l, err := d.store.Lookup(t.Context(), "y", "file-old"); err == nil {
			t.Errorf("%s: y owns %+v", name, l)
		}
	}
}

// meanwhile is a locator that something happens before.
type meanwhile struct {
	api.Locator
	happens func()
}

func (m meanwhile) Locate(ctx context.Context, among []*balancer.Backend, r *proxy.Request) (*balancer.Backend, error) {
	m.happens()
	return m.Locator.Locate(ctx, among, r)
}
