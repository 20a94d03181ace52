package classify

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"spillway/handler/internal/openai/operations"
)

func TestCreatedObjects(t *testing.T) {
	for _, c := range []struct{ operation, subpath, answer, want string }{
		{"responses", "", `{"id":"r","object":"response","output":[{"id":"i","type":"message"},{"id":"j","type":"code_interpreter_call","container_id":"c"}]}`, "response:r item:i item:j container:c"},
		{"responses", "", `{"type":"response.created","response":{"id":"r","output":[]}}`, "response:r"},
		{"responses", "", `{"type":"response.output_item.added","item":{"id":"i","type":"code_interpreter_call","container_id":"c"}}`, "item:i container:c"},
		{"responses", "", `{"id":"r","output":[{"id":"i","content":[{"annotations":[{"file_id":"f","container_id":"c","type":"container_file_citation"}]}],"type":"message"}]}`, "response:r item:i file:f container:c"},
		{"responses", "", `{"type":"response.output_text.annotation.added","annotation":{"type":"container_file_citation","file_id":"f","container_id":"c"}}`, "file:f container:c"},
		{"responses", "", `{"type":"response.content_part.done","part":{"annotations":[{"type":"file_path","file_id":"f","container_id":"x"},{"type":"file_citation","file_id":"x"},{"file_id":"x"}]}}`, "file:f"},
		{"responses", "", `{"id":"r","metadata":{"file_id":"x"},"tools":[{"vector_store_ids":["x"],"parameters":{"output":[{"id":"x"}],"file_id":"x","container_id":"x"}}],"input":[{"id":"x"}],"previous_response_id":"x"}`, "response:r"},
		{"responses", "", `{"id":"r","output":[{"id":"i","type":"file_search_call","results":[{"file_id":"x","attributes":{"file_id":"x"}}]}]}`, "response:r item:i"},
		{"responses", "", `{"id":"r","output":[{"id":"i","type":"shell_call","environment":{"container_id":"c"}}],"tools":[{"environment":{"container_id":"x"}}]}`, "response:r item:i container:c"},
		{"responses", "", `{"id":"r","output":[{"id":"i"},{"id":"ha`, "response:r item:i"},
		{"response", "r", `{"id":"r","output":[{"id":"i"}],"object":"response"}`, "response:r item:i"},
		{"response", "r/cancel", `{"object":"response","id":"r","output":[{"id":"i"}]}`, "item:i"},
		{"response", "r", `{"type":"response.completed","response":{"object":"response","id":"r","output":[{"id":"i"}]}}`, "response:r item:i"},
		{"response", "r/input_items", `{"object":"list","data":[{"id":"i"}],"first_id":"x"}`, "item:i"},
		{"response", "r/input_items", `{"data":[{"id":"i","type":"code_interpreter_call","container_id":"x","content":[{"annotations":[{"type":"container_file_citation","file_id":"x","container_id":"x"}]}],"results":[{"file_id":"x"}]}]}`, "item:i"},
		{"conversations", "c/items", `{"data":[{"id":"i","type":"message","container_id":"x","content":[{"annotations":[{"type":"container_file_citation","file_id":"x","container_id":"x"}]}]}]}`, "item:i"},
		{"conversations", "", `{"id":"c","object":"conversation","metadata":{"id":"x"}}`, "conversation:c"},
		{"conversation", "c/items", `{"object":"list","data":[{"id":"i","content":[{"file_id":"x"}]},{"id":"j"}]}`, "item:i item:j"},
		{"chat", "", `{"id":"chatcmpl-1","choices":[{"message":{"audio":{"id":"a"}}}]}`, "chat_completion:chatcmpl-1 audio:a"},
		{"chat", "", `{"id":"chatcmpl-1","choices":[{"delta":{"audio":{"id":"a"}}}]}`, "chat_completion:chatcmpl-1 audio:a"},
		{"files", "", `{"id":"f","object":"file"}`, "file:f"},
		{"files", "", `{"object":"list","data":[{"id":"x"}]}`, ""},
		{"uploads", "u/parts", `{"id":"p","upload_id":"u"}`, "upload_part:p"},
		{"uploads", "u/complete", `{"id":"u","file":{"id":"f"}}`, "file:f"},
		{"batches", "b", `{"id":"b","input_file_id":"x","output_file_id":"f","error_file_id":"g"}`, "file:f file:g"},
		{"batches", "", `{"id":"b","input_file_id":"x","errors":{"data":[{"id":"x"}]}}`, "batch:b"},
		{"fine-tuning", "jobs", `{"id":"j","result_files":["f"],"training_file":"x"}`, "fine_tuning_job:j file:f"},
		{"fine-tuning", "jobs/j", `{"id":"j","fine_tuned_model":"m.ft-1","metadata":{"fine_tuned_model":"x","fine_tuned_model_checkpoint":"x"}}`, "checkpoint:m.ft-1"},
		{"fine-tuning", "jobs/j/checkpoints", `{"data":[{"id":"k","fine_tuned_model_checkpoint":"m.ft-1:ckpt-step-7"}]}`, "listed:k checkpoint:m.ft-1:ckpt-step-7"},
		// What a caller wrote is told apart from what the service made.
		{"fine-tuning", "jobs", `{"id":"j","metadata":{"fine_tuned_model_checkpoint":"x"},"method":{"grader":{"fine_tuned_model_checkpoint":"x"}}}`, "fine_tuning_job:j"},
		{"responses", "", `{"id":"r","metadata":{"fine_tuned_model_checkpoint":"x","result_files":["x"]},"fine_tuned_model_checkpoint":"x"}`, "response:r"},
		{"compact", "", `{"id":"r","output":[{"id":"x","type":"message","role":"user"},{"id":"x","type":"compaction"},{"id":"c","type":"compaction","encrypted_content":"e"}]}`, "response:r item:c"},
		{"files", "f/content", `{"id":"x","response":{"id":"x"},"item":{"id":"x"},"output":[{"id":"x","container_id":"x"}],"output_file_id":"x","fine_tuned_model_checkpoint":"x","choices":[{"message":{"audio":{"id":"x"}}}]}`, ""},
		{"evals", "e", `{"id":"e","item":{"id":"x"},"output":[{"id":"x"}],"response":{"id":"x"}}`, ""},
		// Files that code made which the service ran, and nothing else that tools return.
		{"messages", "", `{"id":"m","container":{"id":"c"},"content":[{"type":"bash_code_execution_tool_result","content":{"type":"bash_code_execution_result","content":[{"file_id":"f"},{"file_id":"g"}]}},{"type":"text"}]}`, "message:m container:c file:f file:g"},
		{"messages", "", `{"type":"content_block_start","content_block":{"type":"code_execution_tool_result","content":{"content":[{"file_id":"f"}]}}}`, "file:f"},
		{"messages", "", `{"content":[{"type":"bash_code_execution_tool_result","content":{"type":"bash_code_execution_tool_result_error"}},{"type":"mcp_tool_result","content":{"content":[{"file_id":"x"}]}},{"type":"mcp_tool_result","content":[{"file_id":"x"}]},{"type":"container_upload","file_id":"x"}]}`, ""},
		{"messages", "", `{"type":"message_start","message":{"id":"m","content":[],"container":null}}`, "message:m"},
		{"messages", "", `{"type":"message_delta","delta":{"id":"x","container":{"id":"c"}},"usage":{"id":"x"}}`, "container:c"},
		{"chat", "", `{"id":"q","content":[{"type":"code_execution_tool_result","content":{"content":[{"file_id":"x"}]}}]}`, "chat_completion:q"},
		// What lies below an object can be named there.
		{"vector-stores", "v/files", `{"id":"f"}`, "listed:f"},
		{"vector-stores", "v/files", `{"object":"list","data":[{"id":"f"}]}`, "listed:f"},
		{"evals", "e/runs", `{"id":"n","data_source":{"source":{"content":[{"id":"x"}]}}}`, "listed:n"},
		{"evals", "e/runs/n/output_items", `{"data":[{"id":"o","datasource_item":{"id":"x"}}]}`, "listed:o"},
		{"containers", "c/Files", `{"data":[{"id":"f"}]}`, "listed:f"},
		{"files", "f", `{"id":"f","data":[{"id":"x"}]}`, ""},
		{"evals", "", `{"id":"e","data_source_config":{"item":{"id":"x"},"output":[{"id":"x"}]}}`, "eval:e"},
	} {
		var got []string
		for _, o := range Created(operations.ByName(c.operation), c.subpath, []byte(c.answer)) {
			got = append(got, string(o.Kind)+":"+o.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s %s: %q, want %q", c.operation, c.answer, strings.Join(got, " "), c.want)
		}
	}
}

// What an answer repeats, others wrote: callers, models, and those whose tools were called.
func TestWhatAnAnswerRepeatsIsNotMadeByIt(t *testing.T) {
	const cited = `"content":[{"type":"output_text","annotations":[{"type":"container_file_citation","container_id":"x","file_id":"x"},{"type":"file_path","file_id":"x"}]}]`
	for _, item := range []string{
		`{"type":"message","role":"assistant","id":"x",` + cited + `}`,
		`{"type":"code_interpreter_call","id":"x","container_id":"x"}`,
		`{"type":"shell_call","id":"x","environment":{"type":"container_reference","container_id":"x"}}`,
		`{"type":"function_call","id":"x"}`, `{"id":"x",` + cited + `}`,
	} {
		body := `{"id":"r","output":[` + item + `,{"type":"compaction","id":"c"}],"object":"response.compaction"}`
		if got := Created(operations.ByName("compact"), "", []byte(body)); len(got) != 2 || got[1].ID != "c" {
			t.Errorf("compacted %s: %v", item, got)
		}
		for answer, want := range map[string]int{body: 1, strings.Replace(body, ".compaction", ".other", 1): 1, strings.Replace(body, `,"object":"response.compaction"`, "", 1): 1} {
			if got := Created(operations.ByName("response"), "r", []byte(answer)); len(got) != want || got[0].ID != "r" {
				t.Errorf("%s: %v", answer, got)
			}
		}
		for cut := range len(body) {
			for _, o := range Created(operations.ByName("response"), "r", []byte(body[:cut])) {
				if o.ID != "r" {
					t.Errorf("cut at %d: %v", cut, o)
				}
			}
		}
	}
	const ids = `"container_id":"x","file_id":"x","id":"x","environment":{"container_id":"x"},"container":{"id":"x"},` + cited
	for _, item := range []string{
		`{"type":"openapi_call_output","output":{` + ids + `}}`, `{"type":"openapi_call_output","output":[{` + ids + `}]}`,
		`{"type":"mcp_call","output":[{"type":"text",` + ids + `}],"error":{` + ids + `},"content":[{"annotations":[{"type":"container_file_citation","file_id":"x"}]}]}`,
		`{"type":"mcp_list_tools","tools":[{"input_schema":{` + ids + `},"annotations":[{` + ids + `}]}]}`,
		`{"type":"function_call","container_id":"x","environment":{"container_id":"x"}}`, `{"type":"mcp_call","container_id":"x","file_id":"x"}`,
		`{"type":"structured_outputs","output":[{` + ids + `}]}`, `{"type":"shell_call_output","output":[{` + ids + `}],"environment":{"container_id":"x"}}`,
		`{"type":"message","content":[{"text":"t","logprobs":[{` + ids + `}],"container_id":"x","file_id":"x"}]}`,
		`{"type":"tool_search_output","tools":[{` + ids + `}]}`, `{"type":"apply_patch_call","operation":{` + ids + `}}`,
		`{"type":"web_search_call","action":{"sources":[{` + ids + `}]},"results":[{` + ids + `}]}`, `{"type":"message","content":[[{"annotations":[[{"type":"file_path","file_id":"x"}]]}]]}`,
	} {
		for _, answer := range []string{`{"id":"r","output":[` + item + `]}`, `{"type":"response.completed","response":{"id":"r","output":[` + item + `]}}`, `{"type":"response.output_item.done","item":` + item + `}`} {
			for _, o := range Created(operations.ByName("responses"), "", []byte(answer)) {
				if o.ID == "x" {
					t.Errorf("%s: %v", answer, o)
				}
			}
		}
	}
}

// Each published request that makes an object makes one of a kind that can be named
// afterwards, and no other does.
func TestPublishedRequestsMakeObjects(t *testing.T) {
	text, err := os.ReadFile("../../api/testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]operations.Kind{
		"/batches": operations.KindBatch, "/chat/completions/{}": operations.KindChat, "/containers": operations.KindContainer, "/containers/{}/files": operations.KindListed,
		"/conversations": operations.KindConversation, "/conversations/{}": operations.KindConversation, "/conversations/{}/items": "",
		"/evals": operations.KindEval, "/evals/{}": "", "/evals/{}/runs": operations.KindListed, "/evals/{}/runs/{}": "", "/files": operations.KindFile,
		"/fine_tuning/jobs": operations.KindTuningJob, "/skills": operations.KindSkill, "/skills/{}": "", "/skills/{}/versions": operations.KindListed,
		"/uploads": operations.KindUpload, "/uploads/{}/parts": operations.KindPart,
		"/vector_stores": operations.KindVectorStore, "/vector_stores/{}": "", "/vector_stores/{}/files": operations.KindListed, "/vector_stores/{}/files/{}": "",
		"/vector_stores/{}/file_batches": operations.KindListed,
		"/videos":                        operations.KindVideo, "/videos/characters": operations.KindVideo, "/videos/edits": operations.KindVideo, "/videos/extensions": operations.KindVideo,
		"/videos/{}/remix": operations.KindVideo,
	}
	// These act on the object, and answer with it, or with what is no object.
	acts := []string{"cancel", "complete", "copy", "pause", "permissions", "resume", "run", "search", "validate"}
	names := map[string]string{"chat": "stored-chat", "fine_tuning": "fine-tuning", "vector_stores": "vector-stores", "responses": "response"}
	parameter := regexp.MustCompile(`\{[a-z_]+\}`)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[1] != "POST" || fields[0] != "pinned" && fields[0] != "maker" {
			continue
		}
		path := parameter.ReplaceAllString(fields[2], "{}")
		want, known := made[path]
		if !known && !slices.Contains(acts, path[strings.LastIndexByte(path, '/')+1:]) {
			t.Errorf("%s: what does it make?", path)
		}
		if path == "/fine_tuning/alpha/graders/run" || path == "/fine_tuning/alpha/graders/validate" {
			continue // their answers have no id
		}
		first := strings.Split(path, "/")[1]
		name := cmp.Or(names[first], first)
		if name == "conversations" && path != "/conversations" {
			name = "conversation"
		}
		o := operations.ByName(name)
		subpath := strings.TrimPrefix(strings.TrimPrefix(path, "/"+o.Path), "/")
		got := Created(o, strings.ReplaceAll(subpath, "{}", "id_1"), []byte(`{"id":"new"}`))
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || got[0].Kind != want) {
			t.Errorf("%s: %v, want %q", path, got, want)
		}
	}
}

func TestCreatedObjectsOfAnAnswerThatIsCutOff(t *testing.T) {
	const answer = `{"id":"resp_1","output":[{"id":"rs_1","type":"reasoning","summary":[]},{"type":"message","id":"msg_1","content":[{"text":"x","id":"no"}]},{"type":"odd"}],"usage":null}`
	for cut := range len(answer) {
		for i, o := range Created(operations.ByName("responses"), "", []byte(answer[:cut])) {
			if want := []string{"resp_1", "rs_1", "msg_1"}[i]; o.ID != want {
				t.Errorf("cut at %d: %q, want %q", cut, o.ID, want)
			}
		}
	}
	if n := len(Created(operations.ByName("responses"), "", []byte(answer[:len(answer)-20]))); n != 3 {
		t.Errorf("%d objects before the cut, want 3", n)
	}
}
