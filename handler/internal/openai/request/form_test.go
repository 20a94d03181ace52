package request_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"spillway/handler/internal/openai/request"
)

const boundary = "spillway-test-edge"

// form writes a multipart body of name, value pairs; a name that begins with @
// is a file.
func form(t testing.TB, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(boundary); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		part, err := w.CreateFormField(pairs[i])
		if name, isFile := strings.CutPrefix(pairs[i], "@"); isFile {
			part, err = w.CreateFormFile(name, "bäh.mp3")
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(part, pairs[i+1])
	}
	_ = w.Close()
	return b.Bytes()
}

func TestParseFormReadsFields(t *testing.T) {
	body := form(t, "@file", "\r\n--not the boundary\r\n"+strings.Repeat("\x00\xff\r\n", 5000), "model", "whisper", "stream", "true", "n", "3", "prompt", "abcd", "empty", "")
	f, err := request.ParseForm(body, boundary, true, false)
	if err != nil || f.Model != "whisper" || !f.Stream || f.Choices != 3 || f.PromptBytes != 4 {
		t.Fatalf("%+v, %v", f, err)
	}
	if got := string(body[f.ModelSpan.From:f.ModelSpan.To]); got != "whisper" {
		t.Errorf("ModelAt holds %q", got)
	}
}

// A backend may read another model than the one that was authorised from a form that
// two parsers read in two ways.
func TestParseFormRefusesWhatIsReadInTwoWays(t *testing.T) {
	part := func(headers, value string) string {
		return "--" + boundary + "\r\n" + headers + "\r\n\r\n" + value + "\r\n"
	}
	model := part(`Content-Disposition: form-data; name="model"`, "whisper")
	for name, parts := range map[string]string{
		"model as a file":        part(`Content-Disposition: form-data; name="model"; filename="m"`, "gpt-4o"),
		"two models":             model + model,
		"a model and a file":     model + part(`Content-Disposition: form-data; filename="m"; name=model`, "gpt-4o"),
		"two dispositions":       model + part("Content-Disposition: form-data; name=\"x\"\r\ncontent-disposition: form-data; name=\"model\"", "gpt-4o"),
		"two names":              model + part(`Content-Disposition: form-data; name="x"; name="model"`, "gpt-4o"),
		"an open quote":          model + part(`Content-Disposition: form-data; name="model`, "gpt-4o"),
		"an extended name":       model + part(`Content-Disposition: form-data; name="x"; name*=utf-8''model`, "gpt-4o"),
		"another kind":           model + part(`Content-Disposition: attachment; name="model"`, "gpt-4o"),
		"no disposition":         model + part(`Content-Type: text/plain`, "gpt-4o"),
		"a folded header":        model + part("Content-Disposition: form-data;\r\n name=\"model\"", "gpt-4o"),
		"a line feed by itself":  model + part("Content-Type: text/plain\nContent-Disposition: form-data; name=\"model\"", "gpt-4o"),
		"parameters of no shape": model + part(`Content-Disposition: form-data; name`, "gpt-4o"),
	} {
		if f, err := request.ParseForm([]byte(parts+"--"+boundary+"--\r\n"), boundary, true, false); err == nil {
			t.Errorf("%s: %+v, want an error", name, f)
		}
	}
	file := part("content-disposition: form-data; name=\"file\"; filename=\"a.mp3\"; filename*=UTF-8''%c3%a4.mp3\r\nContent-Type: audio/mpeg", "data")
	if f, err := request.ParseForm([]byte(file+model+"--"+boundary+"--\r\n"), boundary, true, false); err != nil || f.Model != "whisper" || len(f.Files) != 1 {
		t.Errorf("an ordinary form: %+v, %v", f, err)
	}
}

func TestParseFormRefusesBrokenForms(t *testing.T) {
	whole := form(t, "model", "a", "@file", "data")
	for name, c := range map[string]struct {
		body []byte
		want error
	}{
		"no boundary":     {[]byte("model=a"), request.ErrForm},
		"empty":           {nil, request.ErrForm},
		"cut in a part":   {whole[:len(whole)-8-len(boundary)], request.ErrForm},
		"cut in headers":  {whole[:len(boundary)+20], request.ErrForm},
		"bare line feeds": {bytes.ReplaceAll(whole, []byte("\r\n"), []byte("\n")), request.ErrForm},
		"two models":      {form(t, "model", "a", "model", "b"), request.ErrDuplicate},
		"long model":      {form(t, "model", strings.Repeat("a", 1025)), request.ErrType},
	} {
		if f, err := request.ParseForm(c.body, boundary, true, false); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, f, err, c.want)
		}
	}
}

// The beginning of a longer form is read wherever it was cut.
func TestParseFormOfABeginning(t *testing.T) {
	body := form(t, "model", "a", "@file", "data", "n", "2")
	whole, err := request.ParseForm(body, boundary, true, false)
	if err != nil {
		t.Fatal(err)
	}
	known := whole.ModelSpan.To + len("\r\n--"+boundary) // where the model's part has ended
	for cut := len(boundary) + 2; cut < len(body); cut++ {
		f, err := request.ParseForm(body[:cut], boundary, false, false)
		if err != nil || (f.Model == "a") != (cut >= known) {
			t.Fatalf("cut at %d: %+v, %v", cut, f, err)
		}
	}
}

func TestRewriteModelChangesOnlyTheModel(t *testing.T) {
	for _, pairs := range [][]string{{"@file", "data", "model", "a", "n", "2"}, {"model", "", "@file", "data"}, {"@file", "data"}} {
		body := form(t, pairs...)
		f, err := request.ParseForm(body, boundary, true, false)
		if err != nil {
			t.Fatal(err)
		}
		before, between, behind := f.RewriteModel(body, "a-deployment")
		got := append(append(bytes.Clone(before), between...), behind...)
		read, err := multipart.NewReader(bytes.NewReader(got), boundary).ReadForm(1 << 20)
		if err != nil || len(read.Value["model"]) != 1 || read.Value["model"][0] != "a-deployment" || len(read.File["file"]) != 1 {
			t.Errorf("%v: %v, %+v", pairs, err, read)
		}
		if len(f.Model) > 0 && strings.Replace(string(got), "a-deployment", "a", 1) != string(body) {
			t.Errorf("%v: more than the model changed", pairs)
		}
	}
}

// FuzzParseForm compares the fields with what the standard library reads.
func FuzzParseForm(f *testing.F) {
	f.Add(string(form(f, "model", "a", "@file", "data")))
	f.Add(fmt.Sprintf("--%s\r\n\r\n\r\n--%s--", boundary, boundary))
	f.Add("preamble\r\n" + string(form(f, "@file", "data", "model", "")))
	f.Fuzz(func(t *testing.T, body string) {
		got, err := request.ParseForm([]byte(body), boundary, true, false)
		if err != nil {
			return
		}
		if at := got.ModelSpan; at.From > at.To || at.To > len(body) || got.Model != body[at.From:at.To] {
			t.Errorf("ModelAt %+v does not hold %q", at, got.Model)
		}
		read, err := multipart.NewReader(strings.NewReader(body), boundary).ReadForm(1 << 20)
		if err != nil {
			return // ParseForm is more lenient: the backend refuses the form
		}
		if n := read.Value["model"]; len(n) > 0 && n[0] != got.Model {
			t.Errorf("model %q, the standard library reads %q", got.Model, n)
		}
	})
}
