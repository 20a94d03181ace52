package simulator_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

// callMethod sends a request without a body through the shared handler.
func callMethod(t *testing.T, s *simulator.Service, method, path string) reply {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/one"+path, http.NoBody))
	return reply{status: w.Code, header: w.Header(), body: w.Body.String()}
}

// everyModel is a resource that can do everything.
func everyModel() simulator.Config {
	return simulator.Config{Seed: 2, Resources: []simulator.Resource{
		{Name: "payg", Region: "uksouth", Deployments: []simulator.Deployment{
			{Name: "embed", Model: "text-embedding-3-large"},
			{Name: "instruct", Model: "gpt-35-turbo-instruct"},
			{Name: "pictures", Model: "dall-e-3"},
			{Name: "ears", Model: "whisper"},
			{Name: "voice", Model: "tts"},
		}},
		{Name: "other", Region: "uksouth"},
	}}
}

func classic(deployment, operation string) string {
	return "/openai/deployments/" + deployment + "/" + operation + "?api-version=2024-10-21"
}

type embedded struct {
	Data []struct {
		Index     int             `json:"index"`
		Embedding json.RawMessage `json:"embedding"`
	} `json:"data"`
	Usage struct {
		Prompt int `json:"prompt_tokens"`
		Total  int `json:"total_tokens"`
	} `json:"usage"`
}

func TestEmbeddingFormatsAreEqual(t *testing.T) {
	s := simulator.Start(t, everyModel())
	read := func(body string) embedded {
		r := post(t, s, "payg", classic("embed", "embeddings"), body)
		var e embedded
		if err := json.Unmarshal([]byte(r.body), &e); err != nil || r.status != 200 {
			t.Fatalf("got %d %.300s: %v", r.status, r.body, err)
		}
		return e
	}
	plain := read(`{"input":["water","stone","water"],"dimensions":8}`)
	var first, third []float32
	if err := json.Unmarshal(plain.Data[0].Embedding, &first); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(plain.Data[2].Embedding, &third); err != nil {
		t.Fatal(err)
	}
	length := 0.0
	for i, x := range first {
		if x != third[i] {
			t.Error("equal texts have different vectors")
		}
		length += float64(x) * float64(x)
	}
	if len(plain.Data) != 3 || len(first) != 8 || math.Abs(length-1) > 1e-5 || string(plain.Data[0].Embedding) == string(plain.Data[1].Embedding) {
		t.Errorf("got %d vectors of %d, length² %v", len(plain.Data), len(first), length)
	}
	if plain.Usage.Prompt != 4 || plain.Usage.Total != 4 {
		t.Errorf("usage: got %+v, want 15 characters as 4 tokens", plain.Usage)
	}
	coded := read(`{"input":["water"],"dimensions":8,"encoding_format":"base64"}`)
	var text string
	if err := json.Unmarshal(coded.Data[0].Embedding, &text); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 32 {
		t.Fatalf("got %d bytes, %v", len(raw), err)
	}
	for i, x := range first {
		if got := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])); got != x {
			t.Errorf("number %d: got %v, want %v", i, got, x)
		}
	}
	if got := read(`{"input":"water"}`); len(strings.Split(string(got.Data[0].Embedding), ",")) != 3072 {
		t.Error("text-embedding-3-large has 3,072 dimensions")
	}
	for _, bad := range []string{`{}`, `{"input":[]}`, `{"input":"x","encoding_format":"hex"}`, `{"input":["x"` + strings.Repeat(`,"x"`, 2048) + `]}`} {
		if r := post(t, s, "payg", classic("embed", "embeddings"), bad); r.status != 400 {
			t.Errorf("%.60s: got %d", bad, r.status)
		}
	}
}

func TestLegacyCompletions(t *testing.T) {
	s := simulator.Start(t, everyModel())
	plain := post(t, s, "payg", classic("instruct", "completions"), `{"prompt":"Once upon","max_tokens":3}`)
	text := regexp.MustCompile(`"text":"([^"]+)"`).FindStringSubmatch(plain.body)
	if plain.status != 200 || text == nil || !strings.Contains(plain.body, `"finish_reason":"length"`) || !strings.Contains(plain.body, `"object":"text_completion"`) {
		t.Fatalf("got %d %s", plain.status, plain.body)
	}
	streamed := events(t, post(t, s, "payg", classic("instruct", "completions"), `{"prompt":"Once upon","max_tokens":3,"stream":true,"stream_options":{"include_usage":true}}`).body)
	streamedText := ""
	for _, m := range regexp.MustCompile(`"text":"([^"]+)"`).FindAllStringSubmatch(strings.Join(streamed, "\n"), -1) {
		streamedText += m[1]
	}
	if streamedText != text[1] || streamed[len(streamed)-1] != "[DONE]" || !strings.Contains(streamed[len(streamed)-2], `"completion_tokens":3`) {
		t.Errorf("streamed %q, plain %q", streamedText, text[1])
	}
}

// form is a multipart body.
func form(t *testing.T, fields map[string]string, fileName, content string) (string, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if fileName != "" {
		part, err := w.CreateFormFile("file", fileName)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func TestAudioAndImages(t *testing.T) {
	s := simulator.Start(t, everyModel())
	body, contentType := form(t, nil, "a.wav", "RIFF")
	for _, op := range []string{"audio/transcriptions", "audio/translations"} {
		if r := post(t, s, "payg", classic("ears", op), body, "Content-Type", contentType); r.status != 200 || !strings.HasPrefix(r.body, `{"text":"`) {
			t.Errorf("%s: got %d %s", op, r.status, r.body)
		}
	}
	body, contentType = form(t, map[string]string{"model": "ears", "response_format": "text"}, "a.wav", "RIFF")
	if r := post(t, s, "payg", "/openai/v1/audio/transcriptions", body, "Content-Type", contentType); r.status != 200 || r.header.Get("content-type") != "text/plain; charset=utf-8" {
		t.Errorf("v1, the model in the form: got %d %s", r.status, r.body)
	}
	body, contentType = form(t, map[string]string{"model": "ears"}, "", "")
	if r := post(t, s, "payg", "/openai/v1/audio/transcriptions", body, "Content-Type", contentType); r.status != 400 {
		t.Errorf("without a file: got %d", r.status)
	}
	if r := post(t, s, "payg", classic("voice", "audio/speech"), `{"input":"hi","voice":"alloy"}`); r.status != 200 || r.header.Get("content-type") != "audio/mpeg" || r.body == "" {
		t.Errorf("speech: got %d", r.status)
	}
	if r := post(t, s, "payg", classic("pictures", "images/generations"), `{"prompt":"a lake","n":2}`); r.status != 200 || strings.Count(r.body, "b64_json") != 2 {
		t.Errorf("images: got %d %s", r.status, r.body)
	}
}

func TestFilesAndBatchesBelongToOneResource(t *testing.T) {
	s := simulator.Start(t, everyModel())
	body, contentType := form(t, map[string]string{"purpose": "batch"}, "in.jsonl", "{}\n")
	made := post(t, s, "payg", "/openai/v1/files", body, "Content-Type", contentType)
	id := regexp.MustCompile(`file-[0-9a-f]+`).FindString(made.body)
	if made.status != 200 || id == "" || !strings.Contains(made.body, `"purpose":"batch"`) || !strings.Contains(made.body, `"bytes":3`) {
		t.Fatalf("got %d %s", made.status, made.body)
	}
	if r := get(t, s, "GET", "payg", "/openai/v1/files/"+id+"/content"); r.status != 200 || r.body != "{}\n" {
		t.Errorf("content: got %d %q", r.status, r.body)
	}
	if r := get(t, s, "GET", "other", "/openai/v1/files/"+id); r.status != 404 {
		t.Errorf("elsewhere: got %d", r.status)
	}
	batch := `{"input_file_id":"` + id + `","endpoint":"/chat/completions","completion_window":"24h"}`
	if r := post(t, s, "other", "/openai/batches?api-version=2024-10-21", batch); r.status != 404 {
		t.Errorf("batch elsewhere: got %d", r.status)
	}
	r := post(t, s, "payg", "/openai/batches?api-version=2024-10-21", batch)
	number := regexp.MustCompile(`batch_[0-9a-f]+`).FindString(r.body)
	if r.status != 200 || number == "" {
		t.Fatalf("batch: got %d %s", r.status, r.body)
	}
	if r := post(t, s, "payg", "/openai/v1/batches/"+number+"/cancel", ""); r.status != 200 {
		t.Errorf("cancel: got %d %s", r.status, r.body)
	}
	if r := get(t, s, "GET", "payg", "/openai/v1/files"); r.status != 200 || !strings.Contains(r.body, id) {
		t.Errorf("list: got %d %s", r.status, r.body)
	}
	if r := get(t, s, "DELETE", "payg", "/openai/v1/files/"+id); r.status != 200 {
		t.Errorf("delete: got %d", r.status)
	}
	if r := get(t, s, "GET", "payg", "/openai/v1/files/"+id); r.status != 404 {
		t.Errorf("after delete: got %d", r.status)
	}
}

func TestConversationsBelongToOneResource(t *testing.T) {
	s := simulator.Start(t, pool())
	id := regexp.MustCompile(`conv_[0-9a-f]+`).FindString(post(t, s, "payg", "/openai/v1/conversations", `{}`).body)
	for _, form := range []string{`"` + id + `"`, `{"id":"` + id + `"}`} {
		if r := post(t, s, "payg", responsesPath, requestBody(`,"conversation":`+form)); r.status != 200 {
			t.Errorf("at home: got %d %s", r.status, r.body)
		}
		if r := post(t, s, "ptu", responsesPath, requestBody(`,"conversation":`+form)); r.status != 404 {
			t.Errorf("elsewhere: got %d", r.status)
		}
	}
}

func TestModelsListsTheRegion(t *testing.T) {
	s := simulator.Start(t, everyModel())
	for _, path := range []string{"/openai/models?api-version=2024-10-21", "/openai/v1/models"} {
		r := get(t, s, "GET", "payg", path)
		if r.status != 200 || !strings.Contains(r.body, `"id":"gpt-4o-2024-11-20"`) || strings.Contains(r.body, "instruct") {
			t.Errorf("%s: got %d %s", path, r.status, r.body)
		}
	}
	if r := get(t, s, "GET", "payg", "/openai/v1/models/gpt-4o-2024-11-20"); r.status != 200 {
		t.Errorf("one: got %d", r.status)
	}
	if r := get(t, s, "GET", "payg", "/openai/v1/models/nothing"); r.status != 404 {
		t.Errorf("unknown: got %d", r.status)
	}
}
