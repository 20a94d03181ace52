package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

const formOfB = "multipart/form-data; boundary=b"

func partOf(disposition, value string) string {
	return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n"
}

// A member in another case or without its underscores is refused, and named.
func TestOtherSpellingsInABody(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, row := range [][2]string{
		{"responses", `{"model":"gpt-4o","input":"i","Previous_Response_Id":"resp_x"}`},
		{"responses", `{"model":"gpt-4o","input":"i","conversation":{"ID":"conv_x"}}`},
		{"responses", `{"model":"gpt-4o","Model":"o3","input":"i"}`},
		{"batches", `{"Input_File_Id":"file-x","endpoint":"/v1/responses"}`},
		{"batches", `{"inputFileId":"file-x","endpoint":"/v1/responses"}`},
		{"vector_stores", `{"File_Ids":["file-x"]}`},
		{"vector_stores", `{"fileIds":["file-x"]}`},
		{"vector_stores", `{"file_ids":{"0":"file-x"}}`},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"Data_Sources":[{"type":"azure_search","parameters":{}}]}`},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"data_sources":[{"parameters":{"authentication":{"type":"api_key"}},"parameters":{"index_name":"x"}}]}`},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"data_sources":[{"parameters":{"authentication":{"type":"api_key"}},"Parameters":{"authentication":{"type":"x"}}}]}`},
		{"evals", `{"data_source_config":{"Type":"stored_completions"}}`},
	} {
		d.refused(t, "POST", "/v1/"+row[0], row[1], "application/json", 400)
	}
	res, text := d.send(t, "POST", "/v1/vector_stores", `{"File_Ids":["file-x"]}`, "Api-Key", "y", "Content-Type", "application/json")
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(text, "file_ids") || !strings.Contains(text, "File_Ids") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
	d.served(t, "y", "POST", "/v1/responses", `{"model":"gpt-4o","input":"i","metadata":{"Model":"x"},"tools":[{"type":"function","name":"f","parameters":{"properties":{"fileIds":{"type":"array"}}}}]}`, "application/json")

	alone := newFenced(t, &consumer.Consumer{Name: "only"}, pools...)
	if res, text := alone.send(t, "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[],"Model":"x"}`, "Api-Key", "k"); res.StatusCode != http.StatusOK {
		t.Errorf("one consumer alone: %d %s", res.StatusCode, text)
	}
}

func TestReachOfAProject(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, row := range [][2]string{
		{"responses", `{"model":"gpt-4o","input":"i","tools":[{"type":"memory_search","memory_store_name":"team-x","scope":"s"}]}`},
		{"responses", `{"model":"gpt-4o","input":"i","tools":[{"type":"azure_ai_search","azure_ai_search":{"indexes":[{"project_connection_id":"c","index_name":"x"}]}}]}`},
		{"responses", `{"model":"gpt-4o","input":"i","agent":{"type":"agent_reference","name":"x"}}`},
		{"responses", `{"model":"gpt-4o","input":"i","tools":[{"type":"mcp","server_label":"s","tunnel_id":"tunnel_68cbac2e"}]}`},
		{"chat/completions", `{"model":"gpt-4o","messages":[],"extra_body":{"data_sources":[{"type":"azure_search"}]}}`},
		{"evals/eval_y/runs", `{"data_source":{"type":"azure_ai_responses","item_generation_params":{"type":"response_retrieval","source":{"type":"file_content","content":[]}}}}`},
		{"evals/eval_y/runs", `{"data_source":{"type":"azure_ai_traces","trace_ids":["t"]}}`},
		{"evals/eval_y/runs", `{"data_source":{"type":"Stored_Completions"}}`},
		{"fine_tuning/jobs", `{"model":"gpt-4o","integrations":[{"type":"wandb","wandb":{"project":"p"}}]}`},
		{"evals", `{"data_source_config":{"type":"stored-completions"}}`},
		{"evals", `{"data_source_config":{"type":["stored_completions"]}}`},
	} {
		d.refused(t, "POST", "/v1/"+row[0], row[1], "application/json", 403)
	}
	line := `{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"model":"gpt-4o","input":"i","agent":{"name":"x"}}}`
	d.refused(t, "POST", "/v1/files", partOf(`name="purpose"`, "batch")+partOf(`name="file"; filename="a"`, line)+"--b--\r\n", formOfB, 403)
	for _, body := range []string{`{"data_source_config":{"type":"custom","item_schema":{"type":"object"}}}`, `{"data_source":{"type":"jsonl","source":{"type":"file_id","id":"file-d-y"}}}`} {
		d.served(t, "y", "POST", "/v1/evals", body, "application/json")
	}
}

// A key of the prompt cache is made a consumer's own at the top of a body only.
func TestCacheKeysBelowTheTopAreRefused(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, row := range [][2]string{
		{"chat/completions", `{"model":"gpt-4o","messages":[],"extra_body":{"prompt_cache_key":"k"}}`},
		{"responses", `{"model":"gpt-4o","input":"i","prompt_cache_key":"k","x":{"promptCacheKey":"k"}}`},
		{"evals/eval_y/runs", `{"data_source":{"type":"jsonl","sampling_params":{"prompt_cache_key":"k"},"source":{"type":"file_id","id":"file-d-y"}}}`},
	} {
		d.refused(t, "POST", "/v1/"+row[0], row[1], "application/json", 400)
	}
	line := `{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"model":"gpt-4o","input":"i","extra_body":{"prompt_cache_key":"k"}}}`
	d.refused(t, "POST", "/v1/files", partOf(`name="purpose"`, "batch")+partOf(`name="file"; filename="a"`, line)+"--b--\r\n", formOfB, 403)
	d.served(t, "y", "POST", "/v1/responses", `{"model":"gpt-4o","input":"i","prompt_cache_key":"k"}`, "application/json")
}

// What a line says twice, or in another way, is read in one way or refused.
func TestOtherSpellingsInALine(t *testing.T) {
	d := newTenantsWithObjects(t)
	upload := func(line string) string {
		return partOf(`name="purpose"`, "batch") + partOf(`name="file"; filename="a.jsonl"`, line) + "--b--\r\n"
	}
	const sources = `"data_sources":[{"type":"azure_search","parameters":{}}]`
	for _, line := range []string{
		`{"url":"/v1/chat/completions","body":{"model":"gpt-4o",` + sources + `},"Body":{"data_sources":null}}`,
		`{"url":"/v1/chat/completions","body":{"model":"gpt-4o",` + sources + `,"Data_Sources":null}}`,
		`{"url":"/v1/chat/completions","body":{"model":"gpt-4o"},"URL":"/v1/files"}`, `{"url":"/v1/responses","body":{"model":"gpt-4o","Max_Output_Tokens":1}}`,
		`{"url":"/v1/responses/resp_x/cancel","body":{}}`, `{"method":"GET","url":"/v1/files/file-x/content"}`, `{"method":"GET","url":"/v1/responses"}`,
		`{"url":"/v1/chat/completions?a=b","body":{"model":"gpt-4o"}}`, `{"url":"/v1/Chat/Completions","body":{"model":"gpt-4o"}}`, `{"body":{"model":"gpt-4o"}}`,
		`{"url":"https://h/v1/responses","body":{"model":"gpt-4o"}}`,
	} {
		d.refused(t, "POST", "/v1/files", upload(line), formOfB, 400)
	}
	d.refused(t, "POST", "/v1/files", upload(`{"url":"/v1/chat/completions","body":{"x":{`+sources+`}}}`), formOfB, 403)
	for _, url := range []string{"/v1/chat/completions", "/chat/completions", "/openai/v1/responses", "/v1/embeddings", "/v1/images/generations"} {
		d.served(t, "y", "POST", "/v1/files", upload(`{"custom_id":"1","method":"POST","url":"`+url+`","body":{"model":"gpt-4o"}}`), formOfB)
	}
}

// Whatever the service reads as a file's purpose: a batch is of lines that were checked.
func TestBatchesAreOfCheckedFiles(t *testing.T) {
	d := newTenantsWithObjects(t)
	batch := func(id string) string { return `{"input_file_id":"` + id + `","endpoint":"/v1/responses"}` }
	d.made("y", operations.KindFile, "file-plain")
	d.refused(t, "POST", "/v1/batches", batch("file-plain"), "application/json", 403)
	d.refused(t, "POST", "/v1/batches", `{"error_file_id":"file-plain","input_file_id":"file-plain"}`, "application/json", 403)
	d.made("y", operations.KindBatchFile, "file-checked")
	d.served(t, "y", "POST", "/v1/batches", batch("file-checked"), "application/json")
	d.served(t, "y", "POST", "/v1/vector_stores", `{"file_ids":["file-checked","file-plain"]}`, "application/json")
	d.served(t, "y", "GET", "/v1/files/file-checked", "", "")
	d.refused(t, "POST", "/v1/batches", batch("file-x"), "application/json", 404)

	d.do = func(ctx context.Context, pools []*balancer.Pool, _ *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		d.sent++
		b := &balancer.Backend{Name: "a"}
		result := &proxy.Result{Pool: pools[0], ServedBy: b, Attempts: []proxy.Attempt{{Backend: b, Status: 200}}}
		result.Delivery = deliver(ctx, &proxy.BackendResponse{Backend: b, Result: result, Hooks: proxy.CommitHooks{Committed: func() {}, MayCommit: func() bool { return true }}})
		return result
	}
	n := 0
	d.Relay = createsFiles{func() string { n++; return fmt.Sprint("file-made-", n) }}
	good := partOf(`name="file"; filename="a.jsonl"`, `{"url":"/v1/responses","body":{"model":"gpt-4o"}}`) + "--b--\r\n"
	for purpose, status := range map[string]int{`name="purpose"`: 200, `name=purpose`: 200, `name="x"`: 403} {
		d.served(t, "y", "POST", "/v1/files", partOf(purpose, "batch")+good, formOfB)
		res, text := d.send(t, "POST", "/v1/batches", batch(fmt.Sprint("file-made-", n)), "Api-Key", "y", "Content-Type", "application/json")
		if res.StatusCode != status {
			t.Errorf("%s: %d %s", purpose, res.StatusCode, text)
		}
	}
	d.served(t, "y", "POST", "/v1/files?purpose=batch", partOf(`name="purpose"`, `"batch"`)+good, formOfB)
	d.refused(t, "POST", "/v1/batches", batch(fmt.Sprint("file-made-", n)), "application/json", 403)
}

// createsFiles is a relay whose answers say that a file was made.
type createsFiles struct{ id func() string }

func (createsFiles) Abort(context.Context) { panic(http.ErrAbortHandler) }
func (c createsFiles) Open(w http.ResponseWriter, r *proxy.Request) proxy.Answer {
	return fileAnswer{plainAnswer{w}, c, r}
}

type fileAnswer struct {
	plainAnswer
	relay createsFiles
	r     *proxy.Request
}

func (f fileAnswer) Deliver(ctx context.Context, a *proxy.BackendResponse) proxy.Delivery {
	if a.Hooks.Created != nil && f.r.Operation.Name == "files" {
		a.Hooks.Created([]operations.Object{{Kind: operations.KindFile, ID: f.relay.id()}})
	}
	return f.plainAnswer.Deliver(ctx, a)
}

func TestFormsThatAreReadInTwoWays(t *testing.T) {
	d := newTenantsWithObjects(t)
	own := partOf(`name="file_id"`, "file-y") + "--b--\r\n"
	for _, contentType := range []string{
		"multipart/form-data; boundary=b; boundary*=utf-8''c", "multipart/form-data; boundary=b; boundary*0=c", "multipart/form-data; boundary=b; charset=utf-7",
		"multipart/form-data; boundary=b; x=y", "multipart/form-data; boundary=b;boundary=b", "multipart/form-data; boundary=", "multipart/form-data", `multipart/form-data; boundary="b\b"`,
		"multipart/form-data; boundary=b, multipart/form-data; boundary=c",
	} {
		d.refused(t, "POST", "/v1/containers/cntr_y/files", own, contentType, 400)
	}
	for _, contentType := range []string{formOfB, `multipart/form-data; boundary="b"`, "Multipart/Form-Data;boundary=b", "multipart/form-data; charset=utf-8; boundary=b"} {
		d.served(t, "y", "POST", "/v1/containers/cntr_y/files", own, contentType)
	}
	for _, form := range []string{
		strings.ReplaceAll(partOf(`name="file_id"`, "file-x"), "\r\n", "\n") + "--b--\n\r\n" + own,
		partOf(`name="file\_id"`, "file-x") + own, partOf(`name="fileId"`, "file-x") + own, partOf(`name="FILE_ID"`, "file-x") + own,
	} {
		d.refused(t, "POST", "/v1/containers/cntr_y/files", form, formOfB, 400)
	}
	for _, field := range [][2]string{{"input_reference", `{"file_id":"file-x"}`}, {"images", `[{"file_id":"file-x"}]`}, {"video", `{"id":"video_x"}`}} {
		for _, path := range []string{"videos", "videos/edits"} {
			d.refused(t, "POST", "/v1/"+path, partOf(`name="model"`, "gpt-4o")+partOf(`name="`+field[0]+`"`, field[1])+"--b--\r\n", formOfB, 404)
		}
	}
	line := `{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"model":"gpt-4o","previous_response_id":"resp_x"}}`
	d.refused(t, "POST", "/v1/files", partOf(`name="purpose"`, "batch")+partOf(`name="file"`, line)+"--b--\r\n", formOfB, 404)
}

func TestCharsetsAndTypesOfBodies(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, charset := range []string{"shift_jis", "utf-7", "utf-16", "UTF-8; charset=utf-7", "iso-8859-1", ""} {
		d.refused(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":"i"}`, "application/json; charset="+charset, 415)
	}
	d.refused(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":"i"}`, "application/json; charset*=utf-8''utf-7", 415)
	sent := http.Header{}
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		sent = r.Header
		return serve(ctx, pools, deliver)
	}
	for given, want := range map[string]string{
		"application/json": "application/json", "application/json; charset=utf-8": "application/json; charset=utf-8", "application/x-www-form-urlencoded": "application/json",
		"text/plain": "application/json", "application/xml": "application/json", "": "",
	} {
		res, text := d.send(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":"&file_id=file-x"}`, "Api-Key", "y", "Content-Type", given)
		if res.StatusCode != http.StatusOK || sent.Get("Content-Type") != want {
			t.Errorf("%q: %d %s, sent as %q", given, res.StatusCode, text, sent.Get("Content-Type"))
		}
	}
}

// Of a form that is too long to be held, what follows the files is checked, too.
func TestLongFormsOfAllOperations(t *testing.T) {
	d := newTenantsWithObjects(t)
	d.MaxBody, d.BufferedUpload = 64<<20, 1<<20
	complete := false
	d.do = readingRest(&complete, "--b--\r\n")
	model, image := partOf(`name="model"`, "gpt-4o"), partOf(`name="image[]"; filename="a.png"`, strings.Repeat("x", 900<<10))
	for name, c := range map[string]struct {
		path, form string
		status     int
	}{
		"images":                  {"images/edits", model + image + image + image, 200},
		"a second model":          {"images/edits", model + image + image + model, 400},
		"ids of a video":          {"videos/edits", model + image + image + partOf(`name="video[id]"`, "video_x"), 400},
		"a file of a store":       {"vector_stores/vs_y/files", image + image + partOf(`name="file_id"`, "file-x"), 400},
		"a purpose":               {"uploads", image + image + partOf(`name="purpose"`, "batch"), 400},
		"a second model of sound": {"audio/transcriptions", model + image + image + partOf(`name="model"; filename="m"`, "o3"), 400},
		"only fields":             {"images/edits", model + partOf(`name="x"`, strings.Repeat("x", 2<<20)) + image, 400},
	} {
		complete = false
		res, text := d.send(t, "POST", "/v1/"+c.path, c.form+"--b--\r\n", "Api-Key", "y", "Content-Type", formOfB)
		if res.StatusCode != c.status || complete != (c.status == http.StatusOK) {
			t.Errorf("%s: %d %s, the backend got all of it: %t", name, res.StatusCode, text, complete)
		}
	}
}
