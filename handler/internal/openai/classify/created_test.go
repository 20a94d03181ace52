package classify

import (
	"strings"
	"testing"

	"spillway/handler/internal/openai/operations"
)

func TestCreatedObjects(t *testing.T) {
	for _, c := range []struct{ operation, subpath, answer, want string }{
		{"responses", "", `{"id":"r","object":"response","output":[{"id":"i","type":"message"},{"id":"j","container_id":"c"}]}`, "item:i container:c item:j response:r"},
		{"responses", "", `{"type":"response.created","response":{"id":"r","output":[]}}`, "response:r"},
		{"responses", "", `{"type":"response.output_item.added","item":{"id":"i","type":"code_interpreter_call","container_id":"c"}}`, "container:c item:i"},
		{"responses", "", `{"id":"r","output":[{"id":"i","content":[{"annotations":[{"file_id":"f","container_id":"c"}]}]}]}`, "file:f container:c item:i response:r"},
		{"responses", "", `{"id":"r","metadata":{"file_id":"x"},"tools":[{"vector_store_ids":["x"],"parameters":{"output":[{"id":"x"}],"file_id":"x","container_id":"x"}}],"input":[{"id":"x"}],"previous_response_id":"x"}`, "response:r"},
		{"responses", "", `{"id":"r","output":[{"id":"i","results":[{"file_id":"x","attributes":{"file_id":"x"}}]}]}`, "item:i response:r"},
		{"responses", "", `{"id":"r","output":[{"id":"i","type":"shell_call","environment":{"container_id":"c"}}],"tools":[{"environment":{"container_id":"x"}}]}`, "container:c item:i response:r"},
		{"responses", "", `{"id":"r","output":[{"id":"i","type":"web_search_call","results":[{"file_id":"x","container_id":"x","annotations":[{"file_id":"x"}]}]}]}`, "item:i response:r"},
		{"responses", "", `{"id":"r","output":[{"id":"i"},{"id":"ha`, "item:i"},
		{"response", "r", `{"id":"r","output":[{"id":"i"}]}`, "item:i response:r"},
		{"response", "r/input_items", `{"object":"list","data":[{"id":"i"}],"first_id":"x"}`, "item:i"},
		{"response", "r/input_items", `{"data":[{"id":"i","container_id":"x","content":[{"annotations":[{"file_id":"x","container_id":"x"}]}],"results":[{"file_id":"x"}]}]}`, "item:i"},
		{"conversations", "c/items", `{"data":[{"id":"i","container_id":"x","content":[{"annotations":[{"file_id":"x","container_id":"x"}]}]}]}`, "item:i"},
		{"conversations", "", `{"id":"c","object":"conversation","metadata":{"id":"x"}}`, "conversation:c"},
		{"conversation", "c/items", `{"object":"list","data":[{"id":"i","content":[{"file_id":"x"}]},{"id":"j"}]}`, "item:i item:j"},
		{"chat", "", `{"id":"chatcmpl-1","choices":[{"message":{"audio":{"id":"a"}}}]}`, "audio:a chat_completion:chatcmpl-1"},
		{"chat", "", `{"id":"chatcmpl-1","choices":[{"delta":{"audio":{"id":"a"}}}]}`, "audio:a chat_completion:chatcmpl-1"},
		{"files", "", `{"id":"f","object":"file"}`, "file:f"},
		{"files", "", `{"object":"list","data":[{"id":"x"}]}`, ""},
		{"uploads", "u/parts", `{"id":"p","upload_id":"u"}`, "upload_part:p"},
		{"uploads", "u/complete", `{"id":"u","file":{"id":"f"}}`, "file:f"},
		{"batches", "b", `{"id":"b","input_file_id":"x","output_file_id":"f","error_file_id":"g"}`, "file:f file:g"},
		{"batches", "", `{"id":"b","input_file_id":"x","errors":{"data":[{"id":"x"}]}}`, "batch:b"},
		{"fine-tuning", "jobs", `{"id":"j","result_files":["f"],"training_file":"x"}`, "file:f fine_tuning_job:j"},
		{"fine-tuning", "jobs/j", `{"id":"j","fine_tuned_model":"m.ft-1","metadata":{"fine_tuned_model":"x","fine_tuned_model_checkpoint":"x"}}`, "checkpoint:m.ft-1"},
		{"fine-tuning", "jobs/j/checkpoints", `{"data":[{"id":"k","fine_tuned_model_checkpoint":"m.ft-1:ckpt-step-7"}]}`, "checkpoint:m.ft-1:ckpt-step-7 listed:k"},
		// What a caller wrote is told apart from what the service made.
		{"fine-tuning", "jobs", `{"id":"j","metadata":{"fine_tuned_model_checkpoint":"x"},"method":{"grader":{"fine_tuned_model_checkpoint":"x"}}}`, "fine_tuning_job:j"},
		{"responses", "", `{"id":"r","metadata":{"fine_tuned_model_checkpoint":"x","result_files":["x"]},"fine_tuned_model_checkpoint":"x"}`, "response:r"},
		{"compact", "", `{"id":"r","output":[{"id":"x","type":"message","role":"user"},{"id":"c","type":"compaction","encrypted_content":"e"}]}`, "item:c response:r"},
		{"files", "f/content", `{"id":"x","response":{"id":"x"},"item":{"id":"x"},"output":[{"id":"x","container_id":"x"}],"output_file_id":"x","fine_tuned_model_checkpoint":"x","choices":[{"message":{"audio":{"id":"x"}}}]}`, ""},
		{"evals", "e", `{"id":"e","item":{"id":"x"},"output":[{"id":"x"}],"response":{"id":"x"}}`, ""},
		// Files that code made which the service ran, and nothing else that tools return.
		{"messages", "", `{"id":"m","container":{"id":"c"},"content":[{"type":"bash_code_execution_tool_result","content":{"type":"bash_code_execution_result","content":[{"file_id":"f"},{"file_id":"g"}]}},{"type":"text"}]}`, "file:f file:g container:c"},
		{"messages", "", `{"type":"content_block_start","content_block":{"type":"code_execution_tool_result","content":{"content":[{"file_id":"f"}]}}}`, "file:f"},
		{"messages", "", `{"content":[{"type":"bash_code_execution_tool_result","content":{"type":"bash_code_execution_tool_result_error"}},{"type":"mcp_tool_result","content":{"content":[{"file_id":"x"}]}},{"type":"mcp_tool_result","content":[{"file_id":"x"}]},{"type":"container_upload","file_id":"x"}]}`, ""},
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

func TestCreatedObjectsOfAnAnswerThatIsCutOff(t *testing.T) {
	const answer = `{"id":"resp_1","output":[{"id":"rs_1","type":"reasoning","summary":[]},{"type":"message","id":"msg_1","content":[{"text":"x","id":"no"}]},{"type":"odd"}],"usage":null}`
	for cut := range len(answer) {
		for i, o := range Created(operations.ByName("responses"), "", []byte(answer[:cut])) {
			if want := []string{"rs_1", "msg_1", "resp_1"}[i]; o.ID != want {
				t.Errorf("cut at %d: %q, want %q", cut, o.ID, want)
			}
		}
	}
	if n := len(Created(operations.ByName("responses"), "", []byte(answer[:len(answer)-20]))); n != 2 {
		t.Errorf("%d objects before the cut, want 2", n)
	}
}
