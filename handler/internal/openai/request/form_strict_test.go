package request_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"slices"
	"strings"
	"testing"

	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/openai/request"
)

func strictPart(disposition, value string) string {
	return "--" + boundary + "\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n"
}

const formEnd = "--" + boundary + "--\r\n"

func TestStrictFormsAreReadInOneWay(t *testing.T) {
	model, file := strictPart(`name="model"`, "a"), strictPart(`name="file"; filename="a.wav"`, "data")
	lf := strings.ReplaceAll(model+"--"+boundary+"--\r\n", "\r\n", "\n")
	for name, body := range map[string]string{
		"ahead of it":                      "x\r\n" + model + formEnd,
		"line feeds ahead of it":           lf + "\r\n" + model + formEnd,
		"line feeds in a file":             model + strictPart(`name="file"; filename="a"`, "x\n--"+boundary+"\nContent-Disposition: form-data; name=\"model\"\n\nb") + formEnd,
		"the boundary in a header":         model + strictPart(`name="file"; filename="--`+boundary+`"`, "x") + formEnd,
		"padding":                          strings.Replace(model, boundary+"\r\n", boundary+" \r\n", 1) + formEnd,
		"behind it":                        model + formEnd + model + formEnd,
		"a field in another case":          model + strictPart(`name="Model"`, "b") + formEnd,
		"a list of models":                 model + strictPart(`name="model[]"`, "b") + formEnd,
		"camel case":                       model + strictPart(`name="fileIds[]"`, "f") + formEnd,
		"camel case inside":                model + strictPart(`name="image[fileId]"`, "f") + formEnd,
		"an escape":                        model + strictPart(`name="file_\id"`, "f") + formEnd,
		"a space":                          model + strictPart(`name=" file_id"`, "f") + formEnd,
		"an escape in a file name":         model + strictPart(`name="file"; filename="a\"; name=\"model\""`, "f") + formEnd,
		"another parameter in a file name": model + strictPart(`name="file"; filename="a\"; filename=b; x=\""`, "f") + formEnd,
		"a list of broken JSON":            model + strictPart(`name="images[]"`, `[{"file_id":"f"`) + formEnd,
		"purpose as a list":                strictPart(`name="purpose[]"`, "batch") + file + formEnd,
		"a name behind escapes":            model + strictPart(`name="file"; filename="a\"; NAME* =\"model\""`, "f") + formEnd,
		"a charset":                        model + strictPart("name=\"x\"\r\nContent-Type: text/plain; charset=utf-16", "f") + formEnd,
		"an encoding":                      model + strictPart("name=\"x\"\r\nContent-Transfer-Encoding: base64", "f") + formEnd,
		"a charset of all":                 model + strictPart(`name="_charset_"`, "utf-7") + formEnd,
		"broken JSON":                      model + strictPart(`name="images"`, `[{"file_id":"f"`) + formEnd,
		"JSON with another spelling":       model + strictPart(`name="images"`, `[{"fileId":"f"}]`) + formEnd,
	} {
		if f, err := request.ParseForm([]byte(body), boundary, true, true); err == nil {
			t.Errorf("%s: %+v, want an error", name, f)
		}
	}
}

// What clients send is served.
func TestStrictFormsOfClients(t *testing.T) {
	for name, body := range map[string]string{
		"httpx":                     strictPart(`name="model"`, "a") + strictPart("name=\"file\"; filename=\"a b.wav\"\r\nContent-Type: audio/wav", "data"),
		".NET":                      strictPart("name=model", "a") + strictPart("name=file; filename=a.wav; filename*=utf-8''%C3%A4.wav\r\nContent-Type: text/plain; charset=utf-8", "data"),
		"okhttp":                    strictPart("name=\"model\"\r\nContent-Length: 1\r\nContent-Transfer-Encoding: binary", "a") + strictPart(`name="file"; filename="ä.wav"`, "data"),
		"lists":                     strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="a"`, "data") + strictPart(`name="timestamp_granularities[]"`, "word") + strictPart(`name="include[]"`, "logprobs"),
		"nested":                    strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="a"`, "data") + strictPart(`name="expires_after[anchor]"`, "created_at") + strictPart(`name="chunking_strategy"`, `{"type":"server_vad"}`),
		"prompt":                    strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="a"`, "data") + strictPart(`name="prompt"`, "[not JSON"),
		"curl":                      strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="say \"hi\" \\ there.wav"`, "data"),
		"escapes among punctuation": "\r\n\r\n" + strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="a;b=\"c\".wav"`, "data"),
		"Apache": strictPart("name=\"model\"\r\nContent-Type: text/plain; charset=ISO-8859-1\r\nContent-Transfer-Encoding: 8bit", "a") +
			strictPart("name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain; charset=windows-1252", "f\xfcr") + strictPart("name=\"x\"\r\nContent-Type: text/plain; charset=ISO-8859-1", "f\xfcr"),
		"texts": strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="a"`, "data") + strictPart(`name="image"`, "a file-system") + strictPart(`name="characters[]"`, "Anna") +
			strictPart(`name="mask"`, strings.Repeat("a", 2000)) + strictPart(`name="prompt"`, "pmpt_1"),
		"a Windows path": strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="C:\audio\a.wav"`, "data"),
		"speakers": strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="a"`, "data") + strictPart(`name="known_speaker_names[]"`, "[agent]") + strictPart(`name="known_speaker_names[]"`, "model") +
			strictPart(`name="known_speaker_references[]"`, "data:audio/wav;base64,AAAA"),
		"own data": strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="a"`, "data") + strictPart(`name="metadata[source]"`, "[a") + strictPart(`name="metadata[file_id]"`, "file-x") +
			strictPart(`name="metadata[fileId]"`, "file-x") + strictPart(`name="metadata[model]"`, "o3") + strictPart(`name="attributes[purpose]"`, "x"),
		"empty file": strictPart(`name="model"`, "a") + strictPart(`name="file"; filename=""`, ""),
	} {
		f, err := request.ParseForm([]byte(body+formEnd), boundary, true, true)
		if err != nil || f.Model != "a" || len(f.Files) != 1 || len(f.References)+len(f.Models) > 0 {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestStrictFormsNameWhatTheirJSONNames(t *testing.T) {
	body := strictPart(`name="model"`, "a") + strictPart(`name="input_reference"`, ` {"file_id":"f1"}`) + strictPart(`name="images"`, `[{"file_id":"f2"}]`) +
		strictPart(`name="video"`, `{"id":"v1"}`) + strictPart(`name="judge_model"`, "b") + strictPart(`name="options"`, `{"model":"c","agent":"x"}`) + strictPart(`name="file"`, "data") + formEnd
	f, err := request.ParseForm([]byte(body), boundary, true, true)
	want := []request.Reference{
		{Kind: operations.KindFile, ID: "f1", Param: "file_id"}, {Kind: operations.KindFile, ID: "f2", Param: "file_id"}, {Kind: operations.KindVideo, ID: "v1", Param: "video"},
	}
	if err != nil || !slices.Equal(f.References, want) || !slices.Equal(f.Models, []string{"b", "c"}) || f.Reaches != "agent" || len(f.Files) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

// Fields name what the members of the same name do, wherever brackets, dots and places in
// lists stand.
func TestFieldsNameWhatMembersName(t *testing.T) {
	for name, value := range map[string]string{
		"characters[0][id]": "v1", "characters[][id]": "v1", "characters.0.id": "v1", "video[id]": "v1", "video.id": "v1",
		"characters": "video_1", "characters[]": "video_1", "characters[0]": "video_1", "video": "video_1", "video[0]": "video_1",
		"input_reference": "file-1", "inputReference": "", "image": "file-1", "image[]": "file-1", "images[0]": "assistant-1", "mask": "file-1", "files[]": "file-1",
		"image[0][file_id]": "f1", "file_ids.0": "f1", "container_ids[2]": "c1",
	} {
		f, err := request.ParseForm([]byte(strictPart(`name="`+name+`"`, value)+formEnd), boundary, true, true)
		if value == "" && err == nil {
			t.Errorf("%s: another spelling is served", name)
		}
		if value != "" && (err != nil || len(f.References) != 1 || f.References[0].ID != value || f.References[0].Described) {
			t.Errorf("%s: %+v, %v", name, f.References, err)
		}
	}
}

// The rest of a long form is read alike however it is cut.
func TestFormTail(t *testing.T) {
	file := func(name, value string) string { return strictPart(`name="`+name+`"; filename="a"`, value) }
	for name, c := range map[string]struct {
		rest  string
		files []string
		fault string
	}{
		"the end":             {"abc\r\n" + formEnd, []string{"abc"}, ""},
		"more files":          {"abc\r\n" + file("image[]", "d\r\n-e") + file("image[]", "") + formEnd, []string{"abc", "d\r\n-e", ""}, ""},
		"a field":             {"abc\r\n" + strictPart(`name="model"`, "b") + formEnd, []string{"abc"}, "fields first"},
		"a field as a file":   {"abc\r\n" + file("model", "b") + formEnd, []string{"abc"}, "fields first"},
		"an id":               {"abc\r\n" + file("video[id]", "b") + formEnd, []string{"abc"}, "fields first"},
		"a line feed":         {"abc\n" + strictPart(`name="model"`, "b") + formEnd, nil, "holds the boundary"},
		"behind the end":      {"abc\r\n" + formEnd + file("x", "y"), []string{"abc"}, "follows its end"},
		"like a boundary":     {"abc\r\n--" + boundary + "x\r\n" + formEnd, nil, "not ended"},
		"beginnings of one":   {"--\r\n--" + boundary[:3] + "\r\n\r\n" + formEnd, []string{"--\r\n--" + boundary[:3] + "\r\n"}, ""},
		"an empty first file": {"\r\n" + formEnd, []string{""}, ""},
	} {
		random := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			var files []string
			current := ""
			tail := request.NewFormTail(boundary, func(p []byte, ended bool) error {
				if current += string(p); ended {
					files, current = append(files, current), ""
				}
				return nil
			})
			var err error
			for rest := c.rest; rest != "" && err == nil; {
				n := 1 + random.IntN(min(len(rest), 9))
				err = tail.Add([]byte(rest[:n]))
				rest = rest[n:]
			}
			if (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) || !slices.Equal(files, c.files) {
				t.Fatalf("%s: %q, %v", name, files, err)
			}
		}
	}
}

// Where somebody reads them, fields may follow files.
func TestFieldsOfAFormTail(t *testing.T) {
	file := strictPart(`name="file"; filename="a"`, "abc")
	for name, c := range map[string]struct {
		rest, purpose, fault string
	}{
		"the purpose":       {"abc\r\n" + strictPart(`name="purpose"`, "batch") + formEnd, "batch", ""},
		"more":              {"abc\r\n" + strictPart(`name="purpose"`, "user_data") + strictPart(`name="expires_after[anchor]"`, "created_at") + file + strictPart(`name="x"`, "") + formEnd, "user_data", ""},
		"two purposes":      {"abc\r\n" + strictPart(`name="purpose"`, "evals") + strictPart(`name="purpose"`, "batch") + formEnd, "evals", "more than once"},
		"another spelling":  {"abc\r\n" + strictPart(`name="Purpose"`, "batch") + formEnd, "", "must be written purpose"},
		"a model":           {"abc\r\n" + strictPart(`name="model"`, "") + formEnd, "", "send it first"},
		"a model of a tool": {"abc\r\n" + strictPart(`name="judge_model"`, "o3") + formEnd, "", "send it first"},
		"an id":             {"abc\r\n" + strictPart(`name="file_id"`, "f") + formEnd, "", "send it first"},
		"reach":             {"abc\r\n" + strictPart(`name="x"`, `{"agent":"a"}`) + formEnd, "", "send it first"},
		"a long field":      {"abc\r\n" + strictPart(`name="x"`, strings.Repeat("a", 9<<10)) + formEnd, "", "too long"},
	} {
		for size := range []int{1, 2, 3, 7, 100} {
			var form request.Form
			tail := request.NewFormTail(boundary, func([]byte, bool) error { return nil })
			tail.Field = func(name string, value []byte) error { return form.AddField(name, value) }
			var err error
			for rest := range slices.Chunk([]byte(c.rest), size+1) {
				if err = tail.Add(rest); err != nil {
					break
				}
			}
			if form.Purpose != c.purpose || c.fault == "" && !tail.Ended() || (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Fatalf("%s: %+v, %v", name, form, err)
			}
		}
	}
}

// FuzzStrictForm compares a strict form with what the standard library reads.
func FuzzStrictForm(f *testing.F) {
	f.Add(strictPart(`name="model"`, "a") + strictPart(`name="file"; filename="x"`, "data") + formEnd)
	f.Add(strictPart(`name=purpose`, "batch") + formEnd + "\r\n")
	f.Add(fmt.Sprintf("--%s\r\n\r\n\r\n--%s--", boundary, boundary))
	f.Fuzz(func(t *testing.T, body string) {
		got, err := request.ParseForm([]byte(body), boundary, true, true)
		if err != nil {
			return
		}
		reader := multipart.NewReader(strings.NewReader(body), boundary)
		for {
			part, err := reader.NextRawPart()
			if err != nil {
				return
			}
			var value bytes.Buffer
			_, _ = value.ReadFrom(part)
			_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
			switch name := params["name"]; {
			case strings.EqualFold(name, "model") && value.String() != got.Model, strings.EqualFold(name, "purpose") && value.String() != got.Purpose:
				t.Fatalf("%q: the standard library reads %s %q, here %+v", body, name, value.String(), got)
			}
		}
	})
}
