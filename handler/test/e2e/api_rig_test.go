package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"testing"
	"time"

	"spillway/handler/internal/simulator"
	"spillway/handler/test/funchost"
)

// api is what a rig with several models is made of. Every deployment of a
// resource is a model of the pool document, under the model's own name.
type api struct {
	resources []simulator.Resource
	entry     func(name string, entry map[string]any) // changes a backend's entry; nil = as it is
	document  map[string]any                          // merged over the pool document
	env       []string
	tls       bool
}

// deployed is a resource with a deployment of each model, all called after it.
func deployed(name string, models ...string) simulator.Resource {
	r := simulator.Resource{Name: name, Region: "uksouth", Keys: []string{backendKey}}
	for _, m := range models {
		r.Deployments = append(r.Deployments, simulator.Deployment{Name: m + "-at-" + name, Model: m})
	}
	return r
}

// every model that the operations of the API need.
var everyModel = []string{"gpt-4o", "text-embedding-3-small", "gpt-image-1", "tts-1", "whisper-1"}

func (a api) start(t *testing.T) *rig {
	t.Helper()
	begin := simulator.Start
	if a.tls {
		begin = simulator.StartTLS
	}
	r := &rig{t: t, sim: begin(t, simulator.Config{Resources: a.resources})}
	r.host = a.handler(r)
	return r
}

// handler starts a handler, behind a host of its own, on the rig's service.
func (a api) handler(r *rig, env ...string) *funchost.Host {
	r.t.Helper()
	return funchost.Start(r.t, funchost.Options{Root: staged, Env: append(append([]string{
		"SPILLWAY_CONFIG=" + a.pool(r), "BACKEND_KEY=" + backendKey, "SPILLWAY_AUTH=none", "SPILLWAY_EXPOSE=true",
		"AzureWebJobsStorage=", "SPILLWAY_STATE=",
	}, a.env...), env...)})
}

// pool is the pool document: all resources in one priority group.
func (a api) pool(r *rig) string {
	var list []map[string]any
	for _, res := range a.resources {
		names := map[string]string{}
		for _, d := range res.Deployments {
			names[d.Model] = d.Name
		}
		entry := map[string]any{
			"name": res.Name, "endpoint": r.sim.URL(res.Name), "region": res.Region,
			"auth": map[string]any{"mode": "api-key", "setting": "BACKEND_KEY"}, "deployments": names, "passHeaders": []string{"x-whose"},
		}
		if a.entry != nil {
			a.entry(res.Name, entry)
		}
		list = append(list, entry)
	}
	doc := map[string]any{"backends": list}
	maps.Copy(doc, a.document)
	text, err := json.Marshal(doc)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// get sends a request without a body.
func (r *rig) get(method, path string, header ...string) answer {
	r.t.Helper()
	return ask(r.t.Context(), r.t, method, r.host.URL+path, "", header...)
}

// decoded is the answer's JSON, or the end of the test.
func (a answer) decoded(t *testing.T, into any) {
	t.Helper()
	if a.status != http.StatusOK || a.err != nil {
		t.Fatalf("%d, %v: %s", a.status, a.err, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

// multipartForm writes a multipart body; it returns its content type too. The file
// comes ahead of the fields, as SDKs send it.
func multipartForm(t *testing.T, file []byte, fields ...string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("file", "sound.mp3")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(file)
	for i := 0; i < len(fields); i += 2 {
		_ = w.WriteField(fields[i], fields[i+1])
	}
	_ = w.Close()
	return b.String(), w.FormDataContentType()
}

// fileOf is the file in a multipart body that the simulated service received.
func fileOf(t *testing.T, e simulator.Entry) (file []byte, model string) {
	t.Helper()
	req := &http.Request{Method: http.MethodPost, Header: e.Header, Body: io.NopCloser(bytes.NewReader(e.Body))}
	if err := req.ParseMultipartForm(64 << 20); err != nil {
		t.Fatalf("%s received no form: %v", e.Resource, err)
	}
	f, _, err := req.FormFile("file")
	if err != nil {
		t.Fatal(err)
	}
	file, err = io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return file, req.FormValue("model")
}

// logged waits until the log has the line of an answer: it is written
// asynchronously.
func (r *rig) logged(a answer) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if _, err := r.host.WaitLine(ctx, a.header.Get("X-Request-Id")); err != nil {
		r.t.Fatalf("no line for the last request: %v", err)
	}
}
