package api_test

import (
	"fmt"
	"strings"
	"testing"

	"spillway/handler/internal/openai/operations"
)

// rowPlaces are the ways to give an evaluation or a training its rows, and a grader its
// one: %s is a row.
var rowPlaces = map[string]func(row string) (path, body, contentType string){
	"run": func(row string) (path, body, contentType string) {
		return "evals/eval_y/runs", `{"data_source":{"type":"responses","model":"gpt-4o","source":{"type":"file_content","content":[{"item":` + row + `}]}}}`, "application/json"
	},
	"run of bare rows": func(row string) (path, body, contentType string) {
		return "evals/eval_y/runs", `{"data_source":{"type":"jsonl","source":{"type":"file_content","content":[` + row + `]}}}`, "application/json"
	},
	"grader": func(row string) (path, body, contentType string) {
		return "fine_tuning/alpha/graders/run", `{"grader":{"type":"python"},"model_sample":"x","item":` + row + `}`, "application/json"
	},
	"file of rows": func(row string) (path, body, contentType string) {
		body, contentType = uploadForm(`{"item":`+row+"}\n", []string{"purpose", "evals"}, nil)
		return "files", body, contentType
	},
	"file to train on": func(row string) (path, body, contentType string) {
		body, contentType = uploadForm(row+"\n", []string{"purpose", "fine-tune"}, nil)
		return "files", body, contentType
	},
}

const (
	theirFile, theirItem, unknownFile = "file-0123456789abcdefghijklmn", "msg_0123456789abcdefghijklmn", "file-unknown0123456789abcdef"
	ownFile                           = "file-own0123456789abcdefghij"
)

// Whatever the members of a row are called, it may be a list of messages.
func TestRowsThatNameAnothersObjects(t *testing.T) {
	d := newTenantsWithObjects(t)
	d.made("x", operations.KindFile, theirFile)
	d.made("x", operations.KindItem, theirItem)
	d.made("y", operations.KindFile, ownFile)
	row := func(name, id string) string {
		return fmt.Sprintf(`{"%s":[{"role":"user","content":[{"type":"input_file","file_id":"%s"}]}],"n":1}`, name, id)
	}
	var rows []string
	for _, name := range []string{
		"traj", "input", "documents", "metadata", "arguments", "parameters", "headers", "env", "attributes", "schema", "properties", "spec", "content", "variables",
		"logit_bias", "item", "input_schema", "chat_template_kwargs", "messages", "stream",
	} {
		rows = append(rows, row(name, theirFile), row(name, unknownFile))
	}
	rows = append(rows, strings.Replace(row("a", theirFile), `"file_id"`, `"File_Id"`, 1), strings.Replace(row("a", theirFile), `"file_id"`, `"fil\u0065_id"`, 1),
		strings.Replace(row("a", theirFile), "file-0", `file\u002d0`, 1), `{"a":["`+theirFile+`"]}`, `{"a":[{"id":"`+theirItem+`"}]}`, `{"a":[{"type":"item_reference","id":"msg_x"}]}`,
		`{"metadata":{"input":[{"type":"item_reference","id":"msg_unknown"}]}}`, `{"model":1,"stream":"x","a":{"file_id":"file-x"}}`, `{"a":"`+theirFile+`","b":"`+strings.Repeat("x", 2000)+`"}`)
	for _, place := range rowPlaces {
		for _, row := range rows {
			path, body, contentType := place(row)
			d.refused(t, "POST", "/v1/"+path, body, contentType, 404)
		}
		for _, own := range []string{
			row("input", ownFile), `{"id":"conv_42","question":"x"}`, `{"id":"batch_0001"}`, `{"file":"file-manager","source":"file-abc","id":"video_1","ticket_id":"file-9"}`,
			`{"file_id":"file-manager","conversation_id":"conv_42","container":"box"}`, `{"trace":{"id":"resp_0123456789abcdefghijklmn","conversation_id":"conv_gone0123456789abcdef"}}`,
			`{"model":"gpt-9","stream":"news","n":"three","user":7,"prompt_cache_key":1,"documents":{"id":"file-7"},"File_Ids":[]}`, `{"a":"file-` + strings.Repeat("x", 2000) + `"}`,
		} {
			path, body, contentType := place(own)
			d.served(t, "y", "POST", "/v1/"+path, body, contentType)
		}
	}
}

// Thousands of rows are looked up together, and cost a read only where an id may be one.
func TestThousandsOfRows(t *testing.T) {
	d, table := newTenantsOfTable(t)
	var inline, lines strings.Builder
	for n := range 6000 {
		row := fmt.Sprintf(`{"item":{"id":"conv_%d","ticket":{"id":"batch_%d"},"conversation_id":"conv_%d","answer":"resp_%024x"}}`, n, n, n, n%100)
		fmt.Fprintf(&inline, "%s,", row)
		fmt.Fprintln(&lines, row)
	}
	d.served(t, "y", "POST", "/v1/fine_tuning/alpha/graders/run", `{"grader":{"type":"python"},"rows":[`+strings.TrimSuffix(inline.String(), ",")+`]}`, "application/json")
	body, contentType := uploadForm(lines.String(), []string{"purpose", "evals"}, nil)
	d.served(t, "y", "POST", "/v1/files", body, contentType)
	if reads := table.reads.Load(); reads != 100 {
		t.Errorf("%d reads", reads)
	}
	body, contentType = uploadForm(lines.String()+`{"item":{"traj":[{"file_id":"`+unknownFile+`"}]}}`+"\n{}\n", []string{"purpose", "evals"}, nil)
	if res, text := d.send(t, "POST", "/v1/files", body, "Api-Key", "y", "Content-Type", contentType); res.StatusCode != 404 || !strings.Contains(text, "Line 6001 ") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}

// An evaluation or a training is over a file whose rows were checked.
func TestRowsOfFilesThatWereNotChecked(t *testing.T) {
	bodies := map[string]string{
		"evals/eval_y/runs": `{"data_source":{"type":"jsonl","source":{"type":"file_id","id":"file-z"}}}`, "fine_tuning/jobs": `{"model":"gpt-4o","training_file":"file-z"}`,
		"/fine_tuning/jobs": `{"model":"gpt-4o","training_file":"file-d-y","validation_file":"file-z"}`,
	}
	for kind, status := range map[operations.Kind]int{operations.KindFile: 403, operations.KindBatchFile: 403, operations.KindDataFile: 200} {
		d := newTenantsWithObjects(t)
		d.made("y", kind, "file-z")
		for path, body := range bodies {
			res, text := d.send(t, "POST", "/v1/"+strings.TrimPrefix(path, "/"), body, "Api-Key", "y", "Content-Type", "application/json")
			if res.StatusCode != status || status != 200 && !strings.Contains(text, "file_not_checked") {
				t.Errorf("%s over a %s: %d %s", path, kind, res.StatusCode, text)
			}
		}
		// A file that a message has the model read may have any purpose.
		d.served(t, "y", "POST", "/v1/evals/eval_y/runs", `{"data_source":{"type":"responses","input_messages":{"template":[{"role":"user","content":[{"type":"input_file","file_id":"file-z"}]}]}}}`, "application/json")
	}
	for purpose, status := range map[string]int{"evals": 200, "EVALS": 200, "fine-tune": 200, "user_data": 403, "assistants": 403, "batch": 403} {
		d := newTenantsWithObjects(t)
		d.Relay = recording{d.gateway, []operations.Object{{Kind: operations.KindFile, ID: "file-z"}}}
		file := `{"item":{"a":"b"}}`
		if purpose == "batch" {
			file = requestLine("resp_y")
		}
		body, contentType := uploadForm(file, []string{"purpose", purpose}, nil)
		d.served(t, "y", "POST", "/v1/files", body, contentType)
		for path, body := range bodies {
			if res, text := d.send(t, "POST", "/v1/"+strings.TrimPrefix(path, "/"), body, "Api-Key", "y", "Content-Type", "application/json"); res.StatusCode != status {
				t.Errorf("%s over a file with the purpose %s: %d %s", path, purpose, res.StatusCode, text)
			}
		}
	}
}
