package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"spillway/handler/internal/affinity"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/tablestore"
	"spillway/handler/internal/tablestore/memory"
)

// idTable is a table that counts its reads, and that can be made unavailable.
type idTable struct {
	memory.Store
	reads atomic.Int64
	away  atomic.Bool
}

func (s *idTable) Get(ctx context.Context, partition, key string) (tablestore.Row, tablestore.Response, error) {
	s.reads.Add(1)
	if s.away.Load() {
		return tablestore.Row{}, tablestore.Response{}, tablestore.ErrUnknown
	}
	return s.Store.Get(ctx, partition, key)
}

// newTenantsOfTable is a gateway of which another instance made x's objects.
func newTenantsOfTable(t *testing.T, owned ...string) (*tenants, *idTable) {
	d, table := newTenants(t), new(idTable)
	other := affinity.New(affinity.Config{Table: table})
	for _, id := range owned {
		other.Record(t.Context(), affinity.Location{Backend: "a", Model: "gpt-4o", Kind: string(operations.KindItem), Owner: "x", CreatedAt: time.Now()}, id)
	}
	d.store = affinity.New(affinity.Config{Table: table})
	d.Affinity = d.store
	return d, table
}

// serviceID is an id in the form of those that services make.
func serviceID(n int) string { return fmt.Sprintf("msg_%048x", n) }

func conversationOf(ids ...string) string {
	var items []string
	for i, id := range ids {
		items = append(items, fmt.Sprintf(`{"type":"message","id":%q,"role":"user","content":"step %d"}`, id, i))
	}
	return `{"model":"gpt-4o","store":false,"input":[` + strings.Join(items, ",") + `]}`
}

// A conversation that is sent whole, with the ids that the service or the client gave
// its items, is served however long it is, and costs the table one read for each id.
func TestConversationsThatAreSentWhole(t *testing.T) {
	for name, id := range map[string]func(n int) string{
		"of the service": serviceID, "of the client": func(n int) string { return fmt.Sprint("msg_", n) }, "no ids of any service": func(n int) string { return fmt.Sprint(n) },
	} {
		var ids []string
		for n := range 600 {
			ids = append(ids, id(n))
		}
		d, table := newTenantsOfTable(t)
		d.served(t, "x", "POST", "/v1/responses", conversationOf(ids...), "application/json")
		if reads := table.reads.Load(); reads != 600 {
			t.Errorf("%s: %d reads", name, reads)
		}
		ids = append(ids, id(600))
		d.served(t, "x", "POST", "/v1/responses", conversationOf(ids...), "application/json")
		if reads := table.reads.Load(); reads != 601 {
			t.Errorf("%s: %d reads for the next step", name, reads-600)
		}
	}
}

// One request has the table read so many rows at most; what it read is known to the
// next, which goes on.
func TestReadsOfOneRequestAreBounded(t *testing.T) {
	d, table := newTenantsOfTable(t)
	var ids []string
	for n := range 6000 {
		ids = append(ids, serviceID(n))
	}
	body := conversationOf(ids...)
	d.refused(t, "POST", "/v1/responses", body, "application/json", 503)
	if reads := table.reads.Load(); reads != 4096 {
		t.Errorf("%d reads", reads)
	}
	d.served(t, "y", "POST", "/v1/responses", body, "application/json")
}

// The service may take the content of an item from what it stores under the id, so
// another's id is refused also beside a content.
func TestGivenItemsWithAnothersID(t *testing.T) {
	theirs := serviceID(1)
	d, table := newTenantsOfTable(t, theirs, "msg_short")
	for _, id := range []string{theirs, "msg_short"} {
		d.refused(t, "POST", "/v1/responses", conversationOf("mine", id), "application/json", 404)
		d.served(t, "x", "POST", "/v1/responses", conversationOf("mine", id), "application/json")
	}
	table.away.Store(true)
	d.refused(t, "POST", "/v1/responses", conversationOf(theirs), "application/json", 404, 503)
	d.refused(t, "POST", "/v1/responses", conversationOf(serviceID(2)), "application/json", 503)
}

// What an item cites that is sent back is not read again: it need not be there any more,
// and may be more than a request may name.
func TestCitationsInItemsThatAreSentBack(t *testing.T) {
	d := newTenantsWithObjects(t)
	cited := func(ids ...string) string {
		var annotations, results []string
		for _, id := range ids {
			annotations = append(annotations, fmt.Sprintf(`{"type":"file_citation","file_id":%q}`, id))
			results = append(results, fmt.Sprintf(`{"file_id":%q,"text":"t"}`, id))
		}
		return `{"model":"gpt-4o","input":[{"type":"file_search_call","id":"fs_1","queries":["q"],"results":[` + strings.Join(results, ",") +
			`]},{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"t","annotations":[` + strings.Join(annotations, ",") + `]}]}]}`
	}
	var many []string
	for n := range 100 {
		many = append(many, fmt.Sprint("file-gone-", n))
	}
	d.served(t, "y", "POST", "/v1/responses", cited(many...), "application/json")
	d.refused(t, "POST", "/v1/responses", cited("file-y", "file-x"), "application/json", 404)
}

// While the table is away, what is new is served: ids that no service makes cannot be
// another's.
func TestNewItemsWhileTheTableIsAway(t *testing.T) {
	d, table := newTenantsOfTable(t)
	d.served(t, "x", "POST", "/v1/responses", conversationOf(serviceID(1)), "application/json")
	table.away.Store(true)
	for _, id := range []string{"msg_1", "mine", "msg_0198c0de-1111-7222-8333-444455556666", "item 7", serviceID(1)} {
		d.served(t, "x", "POST", "/v1/responses", conversationOf(id), "application/json")
	}
	d.refused(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"item_reference","id":"msg_1"}]}`, "application/json", 503)
}

// What is the caller's own data is not looked up: it tells nothing of others.
func TestOwnDataIsNotLookedUp(t *testing.T) {
	d := newTenantsWithObjects(t)
	for path, bodies := range map[string][]string{
		"messages": {
			`{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{"file_id":%[1]q,"conversation":%[2]q,"input":[{"type":"item_reference","id":%[3]q}]}}]}]}`,
			`{"model":"gpt-4o","max_tokens":9,"messages":[],"tools":[{"name":"f","input_schema":{"type":"object"},"input_examples":[{"file_id":%[1]q,"model":"o3","agent":"a"}]}]}`,
		},
		"responses": {
			`{"model":"gpt-4o","input":"i","tools":[{"type":"function","name":"f","parameters":{"properties":{"file_id":{"type":"string","default":%[1]q,"examples":[%[1]q]},"model":{"enum":["o3"]},"conversation":{"default":{"id":%[2]q}}}}}]}`,
			`{"model":"gpt-4o","input":[{"type":"tool_search_call","arguments":{"file_id":%[1]q,"conversation":%[2]q,"items":[{"id":%[3]q}]}}]}`,
			`{"model":"gpt-4o","input":"i","prompt":{"id":"pmpt_y","variables":{"agent":"a","container":%[1]q,"conversation":%[2]q,"file_id":%[1]q}}}`,
			`{"model":"gpt-4o","input":"i","tools":[{"type":"mcp","server_label":"l","server_url":"u","headers":{"agent":"a","file_id":%[1]q,"conversation":%[2]q}}]}`,
			`{"model":"gpt-4o","input":"i","metadata":{"file_id":%[1]q}}`,
		},
		"chat/completions":         {`{"model":"gpt-4o","messages":[],"chat_template_kwargs":{"file_id":%[1]q},"documents":[{"id":%[1]q,"conversation":%[2]q}],"structured_outputs":{"json":{"properties":{"file_id":{"const":%[1]q}}}}}`},
		"vector_stores/vs_y/files": {`{"file_id":"file-y","attributes":{"file_id":%[1]q,"model":"o3","agent":"a"}}`},
		"evals/eval_y/runs":        {`{"data_source":{"type":"jsonl","source":{"type":"file_content","content":[{"item":{"model":"o3","agent":"a","container":"box","file_id":"17","files":["a.txt"]}}]}}}`},
	} {
		if path = "/v1/" + path; path == "/v1/messages" {
			path = "/anthropic/v1/messages"
		}
		for _, body := range bodies {
			for _, ids := range [][]any{{"file-x", "conv_x", "msg_x"}, {"file-unknown", "conv_unknown", "msg_unknown"}} {
				text := body
				if strings.Contains(body, "%[") {
					text = fmt.Sprintf(body, ids...)
				}
				d.served(t, "y", "POST", path, text, "application/json")
			}
		}
	}
}

// Whatever member an id stands in, it is found by what it is beside, or by its form.
func TestIDsInUnlistedMembers(t *testing.T) {
	d := newTenantsWithObjects(t)
	d.made("x", operations.KindConversation, "conv_0123456789abcdef")
	for _, body := range []string{
		`{"model":"gpt-4o","messages":[{"type":"item_reference","id":"msg_x"}]}`, `{"model":"gpt-4o","input":"i","x":[{"y":{"type":"item_reference","id":"msg_x"}}]}`,
		`{"model":"gpt-4o","input":"i","prompt":"pmpt_x"}`, `{"model":"gpt-4o","input":"i","previous_response":{"id":"resp_x"}}`, `{"model":"gpt-4o","input":"i","previous_response":"resp_x"}`,
		`{"model":"gpt-4o","input":"i","video":"video_x"}`, `{"model":"gpt-4o","input":"i","files":["file-x"]}`, `{"model":"gpt-4o","input":"i","files":[{"id":"file-x"}]}`,
		`{"model":"gpt-4o","input":"i","images":["file-x"]}`, `{"model":"gpt-4o","input":"i","images":[{"id":"file-x"}]}`, `{"model":"gpt-4o","input":"i","mask":"file-x"}`,
		`{"model":"gpt-4o","input":"i","x":{"id":"conv_x"}}`, `{"model":"gpt-4o","input":"i","thing_id":"conv_0123456789abcdef"}`,
		`{"model":"gpt-4o","input":[{"type":"message","role":"user","content":[{"type":"input_file","file":"file-x"}]}]}`,
	} {
		d.refused(t, "POST", "/v1/responses", body, "application/json", 404)
		d.served(t, "x", "POST", "/v1/responses", body, "application/json")
	}
	for _, body := range []string{`{"model":"gpt-4o","input":"i","images":["https://a/b.png"],"files":["a.txt"],"thing_id":"conv_7","x":{"id":"conv_unknown"}}`} {
		d.served(t, "y", "POST", "/v1/responses", body, "application/json")
	}
}

// Runs of an evaluation and batches of files are known below what they were made in.
func TestRunsAndBatchesBelowAnObject(t *testing.T) {
	d := newTenantsWithObjects(t)
	for path, id := range map[string]string{"evals/eval_y/runs": "evalrun_1", "vector_stores/vs_y/file_batches": "vsfb_1"} {
		d.refused(t, "GET", "/v1/"+path+"/"+id, "", "", 404)
		d.Relay = recording{d.gateway, []operations.Object{{Kind: operations.KindListed, ID: id}}}
		d.served(t, "y", "POST", "/v1/"+path, `{}`, "application/json")
		d.served(t, "y", "GET", "/v1/"+path+"/"+id, "", "")
		d.refused(t, "GET", "/v1/"+path+"/"+id+"9", "", "", 404)
	}
	d.refused(t, "GET", "/v1/evals/eval_y/runs/evalrun_1/output_items/outputitem_x", "", "", http.StatusNotFound)
}
