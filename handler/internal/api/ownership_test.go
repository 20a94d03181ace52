package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

// paths is every path below an object, by family.
var paths = []string{
	"GET responses/resp_x", "GET responses/resp_x/input_items", "POST responses/resp_x/cancel", "DELETE responses/resp_x",
	"GET conversations/conv_x", "POST conversations/conv_x", "DELETE conversations/conv_x", "GET conversations/conv_x/items",
	"POST conversations/conv_x/items", "GET conversations/conv_x/items/msg_x", "DELETE conversations/conv_x/items/msg_x",
	"GET chat/completions/chatcmpl-x", "GET chat/completions/chatcmpl-x/messages", "POST chat/completions/chatcmpl-x", "DELETE chat/completions/chatcmpl-x",
	"GET files/file-x", "GET files/file-x/content", "DELETE files/file-x",
	"POST uploads/upload_x/parts", "POST uploads/upload_x/complete", "POST uploads/upload_x/cancel",
	"GET batches/batch_x", "POST batches/batch_x/cancel",
	"GET vector_stores/vs_x", "POST vector_stores/vs_x", "DELETE vector_stores/vs_x", "POST vector_stores/vs_x/search", "GET vector_stores/vs_x/files",
	"POST vector_stores/vs_x/files", "GET vector_stores/vs_x/files/file-x", "GET vector_stores/vs_x/files/file-x/content", "DELETE vector_stores/vs_x/files/file-x",
	"POST vector_stores/vs_x/file_batches", "GET vector_stores/vs_x/file_batches/vsfb_x", "POST vector_stores/vs_x/file_batches/vsfb_x/cancel",
	"GET containers/cntr_x", "DELETE containers/cntr_x", "GET containers/cntr_x/files", "POST containers/cntr_x/files",
	"GET containers/cntr_x/files/cfile_x", "GET containers/cntr_x/files/cfile_x/content", "DELETE containers/cntr_x/files/cfile_x",
	"GET fine_tuning/jobs/ftjob-x", "POST fine_tuning/jobs/ftjob-x/cancel", "GET fine_tuning/jobs/ftjob-x/events", "GET fine_tuning/jobs/ftjob-x/checkpoints",
	"POST fine_tuning/jobs/ftjob-x/pause", "POST fine_tuning/jobs/ftjob-x/resume", "GET fine_tuning/checkpoints/ckpt_x/permissions",
	"POST fine_tuning/checkpoints/ckpt_x/permissions", "DELETE fine_tuning/checkpoints/ckpt_x/permissions/perm_x",
	"GET evals/eval_x", "POST evals/eval_x", "DELETE evals/eval_x", "GET evals/eval_x/runs", "POST evals/eval_x/runs", "GET evals/eval_x/runs/run_x",
	"POST evals/eval_x/runs/run_x", "DELETE evals/eval_x/runs/run_x", "GET evals/eval_x/runs/run_x/output_items", "GET evals/eval_x/runs/run_x/output_items/out_x",
}

var familyBases = []struct{ base, query string }{{"/openai/v1/", ""}, {"/v1/", ""}, {"/openai/", "?api-version=2025-04-01-preview"}, {"/OpenAI//V1/", ""}}

func TestPathsOfAnotherConsumersObjects(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, row := range paths {
		method, path, _ := strings.Cut(row, " ")
		for _, family := range familyBases {
			if strings.HasPrefix(path, "chat/") && family.query != "" {
				continue
			}
			d.refused(t, method, family.base+path+family.query, "", "", 404)
			unknown := strings.ReplaceAll(path, "x", "unknown")
			d.refused(t, method, family.base+strings.Replace(path, strings.Split(path, "/")[1], strings.Split(unknown, "/")[1], 1)+family.query, "", "", 404)
		}
		d.served(t, "x", method, "/openai/v1/"+path, "", "")
	}
	// Escaped, with a slash too many, in another case of the fixed segments.
	for _, path := range []string{"/v1/files/file%2Dx", "/v1//files//file-x/", "/V1/FILES/file-x/content", "/v1/responses/resp%5Fx"} {
		d.refused(t, "GET", path, "", "", 404)
	}
	// Another's object below an own one.
	for _, path := range []string{
		"/v1/conversations/conv_y/items/msg_x", "/v1/vector_stores/vs_y/files/file-x", "/v1/vector_stores/vs_y/files/file-x/content",
		"/v1/containers/cntr_y/files/file-x",
	} {
		d.refused(t, "GET", path, "", "", 404)
	}
}

func TestObjectsOfAnotherKind(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, path := range []string{"files/resp_y", "files/batch_y/content", "batches/file-y", "vector_stores/cntr_y", "responses/file-y", "evals/vs_y", "containers/conv_y"} {
		d.refused(t, "GET", "/v1/"+path, "", "", 404)
	}
}

func TestListsOfWhatOthersMade(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, list := range []string{"files", "batches", "vector_stores", "containers", "fine_tuning/jobs", "evals", "chat/completions", "responses", "conversations", "uploads"} {
		for _, family := range familyBases {
			d.refused(t, "GET", family.base+list+family.query, "", "", 403, 404, 405)
			d.refused(t, "GET", family.base+list+"?limit=1&after=file-x", "", "", 403, 404, 405)
		}
	}
	for _, list := range []string{"conversations/conv_y/items", "vector_stores/vs_y/files", "containers/cntr_y/files", "evals/eval_y/runs", "fine_tuning/jobs/ftjob-y/events"} {
		d.served(t, "y", "GET", "/v1/"+list, "", "")
		d.refused(t, "GET", "/v1/"+list+"?after=file-x", "", "", 404)
	}
}

// members is every member of a body that names an object: %s is its value, a list
// where the member takes one.
var members = []struct {
	path, body string
	kind       operations.Kind
}{
	{"responses", `{"model":"gpt-4o","previous_response_id":%s}`, operations.KindResponse},
	{"responses", `{"model":"gpt-4o","conversation":%s}`, operations.KindConversation},
	{"responses", `{"model":"gpt-4o","conversation":{"id":%s}}`, operations.KindConversation},
	{"responses", `{"model":"gpt-4o","input":[{"type":"item_reference","id":%s}]}`, operations.KindItem},
	{"responses", `{"model":"gpt-4o","input":[{"id":%s}]}`, operations.KindItem},
	{"responses", `{"model":"gpt-4o","input":"i","instructions":[{"id":%s}]}`, operations.KindItem},
	{"responses", `{"model":"gpt-4o","input":[{"id":%s,"role":"user"}]}`, operations.KindItem},
	{"responses", `{"model":"gpt-4o","input":[{"id":%s,"type":"message"}]}`, operations.KindItem},
	{"responses", `{"model":"gpt-4o","input":[{"id":%s,"type":"message","role":"user","content":"hi"}]}`, operations.KindItem},
	{"responses", `{"model":"gpt-4o","input":{"id":%s}}`, operations.KindItem},
	{"responses", `{"model":"gpt-4o","input":[{"type":"reasoning","encrypted_content":"e","summary":[]},{"type":"item_reference","id":%s}]}`, operations.KindItem},
	{"responses", `{"model":"gpt-4o","input":[{"type":"mcp_approval_response","approve":true,"approval_request_id":%s}]}`, operations.KindItem},
	{"responses", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_file","file_id":%s}]}]}`, operations.KindFile},
	{"responses", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_image","file_id":%s}]}]}`, operations.KindFile},
	{"responses", `{"model":"gpt-4o","input":[{"type":"code_interpreter_call","code":"1","container_id":%s}]}`, operations.KindContainer},
	{"responses", `{"model":"gpt-4o","tools":[{"type":"file_search","vector_store_ids":[%s]}]}`, operations.KindVectorStore},
	{"responses", `{"model":"gpt-4o","tools":[{"type":"code_interpreter","container":%s}]}`, operations.KindContainer},
	{"responses", `{"model":"gpt-4o","tools":[{"type":"code_interpreter","container":{"id":%s}}]}`, operations.KindContainer},
	{"responses", `{"model":"gpt-4o","tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":[%s]}}]}`, operations.KindFile},
	{"responses", `{"model":"gpt-4o","tools":[{"type":"shell","environment":{"type":"container_reference","container_id":%s}}]}`, operations.KindContainer},
	{"responses", `{"model":"gpt-4o","tools":[{"type":"shell","environment":{"skills":[{"type":"skill_reference","skill_id":%s}]}}]}`, operations.KindSkill},
	{"responses", `{"model":"gpt-4o","tools":[{"type":"image_generation","input_image_mask":{"file_id":%s}}]}`, operations.KindFile},
	{"responses", `{"model":"gpt-4o","prompt":{"id":%s,"version":"1"}}`, operations.KindPrompt},
	{"responses", `{"model":"gpt-4o","prompt":{"variables":{"metadata":{"type":"input_file","file_id":%s}}}}`, operations.KindFile},
	{"responses/compact", `{"model":"gpt-4o","previous_response_id":%s}`, operations.KindResponse},
	{"responses/input_tokens", `{"model":"gpt-4o","conversation":%s}`, operations.KindConversation},
	{"conversations", `{"items":[{"type":"item_reference","id":%s}]}`, operations.KindItem},
	{"conversations/conv_y/items", `{"items":[{"type":"message","role":"user","content":[{"type":"input_file","file_id":%s}]}]}`, operations.KindFile},
	{"conversations/conv_y/items", `{"items":[{"id":%s}]}`, operations.KindItem},
	{"chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":%s}}]}]}`, operations.KindFile},
	{"chat/completions", `{"model":"gpt-4o","messages":[{"role":"assistant","audio":{"id":%s}}]}`, operations.KindAudio},
	{"uploads/upload_y/complete", `{"part_ids":[%s]}`, operations.KindPart},
	{"batches", `{"input_file_id":%s,"endpoint":"/v1/chat/completions","completion_window":"24h"}`, operations.KindFile},
	{"vector_stores", `{"file_ids":[%s]}`, operations.KindFile},
	{"vector_stores/vs_y/files", `{"file_id":%s}`, operations.KindFile},
	{"vector_stores/vs_y/file_batches", `{"file_ids":[%s]}`, operations.KindFile},
	{"vector_stores/vs_y/file_batches", `{"files":[{"file_id":%s}]}`, operations.KindFile},
	{"containers", `{"name":"n","file_ids":[%s]}`, operations.KindFile},
	{"containers", `{"name":"n","skills":[{"skill_id":%s}]}`, operations.KindSkill},
	{"containers/cntr_y/files", `{"file_id":%s}`, operations.KindFile},
	{"fine_tuning/jobs", `{"model":"gpt-4o","training_file":%s}`, operations.KindDataFile},
	{"fine_tuning/jobs", `{"model":"gpt-4o","training_file":"file-d-y","validation_file":%s}`, operations.KindDataFile},
	{"evals/eval_y/runs", `{"data_source":{"type":"jsonl","source":{"type":"file_id","id":%s}}}`, operations.KindDataFile},
	{"evals/eval_y/runs", `{"data_source":{"type":"completions","source":{"type":"file_id","id":%s},"input_messages":{"type":"template","template":[]}}}`, operations.KindDataFile},
	{"images/generations", `{"model":"gpt-4o","prompt":"p","images":[{"file_id":%s}]}`, operations.KindFile},
	{"audio/speech", `{"model":"gpt-4o","input":"i","voice":{"id":%s}}`, operations.KindVoice},
}

func TestBodiesThatNameAnotherConsumersObjects(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, m := range members {
		theirs, own := objects[m.kind], strings.TrimSuffix(objects[m.kind], "x")+"y"
		path := "/openai/v1/" + m.path
		body := func(value string) string { return fmt.Sprintf(m.body, value) }
		quoted := func(id string) string { return `"` + id + `"` }
		d.served(t, "y", "POST", path, body(quoted(own)), "application/json")
		if !strings.Contains(m.body, `"content":"hi"`) && !strings.Contains(m.body, "_call") { // an id of the caller's, or a container that has gone
			d.refused(t, "POST", path, body(`"unknown_1"`), "application/json", 404)
		}
		for name, hostile := range map[string]string{
			"plain":             body(quoted(theirs)),
			"escaped value":     body(`"\u00` + fmt.Sprintf("%02x", theirs[0]) + theirs[1:] + `"`),
			"escaped names":     strings.NewReplacer(`_id"`, `\u005fid"`, `"id"`, `"\u0069d"`, `"file_ids"`, `"file\u005fids"`, `"conversation"`, `"conversatio\u006e"`, `"container"`, `"c\u006fntainer"`, `"training_file"`, `"training\u005ffile"`).Replace(body(quoted(theirs))),
			"first":             strings.Replace(body(quoted(theirs)), "{", `{"k1":{"file_id":"file-y"},`, 1),
			"last":              body(quoted(own))[:len(body(quoted(own)))-1] + `,"zz":` + body(quoted(theirs)) + `}`,
			"deep":              body(quoted(own))[:len(body(quoted(own)))-1] + `,"zz":` + strings.Repeat(`[{"k":`, 40) + body(quoted(theirs)) + strings.Repeat(`}]`, 40) + `}`,
			"another type":      body(quoted(theirs)),
			"own and another's": strings.Replace(body(quoted(own)), "{", `{"aa":`+body(quoted(theirs))+`,`, 1),
		} {
			contentType := "application/json"
			if name == "another type" && !strings.HasPrefix(m.path, "images") {
				contentType = "text/plain"
			}
			d.refused(t, "POST", path, hostile, contentType, 404)
		}
		if strings.Contains(m.body, "[%s]") {
			d.refused(t, "POST", path, body(quoted(own)+","+quoted(theirs)), "application/json", 404)
			d.refused(t, "POST", path, body(quoted(theirs)+","+quoted(own)), "application/json", 404)
		}
		at := strings.Index(m.body, "%s")
		member := m.body[:at][strings.LastIndex(strings.TrimRight(m.body[:at], `[`)[:strings.LastIndex(m.body[:at], `":`)], `"`):]
		d.refused(t, "POST", path, strings.Replace(m.body, member+"%s", member+quoted(own)+strings.Repeat("]", strings.Count(member, "["))+","+member+"%s", 1)[:], "application/json", 400, 404)
	}
}

func TestFormsAndQueriesThatNameAnotherConsumersObjects(t *testing.T) {
	d := newTenantsWithObjects(t)
	form := func(fields ...string) (body, contentType string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for i := 0; i < len(fields); i += 2 {
			_ = w.WriteField(fields[i], fields[i+1])
		}
		_ = w.Close()
		return b.String(), w.FormDataContentType()
	}
	for _, fields := range [][]string{
		{"file_id", "file-x"}, {"file_ids[]", "file-x"}, {"name", "n", "file_ids", "file-y", "file_ids", "file-x"}, {"image[file_id]", "file-x"}, {"images[0][file_id]", "file-x"},
	} {
		body, contentType := form(fields...)
		d.refused(t, "POST", "/v1/containers/cntr_y/files", body, contentType, 404)
		d.refused(t, "POST", "/v1/images/edits", strings.Replace(body, "--"+contentType[len("multipart/form-data; boundary="):], "--"+contentType[len("multipart/form-data; boundary="):]+"\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-4o\r\n--"+contentType[len("multipart/form-data; boundary="):], 1), contentType, 404)
	}
	body, contentType := form("file_id", "file-y")
	d.served(t, "y", "POST", "/v1/containers/cntr_y/files", body, contentType)
	d.refused(t, "POST", "/v1/containers/cntr_y/files", "no form at all", contentType, 400)
	for _, query := range []string{"after=msg_x", "before=msg_x", "file_id=file-x", "a=1&container_id=cntr_x", "file%5Fid=file-x"} {
		d.refused(t, "GET", "/v1/conversations/conv_y/items?"+query, "", "", 404)
	}
}

func TestObjectsInOneRequestAreBounded(t *testing.T) {
	d := newTenantsWithObjects(t)
	ids := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("file-own-%d", i)
			d.made("y", operations.KindFile, list[i])
		}
		text, _ := json.Marshal(list)
		return `"file_ids":` + string(text) + `}`
	}
	const tool = `{"model":"gpt-4o","input":"i","tools":[{"type":"code_interpreter","container":{"type":"auto",`
	d.served(t, "y", "POST", "/v1/responses", tool+ids(64)+`}]}`, "application/json")
	d.refused(t, "POST", "/v1/responses", tool+ids(65)+`}]}`, "application/json", 400)
	// The service takes 2,000 files at once for a vector store.
	d.served(t, "y", "POST", "/v1/vector_stores/vs_y/file_batches", `{`+ids(1999), "application/json")
	d.refused(t, "POST", "/v1/vector_stores", `{`+ids(2001), "application/json", 400)
}

func TestRetiredOperations(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, path := range []string{"assistants", "assistants/asst_1", "threads", "threads/thread_1/runs", "threads/thread_1/messages"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			d.refused(t, method, "/v1/"+path, "", "", 410)
			d.refused(t, method, "/openai/"+path+"?api-version=2024-05-01-preview", "", "", 410)
		}
	}
	if _, text := d.send(t, "POST", "/v1/assistants", "{}"); !strings.Contains(text, "/responses") {
		t.Errorf("%s does not say what to use", text)
	}
}

// One consumer alone: unknown ids are sought, and lists are served.
func TestOneConsumerReachesWhatItDidNotMakeHere(t *testing.T) {
	d := newTenants(t)
	d.StrictIDs = false
	for _, row := range paths {
		method, path, _ := strings.Cut(row, " ")
		res, text := d.send(t, method, "/openai/v1/"+path, "", "Api-Key", "x")
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", row, res.StatusCode, text)
		}
	}
	for _, list := range []string{"files", "batches", "vector_stores", "containers", "fine_tuning/jobs", "evals"} {
		d.served(t, "x", "GET", "/v1/"+list, "", "")
	}
	d.served(t, "x", "POST", "/v1/containers", `{"file_ids":["file-elsewhere"]}`, "application/json")
}

// What an answer says the service made is its caller's, before the caller has it.
func TestObjectsInAnAnswerAreItsCallers(t *testing.T) {
	d := newTenants(t)
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		d.sent++
		return serve(ctx, pools, deliver)
	}
	d.Relay = recording{d.gateway, []operations.Object{{Kind: operations.KindFile, ID: "file-new"}, {Kind: operations.KindItem, ID: "msg_new"}}}
	d.served(t, "x", "POST", "/v1/files", "", "")
	d.served(t, "x", "GET", "/v1/files/file-new", "", "")
	d.refused(t, "GET", "/v1/files/file-new", "", "", 404)
	// An answer to y that repeats the ids does not make them y's.
	d.made("y", operations.KindFile, "file-y")
	d.served(t, "y", "GET", "/v1/files/file-y", "", "")
	d.refused(t, "GET", "/v1/files/file-new", "", "", 404)
	d.refused(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"item_reference","id":"msg_new"}]}`, "", 404)
}

func TestReachWithoutAnIDIsRefused(t *testing.T) {
	d := newTenantsWithObjects(t)
	source := func(authentication string) string {
		return `{"model":"gpt-4o","messages":[],"data_sources":[{"type":"azure_search","parameters":{"endpoint":"e"` + authentication + `}}]}`
	}
	const key = `,"authentication":{"type":"api_key","key":"k"}`
	for _, own := range []string{
		key, `,"authentication":{"type":"access_token","access_token":"t"}`, key + `,"embedding_dependency":{"type":"deployment_name","deployment_name":"gpt-4o"}`,
		key + `,"embedding_dependency":{"type":"endpoint","endpoint":"e","authentication":{"type":"api_key","key":"k"}}`, key + `,"embedding_dependency":null`,
	} {
		d.served(t, "y", "POST", "/v1/chat/completions", source(own), "application/json")
	}
	for _, theirs := range []string{
		``, `,"authentication":null`, `,"authentication":{"type":"system_assigned_managed_identity"}`, `,"authentication":{"t\u0079pe":"user_assigned_managed_identity"}`,
		`,"authentication":{"Type":"api_key"}`, `,"Authentication":{"type":"api_key"}`,
		key + `,"embedding_dependency":{"type":"endpoint","endpoint":"e","authentication":{"type":"system_assigned_managed_identity"}}`,
		key + `,"embedding_dependency":{"type":"endpoint","endpoint":"e"}`, key + `,"embedding_dependency":{"type":"endpoint","endpoint":"e","authentication":null}`, key + `,"embedding_dependency":[]`,
		key + `,"embedding_dependency":{"type":"deployment_name","deployment_name":"gpt-4o","authentication":{"type":"user_assigned_managed_identity"}}`,
	} {
		d.refused(t, "POST", "/v1/chat/completions", source(theirs), "application/json", 400, 403)
	}
	d.refused(t, "POST", "/v1/chat/completions", source(`,"authentication":{"type":"api_key"},"authentication":{"type":"system_assigned_managed_identity"}`), "application/json", 400)
	for _, body := range []string{
		`{"data_source_config":{"type":"stored_completions"}}`, `{"data_source_config":{"type":"logs","metadata":{}}}`,
		`{"data_source":{"type":"completions","source":{"type":"stored_completions","metadata":{}}}}`,
		`{"data_source":{"type":"responses","source":{"type":"responses","instructions_search":"x"}}}`,
		`{"x":[[{"source":[{"type":"responses"}]}]]}`,
	} {
		d.refused(t, "POST", "/v1/evals", body, "application/json", 403)
		d.refused(t, "POST", "/v1/evals/eval_y/runs", body, "application/json", 403)
	}
	d.served(t, "y", "POST", "/v1/evals/eval_y/runs", `{"data_source":{"type":"responses","source":{"type":"file_id","id":"file-d-y"}}}`, "application/json")
}

func TestPromptCacheKeysAreAConsumersOwn(t *testing.T) {
	d := newTenants(t)
	keys := map[string]string{}
	d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		keys[r.Consumer.Name+r.Parsed.PromptCacheKey] = r.CacheKey
		return serve(ctx, pools, deliver)
	}
	long := strings.Repeat("k", 64)
	for _, owner := range []string{"x", "y"} {
		for _, key := range []string{"k", long, ""} {
			d.send(t, "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[],"prompt_cache_key":"`+key+`"}`, "Api-Key", owner)
		}
	}
	if keys["xk"] == keys["yk"] || !strings.HasSuffix(keys["xk"], "-k") || keys["x"+long] == keys["y"+long] || len(keys["x"+long]) > 64 || keys["x"] != "" {
		t.Errorf("keys at the backend: %q", keys)
	}
}

func TestFilesOfRequestsThatNameAnotherConsumersObjects(t *testing.T) {
	d := newTenantsWithObjects(t)
	upload := func(purpose, content string) (body, contentType string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		part, _ := w.CreateFormFile("file", "a.jsonl")
		_, _ = part.Write([]byte(content))
		_ = w.WriteField("purpose", purpose)
		_ = w.Close()
		return b.String(), w.FormDataContentType()
	}
	line := func(id string) string {
		return `{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"model":"gpt-4o","previous_response_id":"` + id + `"}}` + "\n"
	}
	for name, tt := range map[string]struct {
		purpose, content string
		status           int
	}{
		"own":                  {"batch", line("resp_y") + line("resp_y"), 200},
		"another's":            {"batch", line("resp_x"), 404},
		"last line":            {"batch", line("resp_y") + "\r\n" + strings.TrimSpace(line("resp_x")), 404},
		"unknown":              {"batch", line("resp_unknown"), 404},
		"not JSON":             {"batch", line("resp_y") + `{"a":}`, 400},
		"repeated":             {"batch", `{"body":{"conversation":{"id":"conv_y","id":"conv_x"}}}`, 400},
		"data with another's":  {"evals", `{"item":{"file_id":"file-x"}}`, 404},
		"data with an unknown": {"evals", `{"item":{"file_id":"file-0123456789abcdefghijklmn"}}`, 404},
		"a text for a model":   {"assistants", `{"item":{"file_id":"file-x"}}`, 200},
		"another's model":      {"batch", strings.Replace(line("resp_y"), "gpt-4o", "gpt-4o.ft-x", 1), 404},
		"a cache's key":        {"batch", strings.Replace(line("resp_y"), `"model"`, `"prompt_cache_key":"k","model"`, 1), 403},
		"data of the caller's": {"evals", `{"item":{"file_id":"17"}}`, 200},
		"prose":                {"assistants", "{ this is no JSON\nfile-x\n", 200},
	} {
		body, contentType := upload(tt.purpose, tt.content)
		if tt.status == http.StatusOK {
			d.served(t, "y", "POST", "/v1/files", body, contentType)
			continue
		}
		d.refused(t, "POST", "/v1/files", body, contentType, tt.status)
		if _, text := d.send(t, "POST", "/v1/files", body, "Api-Key", "y", "Content-Type", contentType); !strings.Contains(text, "Line ") {
			t.Errorf("%s: %s does not name the line", name, text)
		}
	}
}

// A request about an owned object names what it names: the base model of a
// fine-tuning job is no deployment, and one without a pool is the backend's to know.
func TestModelBesideAnOwnedObjectIsLeftAsItIs(t *testing.T) {
	for path, body := range map[string]string{
		"fine_tuning/jobs":  `{"model":"gpt-4o-mini","training_file":"file-1"}`,
		"evals/eval_1/runs": `{"model":"gpt-4o-mini","data_source":{"type":"jsonl","source":{"type":"file_id","id":"file-1"}}}`,
	} {
		d := newTenants(t)
		d.made("x", operations.KindDataFile, "file-1")
		d.made("x", operations.KindEval, "eval_1")
		renamed := "not sent"
		d.do = func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
			renamed = r.Parsed.Model
			return serve(ctx, pools, deliver)
		}
		if res, text := d.send(t, "POST", "/openai/v1/"+path, body, "Api-Key", "x"); res.StatusCode != http.StatusOK || renamed != "" {
			t.Errorf("%s: %d %s, the model %q is to become the deployment's", path, res.StatusCode, text, renamed)
		}
	}
}
