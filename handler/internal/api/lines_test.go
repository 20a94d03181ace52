package api_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/consumer"
	"spillway/handler/internal/proxy"
)

// uploadForm is a form with a file, and fields ahead of it and behind it.
func uploadForm(file string, ahead, behind []string) (body, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(ahead); i += 2 {
		_ = w.WriteField(ahead[i], ahead[i+1])
	}
	part, _ := w.CreateFormFile("file", "a.jsonl")
	_, _ = io.WriteString(part, file)
	for i := 0; i < len(behind); i += 2 {
		_ = w.WriteField(behind[i], behind[i+1])
	}
	_ = w.Close()
	return b.String(), w.FormDataContentType()
}

func requestLine(id string) string {
	return `{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"model":"gpt-4o","max_output_tokens":20,"previous_response_id":"` + id + `"}}` + "\n"
}

// readingRest serves a form once it has read the part of it that is not held, and
// notes whether it ends so.
func readingRest(complete *bool, end string) func(context.Context, []*balancer.Pool, *proxy.Request, proxy.Deliver) *proxy.Result {
	return func(ctx context.Context, pools []*balancer.Pool, r *proxy.Request, deliver proxy.Deliver) *proxy.Result {
		rest, err := io.ReadAll(r.StreamedBody.Open())
		if err != nil {
			return &proxy.Result{Pool: pools[0], Err: proxy.ErrBody}
		}
		*complete = bytes.HasSuffix(rest, []byte(end))
		return serve(ctx, pools, deliver)
	}
}

// Of a file that is too long to be held, each line is checked before its end is sent.
func TestLongFilesAreCheckedWhileTheyAreSent(t *testing.T) {
	d := newTenantsWithObjects(t)
	d.MaxBody, d.BufferedUpload = 64<<20, 1<<20
	complete := false
	d.do = readingRest(&complete, "--\r\n")
	long := strings.Replace(requestLine("resp_y"), "{", `{"instructions":"`+strings.Repeat("Be brief. ", 10<<10)+`",`, 1)
	own := strings.Repeat(long, 12)
	purpose := []string{"purpose", "batch"}
	for name, c := range map[string]struct {
		file          string
		ahead, behind []string
		status        int
		text          string
	}{
		"own":                        {own, purpose, nil, 200, ""},
		"the last line is another's": {own + requestLine("resp_x"), purpose, nil, 404, "Line "},
		"the last line, not ended":   {own + strings.TrimSpace(requestLine("resp_x")), purpose, nil, 404, "Line "},
		"like a boundary":            {own + "--x\n" + requestLine("resp_x"), purpose, nil, 400, "Line "},
		"no object":                  {own + "[" + strings.TrimSpace(requestLine("resp_x")) + "]\n", purpose, nil, 400, "Line "},
		"a second purpose":           {own, purpose, []string{"purpose", "batch"}, 400, "more than once"},
		"no purpose":                 {own, nil, []string{"x", "y"}, 400, "purpose is missing"},
		"the purpose behind it":      {own, nil, purpose, 200, ""},
		"another's, and then":        {own + requestLine("resp_x"), nil, purpose, 404, "Line "},
		"no request, and then":       {own + "[]\n", nil, purpose, 400, "Line "},
		"evals behind it":            {own + `{"item":{"file_id":"file-x"}}` + "\n", nil, []string{"purpose", "evals"}, 404, "Line "},
		"tuning behind it":           {own + `{"file_id":"file-x"}` + "\n", nil, []string{"purpose", "fine-tune"}, 404, "Line "},
		"a text behind it":           {own + requestLine("resp_x"), nil, []string{"purpose", "user_data", "expires_after[anchor]", "created_at"}, 200, ""},
		"a model behind it":          {own, nil, []string{"purpose", "user_data", "model", "gpt-4o"}, 400, "send it first"},
		"data that is another's":     {own + `{"item":{"file_id":"file-x"}}` + "\n", []string{"purpose", "evals"}, nil, 404, "Line "},
	} {
		complete = false
		body, contentType := uploadForm(c.file, c.ahead, c.behind)
		res, text := d.send(t, "POST", "/v1/files", body, "Api-Key", "y", "Content-Type", contentType)
		if res.StatusCode != c.status || !strings.Contains(text, c.text) || complete != (c.status == http.StatusOK) {
			t.Errorf("%s: %d %s, the backend got all of it: %t", name, res.StatusCode, text, complete)
		}
	}
}

// A line that cannot be read here may be read by the service.
func TestUnreadableLinesAreRefused(t *testing.T) {
	d := newFenced(t, &consumer.Consumer{Name: "x", Models: []string{"gpt-4o"}}, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1, Stateful: true}))
	for _, line := range []string{
		`[{"item":{}}]`, `"x"`, `{"item":{}} x`, `{"item":{}}{}`, "{\"item\":\"\xff\"}", `{"item":`,
		// These end a line for some readers.
		"{\"item\":{},\r\"x\":{}}", "{\"item\":{},\"metadata\":\r{\"item\":{}}\r}", "{\"item\":{}}\r{\"item\":{}}", "{\"item\":{}}\v", "{\"item\":{},\f\"x\":{}}", "{\"item\":{}}\u0085", "\u2028{\"item\":{}}",
		"{\"item\":{}}\u2029", "{\"item\":{},\u0085\"x\":{}}", "\v{\"item\":{}}", "{\"item\":{}}\u00a0",
	} {
		for purpose, status := range map[string]int{"evals": 400, " Evals": 400, "fine-tune": 400, "assistants": 200} {
			body, contentType := uploadForm("{}\n"+line+"\n", []string{"purpose", purpose}, nil)
			if res, text := d.send(t, "POST", "/v1/files", body, "Api-Key", "k", "Content-Type", contentType); res.StatusCode != status || status != 200 && !strings.Contains(text, "Line 2 ") {
				t.Errorf("%s for %q: %d %s", line, purpose, res.StatusCode, text)
			}
		}
	}
}

func TestLinesOfAFileAreInsideTheFences(t *testing.T) {
	only := &consumer.Consumer{Name: "x", Models: []string{"gpt-4o"}, MaxRequestTokens: 100}
	d := newFenced(t, only, model("gpt-4o", balancer.Backend{Name: "a", Weight: 1, Stateful: true}), model("o3", balancer.Backend{Name: "a", Weight: 1, Stateful: true}))
	line := func(url, body string) string { return `{"custom_id":"1","url":"` + url + `","body":` + body + "}" }
	const chat, good = "/v1/chat/completions", `{"model":"gpt-4o","max_tokens":50,"messages":[]}`
	for name, c := range map[string]struct {
		file   string
		status int
	}{
		"inside":                    {line(chat, good) + "\n" + line("/v1/embeddings", `{"model":"gpt-4o","input":"x"}`), 200},
		"lines of Windows":          {line(chat, good) + " \r\n\r\n\t" + line(chat, good) + "\r\n", 200},
		"separators in a text":      {line(chat, `{"model":"gpt-4o","max_tokens":5,"messages":["a\u2028b\u2029c`+"\u2028\u0085"+`"]}`), 200},
		"a line in a line":          {strings.TrimSuffix(line(chat, good), "}") + `,"x":` + "\r" + line(chat, good) + "\r}", 400},
		"a line in its metadata":    {strings.TrimSuffix(line(chat, good), "}") + `,"metadata":` + "\r" + line(chat, `{"model":"o3"}`) + "\r}", 400},
		"a line in its request":     {line(chat, `{"model":"gpt-4o","max_tokens":50,"metadata":`+"\r"+line(chat, `{"model":"o3"}`)+"\r}"), 400},
		"byte order mark":           {"\xef\xbb\xbf" + line(chat, good), 200},
		"a forbidden model":         {line(chat, good) + "\n" + line(chat, `{"model":"o3","max_tokens":50,"messages":[]}`), 403},
		"behind a byte order mark":  {"\xef\xbb\xbf" + line(chat, `{"model":"o3","max_tokens":50}`), 403},
		"in a tool":                 {line("/v1/responses", `{"model":"gpt-4o","max_output_tokens":50,"tools":[{"type":"image_generation","mod\u0065l":"o3"}]}`), 403},
		"too large":                 {line(chat, `{"model":"gpt-4o","max_tokens":500}`), 400},
		"without a bound":           {line(chat, `{"model":"gpt-4o"}`), 400},
		"one of two bounds":         {line(chat, `{"model":"gpt-4o","max_tokens":5,"max_completion_tokens":-1}`), 400},
		"a bound of another kind":   {line(chat, `{"model":"gpt-4o","max_tokens":5,"n_predict":-1}`), 400},
		"a long template":           {line(chat, `{"model":"gpt-4o","max_tokens":5,"chat_template":"`+strings.Repeat("word ", 200)+`"}`), 400},
		"another operation's bound": {line("/v1/responses", `{"model":"gpt-4o","max_tokens":5}`), 400},
		"a long prompt":             {line(chat, `{"model":"gpt-4o","max_tokens":5,"messages":["`+strings.Repeat("word ", 200)+`"]}`), 400},
		"prose":                     {"model o3", 400},
		"a body twice":              {`{"url":"` + chat + `","body":{"model":"gpt-4o","messages":[]},"body":` + good + `}`, 400},
		"a body twice, escaped":     {`{"url":"` + chat + `","b\u006fdy":{"model":"gpt-4o","messages":[]},"body":` + good + `}`, 400},
		"a url twice":               {`{"url":"` + chat + `","url":"/v1/embeddings","body":{"model":"gpt-4o","input":"x"}}`, 400},
		"a chat called embeddings":  {line("/v1/embeddings", `{"model":"gpt-4o","messages":[]}`), 400},
		"tools called a moderation": {line("/v1/moderations", `{"model":"gpt-4o","input":"x","tools":[]}`), 400},
	} {
		body, contentType := uploadForm(c.file, []string{"purpose", "batch"}, nil)
		d.sent = 0
		res, text := d.send(t, "POST", "/v1/files", body, "Api-Key", "k", "Content-Type", contentType)
		if res.StatusCode != c.status || (c.status != 200) != (d.sent == 0) || c.status != 200 && !strings.Contains(text, "Line ") {
			t.Errorf("%s: %d %s", name, res.StatusCode, text)
		}
	}
	for _, body := range []string{`{"purpose":"batch","bytes":1}`, `{"purpose":"evals","bytes":1}`, `{"purpose":"fine-tune ","bytes":1}`, `{"bytes":1,"purpos\u0065":"BATCH"}`, `{"purpose":["batch"]}`, `{"purpose":{"a":"evals"}}`, `{"bytes":1,"purpose":1}`} {
		if res, text := d.send(t, "POST", "/v1/uploads", body, "Api-Key", "k"); res.StatusCode != http.StatusForbidden || !strings.Contains(text, "with /files") {
			t.Errorf("%s: %d %s", body, res.StatusCode, text)
		}
	}
	if res, text := d.send(t, "POST", "/v1/uploads", `{"purpose":"assistants","bytes":1}`, "Api-Key", "k"); res.StatusCode != http.StatusOK {
		t.Errorf("an upload of another purpose: %d %s", res.StatusCode, text)
	}
	encoded, contentType := uploadForm(line(chat, good), []string{"purpose", "batch"}, nil)
	encoded = strings.Replace(encoded, "Content-Type: application/octet-stream", "Content-Transfer-Encoding: quoted-printable", 1)
	if res, text := d.send(t, "POST", "/v1/files", encoded, "Api-Key", "k", "Content-Type", contentType); res.StatusCode != http.StatusBadRequest {
		t.Errorf("an encoded part: %d %s", res.StatusCode, text)
	}
}
