package api_test

import (
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
)

// A backend reads the name in a tool, a grader or a line as that of its own deployment.
// So it may be neither another model's entry nor, where it is read, another model's
// deployment.
func TestANameThatIsAnotherModelsIsRefusedWhereItIsRead(t *testing.T) {
	at := func(name string, index int, deployment string) balancer.Backend {
		return balancer.Backend{Name: name, Index: index, Weight: 1, Deployment: deployment, Stateful: name == "eu", Geography: name}
	}
	d := newFenced(t, &consumer.Consumer{Name: "x", Models: []string{"gpt-4o", "mini"}},
		model("gpt-4o", at("eu", 0, "gpt-4o"), at("us", 1, "prod"), at("eu", 0, "both")),
		model("gpt-4o-2024-11-20", at("eu", 0, "gpt-4o-2024-11-20")),
		model("o3", at("eu", 0, "prod"), at("eu", 0, "both"), at("eu", 0, "gpt-4o-2024-05-13")),
		model("mini", at("us", 1, "prod")))
	upload := func(name string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n" +
			`{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model":"` + name + `","messages":[]}}` + "\r\n--b--\r\n"
	}
	send := func(name string, where string) (*http.Response, string) {
		key := []string{"Api-Key", "k"}
		switch where {
		case "line":
			return d.send(t, "POST", "/v1/files", upload(name), append(key, "Content-Type", "multipart/form-data; boundary=b")...)
		case "header":
			return d.send(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":"x"}`, append(key, "X-Ms-Oai-Image-Generation-Deployment", name)...)
		case "tool":
			return d.send(t, "POST", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"image_generation","model":"`+name+`"}]}`, key...)
		case "tool of mini":
			return d.send(t, "POST", "/v1/responses", `{"model":"mini","input":"x","tools":[{"type":"image_generation","model":"`+name+`"}]}`, key...)
		case "grader":
			return d.send(t, "POST", "/v1/evals", `{"data_source_config":{"type":"custom"},"testing_criteria":[{"type":"score_model","model":"`+name+`"}]}`, key...)
		default:
			return d.send(t, "POST", "/v1/fine_tuning/jobs", `{"model":"`+name+`","training_file":"file-1"}`, key...)
		}
	}
	for _, where := range []string{"line", "header", "tool", "grader", "tuning"} {
		for _, name := range []string{"o3", "prod", "PROD", "gpt-4o-2024-11-20", "GPT-4O-2024-11-20", "gpt-4o-2024-05-13"} {
			if res, text := send(name, where); res.StatusCode != http.StatusForbidden || !strings.Contains(text, "model_not_allowed") {
				t.Errorf("%s %s: %d %s", where, name, res.StatusCode, text)
			}
		}
		for _, name := range []string{"gpt-4o", "GPT-4O", "gpt-4o-2024-08-06", "both"} {
			if res, text := send(name, where); res.StatusCode != http.StatusOK {
				t.Errorf("%s %s: %d %s", where, name, res.StatusCode, text)
			}
		}
	}
	if res, text := send("prod", "tool of mini"); res.StatusCode != http.StatusOK {
		t.Errorf("where it is read, it is an own deployment: %d %s", res.StatusCode, text)
	}
	d.consumer.Geographies = []string{"us"}
	if res, text := send("prod", "tool"); res.StatusCode != http.StatusOK {
		t.Errorf("within the fence it is an own deployment: %d %s", res.StatusCode, text)
	}
}

// OpenAI-compatible services have names with slashes and colons; they are read in the
// body, and never go into an address.
func TestACompatibleServiceGetsItsOwnNames(t *testing.T) {
	d := newFenced(t, &consumer.Consumer{Name: "x"}, model("*", balancer.Backend{Name: "a", Weight: 1, OpenAI: true}))
	d.Models = wildcard{d}
	ask := func(name string) int {
		res, _ := d.send(t, "POST", "/v1/chat/completions", `{"model":"`+name+`","messages":[]}`, "Api-Key", "k")
		return res.StatusCode
	}
	for _, name := range []string{"gpt-4o:free", "openai/gpt-4o", "meta-llama/Llama-3.1-8B-Instruct", "accounts/x/models/y", "ft:gpt-4o:a::b", "@cf/meta/llama", "llama3"} {
		if status := ask(name); status != http.StatusOK {
			t.Errorf("%s: %d", name, status)
		}
	}
	for _, name := range []string{"gpt-4o/../x", "https://x/y", "/x", "x/", "a b", "x?y", "x%2fy", "x#y", `x\\y`, ":x", "@", strings.Repeat("x/", 80) + "x"} {
		if status := ask(name); status != http.StatusNotFound {
			t.Errorf("%s: %d", name, status)
		}
	}
	d.pools[0].Backends[0].OpenAI = false
	if status := ask("openai/gpt-4o"); status != http.StatusNotFound {
		t.Errorf("at Azure: %d", status)
	}
}

// wildcard has one pool for any name.
type wildcard struct{ *fenced }

func (w wildcard) Resolve(string) ([]*balancer.Pool, bool) { return w.pools, true }
