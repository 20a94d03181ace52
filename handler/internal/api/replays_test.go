package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/openai/operations"
)

// replayed are items of conversations that clients keep themselves, with ids that the
// service made, %[1]s, and what the calls among them used, %[2]s.
var replayed = []string{
	`{"type":"computer_call","id":"%[1]s","call_id":"c","actions":[{"type":"click"}],"pending_safety_checks":[],"status":"completed"}`,
	`{"type":"additional_tools","id":"%[1]s","role":"developer","tools":[{"type":"function","name":"f","parameters":{}}]}`,
	`{"type":"reasoning","id":"%[1]s","summary":[{"type":"summary_text","text":"t"}]}`,
	`{"type":"reasoning","id":"%[1]s","summary":[],"content":[{"type":"reasoning_text","text":"t"}]}`,
	`{"type":"mcp_approval_request","id":"%[1]s","server_label":"s","name":"n","arguments":"{}"},{"type":"mcp_approval_response","approval_request_id":"%[1]s","approve":true}`,
	`{"type":"mcp_approval_response","approval_request_id":"%[1]s","approve":true},{"arguments":"{}","type":"mcp_approval_request","id":"%[1]s","server_label":"s","name":"n"}`,
	`{"type":"mcp_call","id":"%[1]s","server_label":"s","name":"n","arguments":"{}","output":"t","approval_request_id":"mcpr_%[2]s"}`,
	`{"approval_request_id":"mcpr_%[2]s","output":"t","arguments":"{}","id":"%[1]s","type":"mcp_call"}`,
	`{"type":"code_interpreter_call","id":"%[1]s","code":"1","container_id":"cntr_%[2]s","outputs":null,"status":"completed"}`,
	`{"type":"function_call","id":"%[1]s","call_id":"c","name":"f","arguments":"{}","agent":{"agent_name":"/root/reader"}}`,
	`{"agent":{"agent_name":"/root"},"type":"agent_message","id":"%[1]s","author":"a","recipient":"b","content":[{"type":"encrypted_content","encrypted_content":"e"}]}`,
	`{"type":"multi_agent_call","id":"%[1]s","call_id":"c","action":"wait_agent","arguments":"{}","agent":null}`,
	`{"type":"shell_call","id":"%[1]s","call_id":"c","action":{"commands":["ls"]},"environment":{"type":"container_reference","container_id":"cntr_%[2]s"},"status":"completed"}`,
}

// A conversation that is sent back whole depends on nothing that is stored: what its
// calls used need not be known any more, but must not be another's.
func TestCallsThatAreSentBack(t *testing.T) {
	const gone, theirs = "0123456789abcdef00", "0123456789abcdef11"
	d := newTenants(t)
	d.made("x", operations.KindItem, "rs_"+theirs)
	d.made("x", operations.KindItem, "mcpr_"+theirs)
	d.made("x", operations.KindContainer, "cntr_"+theirs)
	for _, items := range replayed {
		body := func(id, used string) string {
			return fmt.Sprintf(`{"model":"gpt-4o","store":false,"input":[`+strings.ReplaceAll(items, "%[2]s", used)+`]}`, id)
		}
		d.served(t, "y", "POST", "/v1/responses", body("rs_"+gone, gone), "application/json")
		d.refused(t, "POST", "/v1/responses", body("rs_"+theirs, gone), "application/json", 404)
		if strings.Contains(items, "%[2]s") {
			d.refused(t, "POST", "/v1/responses", body("rs_"+gone, theirs), "application/json", 404)
		}
	}
	for _, items := range []string{
		`{"type":"reasoning","id":"rs_` + gone + `","summary":[]}`,
		`{"type":"reasoning","id":"rs_` + gone + `","summary":[ {} , "x"]}`,
		`{"type":"mcp_approval_response","approval_request_id":"mcpr_` + gone + `","approve":true}`,
		`{"type":"mcp_approval_request","id":"mcpr_` + gone + `"},{"type":"mcp_approval_response","approval_request_id":"mcpr_` + gone + `","approve":true}`,
		`{"role":"user","content":[{"type":"input_file","file_id":"file-` + gone + `"}]},{"type":"mcp_call","arguments":"{}"}`,
		`{"type":"function_call_output","call_id":"c","output":[{"type":"input_file","file_id":"file-` + gone + `"}]}`,
		`{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","file_id":"file-` + gone + `"}}`,
	} {
		d.refused(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":[`+items+`]}`, "application/json", 404)
	}
	d.refused(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":"i","tools":[{"type":"code_interpreter","container":"cntr_`+gone+`"}]}`, "application/json", 404)
}

// The files of Anthropic's code execution are sent back with its results.
func TestResultsOfCodeThatAreSentBack(t *testing.T) {
	d := newTenantsWithObjects(t)
	message := func(block string) string {
		return `{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"assistant","content":[` + block + `]},{"role":"user","content":"x"}]}`
	}
	result := func(id string) string {
		return message(`{"type":"bash_code_execution_tool_result","tool_use_id":"srvtoolu_1","content":{"type":"bash_code_execution_result","stdout":"","content":[{"type":"bash_code_execution_output","file_id":"` + id + `"}]}}`)
	}
	d.served(t, "y", "POST", "/anthropic/v1/messages", result("file_011CPMxVD3fHLUhvTqtsQA5w"), "application/json")
	d.refused(t, "POST", "/anthropic/v1/messages", result("file-x"), "application/json", 404)
	d.refused(t, "POST", "/anthropic/v1/messages", message(`{"type":"container_upload","file_id":"file_011CPMxVD3fHLUhvTqtsQA5w"}`), "application/json", 404)
	// The source of a search result is a text.
	source := func(text string) string {
		return message(`{"type":"search_result","source":"` + text + `","title":"t","content":[{"type":"text","text":"x"}]}`)
	}
	for _, text := range []string{"file-handbook", "file-abc123", "video_tutorial", "https://a/b", "file-0123456789abcdef00"} {
		d.served(t, "y", "POST", "/anthropic/v1/messages", source(text), "application/json")
	}
	d.made("x", operations.KindFile, "file-0123456789abcdef11")
	d.refused(t, "POST", "/anthropic/v1/messages", source("file-0123456789abcdef11"), "application/json", 404)
}

// What was the input of a consumer's own requests it may refer to, once a list has shown
// it under the id that the service gave it.
func TestReferencesToItemsThatWereInput(t *testing.T) {
	reference := func(id string) string {
		return `{"model":"gpt-4o","input":[{"type":"item_reference","id":"` + id + `"}]}`
	}
	for n, path := range []string{"responses/resp_y/input_items", "conversations/conv_y/items"} {
		d, id := newTenantsWithObjects(t), serviceID(n)
		d.refused(t, "POST", "/v1/responses", reference(id), "application/json", 404)
		d.Relay = recording{d.gateway, []operations.Object{{Kind: operations.KindItem, ID: id}}}
		d.served(t, "y", "GET", "/v1/"+path, "", "")
		d.Relay = d.gateway
		d.served(t, "y", "POST", "/v1/responses", reference(id), "application/json")
		if res, _ := d.send(t, "POST", "/v1/responses", reference(id), "Api-Key", "x", "Content-Type", "application/json"); res.StatusCode != http.StatusNotFound {
			t.Errorf("x refers to what y was shown: %d", res.StatusCode)
		}
		d.refused(t, "GET", "/v1/files/"+id, "", "", 404)
		d.refused(t, "GET", "/v1/conversations/conv_x/items/"+id, "", "", 404)
		d.made("x", operations.KindItem, id) // whatever was shown
		d.refused(t, "POST", "/v1/responses", reference(id), "application/json", 404)
	}
}
