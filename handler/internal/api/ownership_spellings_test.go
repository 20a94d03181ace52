package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/consumer"
	"spillway/handler/internal/openai/operations"
)

// Families that no other table has: x's object, a list of them, and what makes one.
func TestPathsOfRareFamilies(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, row := range []string{
		"GET videos/video_x", "DELETE videos/video_x", "GET videos/video_x/content", "POST videos/video_x/remix", "GET videos/characters/video_x",
		"GET skills/skill_x", "POST skills/skill_x", "DELETE skills/skill_x", "GET skills/skill_x/content", "GET skills/skill_x/versions", "GET skills/skill_x/versions/1/content",
		"GET uploads/upload_x", "GET batches/batch_x/output", "POST fine_tuning/jobs/ftjob-x/copy", "GET fine_tuning/jobs/ftjob-x/checkpoints/ckpt_x",
	} {
		method, path, _ := strings.Cut(row, " ")
		d.refused(t, method, "/v1/"+path, "", "", 404)
		d.served(t, "x", method, "/v1/"+path, "", "")
	}
	for _, list := range []string{"videos", "videos/characters", "skills", "uploads", "fine_tuning", "fine_tuning/checkpoints", "fine_tuning/jobs"} {
		d.refused(t, "GET", "/v1/"+list, "", "", 403, 404)
		d.refused(t, "HEAD", "/v1/"+list, "", "", 403, 404)
		d.refused(t, "DELETE", "/v1/"+list, "", "", 403, 404)
	}
	for _, list := range []string{"files", "batches", "vector_stores", "containers", "evals", "openai/deployments/gpt-4o/batches"} {
		path := "/v1/" + list
		if strings.HasPrefix(list, "openai") {
			path = "/" + list + "?api-version=2024-10-21"
		}
		d.refused(t, "DELETE", path, "", "", 403)
		d.refused(t, "HEAD", path, "", "", 403)
	}
	// What administers, or opens a session beside the gateway.
	for _, path := range []string{
		"realtime/sessions", "realtime/client_secrets", "realtime/calls", "realtime/transcription_sessions", "chatkit/sessions", "organization/projects", "organization/admin_api_keys",
	} {
		d.refused(t, "POST", "/v1/"+path, `{"model":"gpt-4o"}`, "application/json", 403, 404)
		d.refused(t, "GET", "/v1/"+path, "", "", 403, 404)
	}
}

// No spelling of a path and no method leads to what is x's.
func TestSpellingsOfAPath(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, path := range []string{
		"/v1/files/file%2Dx", "/v1/files/file%252Dx", "/v1/files/file-x/", "/v1/files//file-x", "/v1//files/file-x", "/v1/files/file-y/../file-x", "/v1/files/file-y/%2e%2e/file-x",
		"/v1/files/%2e/file-x", "/v1/files/./file-x", "/v1/files/file-y%2F..%2Ffile-x", "/v1/files/file-x;a=b", "/v1/files;a=b/file-x", "/v1/files/file-x%3Fa", "/v1/files/file-x%00", "/v1/files/file-x%20",
		"/v1/files/FILE-X", "/V1/Files/file-x", "/openai/files/file-x?api-version=2025-04-01-preview", "/OPENAI/v1/FILES/file-x/content", "/openai/v1/files/file-x?api-version=preview",
		"/openai/deployments/gpt-4o/batches/batch_x?api-version=2024-10-21", "/openai/deployments/gpt-4o/batches/batch_x", "/openai/deployments/gpt-4o/files/file-x?api-version=2024-10-21",
		"/openai/deployments/gpt-4o/responses/resp_x?api-version=2024-10-21", "/openai/v1/openai/v1/files/file-x", "/anthropic/v1/files/file-x", "/models/files/file-x",
		"/v1/files/file-x?file_id=file-y", "/v1/vector_stores/vs_y/files/file-x", "/v1/vector_stores/vs_y/files/FILE-Y/../file-x",
	} {
		for _, method := range []string{"GET", "HEAD", "DELETE"} {
			d.refused(t, method, path, "", "", 404, 405)
		}
		for _, method := range []string{"OPTIONS", "PUT", "PATCH", "TRACE", "PROPFIND"} {
			d.refused(t, method, path, "", "", 404, 405, 501)
		}
	}
	for _, header := range [][]string{
		{"X-Http-Method-Override", "GET"},
		{"X-Method-Override", "GET"},
		{"X-Original-Url", "/v1/files/file-x"},
		{"X-Rewrite-Url", "/v1/files/file-x"},
		{"X-Forwarded-Prefix", "/v1/files/file-x"},
		{"X-Spillway-Consumer", "x"},
		{"Openai-Organization", "org-x"},
		{"X-Ms-Client-Principal-Name", "x"},
	} {
		before := d.sent
		res, text := d.send(t, "POST", "/v1/files/file-x", "", append([]string{"Api-Key", "y"}, header...)...)
		if res.StatusCode != http.StatusNotFound || d.sent != before {
			t.Errorf("%v: %d %s", header, res.StatusCode, text)
		}
	}
}

// No spelling of a query or a form does either.
func TestSpellingsOfAQueryAndAForm(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, query := range []string{
		"after=file-x", "AFTER=file-x", "After=file-x", "after=file-y&after=file-x", "after=file-x&after=file-y", "before=file-x", "order=asc;after=file-x", "limit=1&;after=file-x",
		"%61fter=file-x", "after=file%2Dx", "file_ids=file-y,file-x", "file_ids[]=file-y&file_ids[]=file-x", "File_Id=file-x", "x[file_id]=file-x", "cursor=file-x", "q=file-x", "af%74er=file-x",
		"starting_after=msg_x", "include[]=file-x", "conversation_id=conv_x", "fileId=file-x", "response-id=resp_x", "fileid=file-x",
		"after=file-unknown", "before=msg_unknown", "q=file-unknown", "after=vsfb_unknown", // as for what is another's
	} {
		d.refused(t, "GET", "/v1/vector_stores/vs_y/files?"+query, "", "", 404)
		d.refused(t, "POST", "/v1/responses?"+query, `{"model":"gpt-4o","input":"i"}`, "application/json", 404)
	}
	for _, query := range []string{"limit=20&order=desc", "after=file-y", "after=2", "filter=completed&include[]=a.b", "api-version=preview"} {
		d.served(t, "y", "GET", "/v1/vector_stores/vs_y/files?"+query, "", "")
	}
	part := func(disposition, value string) string {
		return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n"
	}
	for disposition, status := range map[string]int{
		`name="file_id"`: 404, `name="File_ID"`: 400, `name="file_id"; filename="a"`: 400, `name="image[File_Id]"`: 400, `name="FILE_IDS[]"`: 400, `name="image[file_id]"`: 404,
	} {
		d.refused(t, "POST", "/v1/containers/cntr_y/files", part(disposition, "file-x")+"--b--\r\n", "multipart/form-data; boundary=b", status)
	}
	line := `{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"model":"gpt-4o","previous_response_id":"resp_x"}}`
	for disposition, status := range map[string]int{`name="purpose"`: 404, `name="Purpose"`: 400, `name="PURPOSE"`: 400, `name="purpose"; filename="p"`: 400} {
		form := part(disposition, "batch") + part(`name="file"; filename="a.jsonl"`, line) + "--b--\r\n"
		d.refused(t, "POST", "/v1/files", form, "multipart/form-data; boundary=b", status)
	}
	d.refused(t, "POST", "/v1/files", part(`name="purpose"`, "evals")+part(`name="Purpose"`, "batch")+part(`name="file"; filename="a.jsonl"`, line)+"--b--\r\n", "multipart/form-data; boundary=b", 400)
}

// Members of the families that the table of bodies leaves out.
func TestBodiesOfRareFamilies(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, m := range []struct{ path, body, prefix string }{
		{"videos", `{"model":"gpt-4o","prompt":"p","characters":[{"id":%q}]}`, "video_"},
		{"videos", `{"model":"gpt-4o","prompt":"p","input_reference":{"file_id":%q}}`, "file-"},
		{"videos/edits", `{"prompt":"p","video":{"id":%q}}`, "video_"},
		{"videos/extensions", `{"prompt":"p","video":{"id":%q}}`, "video_"},
		{"videos/video_y/remix", `{"prompt":"p","video_id":%q}`, "video_"},
		{"evals", `{"testing_criteria":[{"type":"python","source":"x"}],"data_source_config":{"type":"custom","file_id":%q}}`, "file-"},
		{"responses", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_image","file_id":%q}]}]}`, "file-"},
		{"responses", `{"model":"gpt-4o","input":[{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","file_id":%q}}]}`, "file-"},
		{"responses", `{"model":"gpt-4o","tool_choice":{"type":"allowed_tools","tools":[{"type":"file_search","vector_store_ids":[%q]}]}}`, "vs_"},
		{"responses", `{"model":"gpt-4o","prompt":{"id":"pmpt_y","variables":{"a":{"type":"input_file","file_id":%q}}}}`, "file-"},
		{"chat/completions/chatcmpl-y", `{"metadata":{"a":"b"},"conversation_id":%q}`, "conv_"},
		{"conversations/conv_y", `{"metadata":{},"items":[{"id":%q}]}`, "msg_"},
		{"batches", `{"input_file_id":"file-y","error_file_id":%q}`, "file-"},
		{"vector_stores/vs_y/search", `{"query":"q","filters":{"file_ids":[%q]}}`, "file-"},
		{"skills", `{"name":"n","files":[{"file_id":%q}]}`, "file-"},
	} {
		d.served(t, "y", "POST", "/v1/"+m.path, fmt.Sprintf(m.body, m.prefix+"y"), "application/json")
		for _, id := range []string{m.prefix + "x", m.prefix + "unknown"} {
			d.refused(t, "POST", "/v1/"+m.path, fmt.Sprintf(m.body, id), "application/json", 404)
		}
	}
	d.made("y", operations.KindFile, "file-z")
	for _, contentType := range []string{"application/x-www-form-urlencoded", "text/plain", "application/merge-patch+json", "multipart/mixed; boundary=b", ""} {
		d.refused(t, "POST", "/v1/vector_stores", `{"file_ids":["file-x"]}`, contentType, 400, 404)
		d.refused(t, "POST", "/v1/vector_stores", "file_ids=file-x", contentType, 400)
	}
}

// Requests in a storage account, or behind a URL, are checked by nobody.
func TestFilesThatNobodyChecks(t *testing.T) {
	d := newTenantsWithObjects(t)
	for _, body := range []string{
		`{"input_blob":"https://s.blob.core.windows.net/c/x.jsonl","endpoint":"/v1/responses"}`, `{"input_file_id":"file-y","output_folder":{"url":"https://s.blob.core.windows.net/c"}}`,
		`{"Input_Blob":"https://s.blob.core.windows.net/c/x.jsonl"}`, `{"input\u005fblob":"https://s.blob.core.windows.net/c/x.jsonl"}`, `{"inputBlob":"https://s.blob.core.windows.net/c/x.jsonl"}`,
	} {
		d.refused(t, "POST", "/v1/batches", body, "application/json", 403)
		d.refused(t, "POST", "/openai/deployments/gpt-4o/batches?api-version=2024-10-21", body, "application/json", 403)
	}
	d.refused(t, "POST", "/openai/files/import?api-version=2024-10-21", `{"purpose":"batch","filename":"a.jsonl","content_url":"https://s/a.jsonl"}`, "application/json", 403)
	d.served(t, "y", "POST", "/v1/batches", `{"input_file_id":"file-y","endpoint":"/v1/responses"}`, "application/json")

	for name, c := range map[string]*consumer.Consumer{
		"models": {Name: "only", Models: []string{"gpt-4o"}}, "maxRequestTokens": {Name: "only", MaxRequestTokens: 100},
		"reach": {Name: "only", Models: []string{"gpt-4o"}, Reach: []consumer.Reach{consumer.DataSources}}, "none": {Name: "only"},
	} {
		alone := newFenced(t, c, pools...)
		res, text := alone.send(t, "POST", "/v1/batches", `{"input_blob":"https://s.blob.core.windows.net/c/x.jsonl"}`, "Api-Key", "k", "Content-Type", "application/json")
		refused := res.StatusCode == http.StatusForbidden && alone.sent == 0
		if want := name == "models" || name == "maxRequestTokens"; refused != want {
			t.Errorf("one consumer with %s: %d %s", name, res.StatusCode, text)
		}
	}
}

// What a line of a file asks for is what its sender could ask for.
func TestLinesThatReachOthersThings(t *testing.T) {
	d := newTenantsWithObjects(t)
	upload := func(line string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n" + line + "\r\n--b--\r\n"
	}
	request := func(sources string) string {
		return `{"custom_id":"1","url":"/chat/completions","body":{"model":"gpt-4o","messages":[{"role":"user","content":"data_sources"}]` + sources + `}}`
	}
	for _, sources := range []string{
		`,"data_sources":[{"type":"azure_search","parameters":{"endpoint":"e"}}]`, `,"data\u005fsources":[{"type":"azure_search","parameters":{}}]`,
		`,"data_sources":[{"type":"azure_search","parameters":{"authentication":{"type":"system_assigned_managed_identity"}}}]`,
	} {
		d.refused(t, "POST", "/v1/files", upload(request(sources)), "multipart/form-data; boundary=b", 403)
	}
	for _, sources := range []string{``, `,"data_sources":null`, `,"data_sources":[{"type":"azure_search","parameters":{"authentication":{"type":"api_key","key":"k"}}}]`} {
		d.served(t, "y", "POST", "/v1/files", upload(request(sources)), "multipart/form-data; boundary=b")
	}
}
