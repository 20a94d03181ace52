package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

const (
	served  = `{"time":"2026-11-30T19:21:39.123Z","level":"INFO","msg":"request","request_id":"req_1","instance":"i","consumer":"team-a","operation":"chat","model":"gpt-4o","status":200,"stream":true,"backend":"ptu","priority":1,"spilled":true,"attempts":[{"backend":"x","verdict":"throttled","status":429,"ms":20},{"backend":"ptu","verdict":"served","status":200,"ms":900}],"first_token_ms":320,"prompt_tokens":300,"cached_tokens":100,"completion_tokens":50,"reasoning_tokens":0,"total_ms":925.5}`
	refused = `{"time":"2026-11-30T19:21:41Z","msg":"request","consumer":"team-a","model":"gpt-4o","status":429,"code":"rate_limit_exceeded","attempts":[],"total_ms":1}`
)

func read(t *testing.T, r *Reader, name, text string) *Log {
	t.Helper()
	if err := r.Add(name, strings.NewReader(text)); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	l, err := r.Log()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return l
}

func TestTheProgramsOwnLog(t *testing.T) {
	l := read(t, new(Reader), "a.log", refused+"\n"+served+"\n")
	want := Record{
		At: time.Date(2026, 11, 30, 19, 21, 39, 123e6, time.UTC).UnixNano(), Prompt: 300, Cached: 100, Completion: 50, First: 294_500, Total: 900_000,
		Model: 1, Consumer: 1, Backend: 1, Status: 200, Stream: true, Spilled: true,
	}
	if len(l.Records) != 2 || l.Records[0] != want {
		t.Errorf("%+v, want %+v", l.Records, want)
	}
	if x := l.Records[1]; !x.Unmeasured || x.Prompt != 300 || x.Completion != 50 || x.Status != 429 || l.Unmeasured() != 1 {
		t.Errorf("%+v", x)
	}
	if l.Models.name(1) != "gpt-4o" || l.Consumers.name(1) != "team-a" || l.Backends.name(1) != "ptu" {
		t.Errorf("%+v", l)
	}
	if s := l.Summarize(); s.Reality == nil || s.Reality.Refused != 1 || s.Reality.Spilled != 1 || s.Reality.Served["ptu"] != 1 {
		t.Errorf("%+v", s)
	}
}

// csvQuoted is a value as a CSV has it.
func csvQuoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

func TestExports(t *testing.T) {
	dimensions := `{"gen_ai.usage.input_tokens":"300","gen_ai.usage.output_tokens":50,"gen_ai.request.model":"gpt-4o","spillway.consumer":"team-a"}`
	utf := func(order string, text string) string {
		b := []byte(order)
		for _, c := range utf16.Encode([]rune(text)) {
			if order == "\xff\xfe" {
				b = append(b, byte(c), byte(c>>8))
			} else {
				b = append(b, byte(c>>8), byte(c))
			}
		}
		return string(b)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte("\xef\xbb\xbftime,prompt_tokens,completion_tokens,model,consumer\n2026-11-30 19:21:39.123,300,50,gpt-4o,team-a\n"))
	_ = z.Close()
	tables, _ := json.MarshalIndent(map[string]any{"tables": []any{map[string]any{
		"name": "PrimaryResult", "columns": []any{map[string]string{"name": "TimeGenerated", "type": "datetime"}, map[string]string{"name": "Message"}, map[string]string{"name": "ItemCount"}},
		"rows": []any{[]any{"2026-11-30T19:21:39.123Z", served, 1}},
	}}}, "", "  ")
	object, _ := json.Marshal([]any{map[string]any{"TimeGenerated": "2026-11-30T19:21:39.123Z", "Message": served, "ItemCount": "1", "TableName": "PrimaryResult"}})
	wrapped, _ := json.Marshal(map[string]any{"time": "2026-11-30T19:21:40Z", "Message": served, "ItemCount": 1})
	for name, text := range map[string]string{
		"portal, CSV":               "TimeGenerated [UTC],Message,ItemCount\n" + `"11/30/2026, 7:21:39.123 PM",` + csvQuoted(served) + ",1\n",
		"portal, UTF-8 with a mark": "\xef\xbb\xbfTimeGenerated [UTC],Message,ItemCount\r\n" + `"11/30/2026, 7:21:39.123 PM",` + csvQuoted(served) + ",1\r\n",
		"classic, dimensions":       "timestamp,message,customDimensions,itemCount\n2026-11-30T19:21:39.123Z,POST /openai," + csvQuoted(dimensions) + ",1\n",
		"query API":                 string(tables),
		"az monitor":                string(object),
		"diagnostic lines":          string(wrapped) + "\n",
		"functions, diagnostics":    fmt.Sprintf(`{"time":"2026-11-30T19:21:40Z","category":"FunctionAppLogs","properties":{"message":%q,"level":"Information"}}`, served),
		"of an event hub":           fmt.Sprintf(`{"records":[{"time":"2026-11-30T19:21:40Z","category":"FunctionAppLogs","properties":{"message":%q}}]}`, served),
		"UTF-16 without a mark":     utf("\xff\xfe", "time,prompt,completion,model,consumer\r\n2026-11-30T19:21:39.123Z,300,50,gpt-4o,team-a\r\n")[2:],
		"gzip, cut off":             zipped.String()[:zipped.Len()-6],
		"UTF-16, cut off":           utf("\xff\xfe", "time,prompt,completion,model,consumer\r\n2026-11-30T19:21:39.123Z,300,50,gpt-4o,team-a\r\n") + "a",
		"objects of dimensions":     fmt.Sprintf(`[{"timestamp":"2026-11-30T19:21:39.123Z","customDimensions":%s}]`, dimensions),
		"dimensions as text":        fmt.Sprintf(`[{"timestamp":"2026-11-30T19:21:39.123Z","customDimensions":%q}]`, dimensions),
		"semicolons":                "Time;Prompt Tokens;Completion Tokens;Model;Consumer\n30.11.2026 19:21:39.123;300;50;gpt-4o;team-a\n",
		"tabs, an empty column":     "note\ttime\tinput_tokens\toutput_tokens\tmodel\tuser\n\t2026-11-30T19:21:39.123Z\t300\t50\tgpt-4o\tteam-a\n",
		"bars":                      "time|promptTokens|completionTokens|model|consumer\n1796066499123|300|50|gpt-4o|team-a\n",
		"UTF-16, little":            utf("\xff\xfe", "time,prompt,completion,model,consumer\r\n2026-11-30T19:21:39.123Z,300,50,gpt-4o,team-a\r\n"),
		"UTF-16, big":               utf("\xfe\xff", "time,prompt,completion,model,consumer\r\n2026-11-30T19:21:39.123Z,300,50,gpt-4o,team-a\r\n"),
		"gzip":                      zipped.String(),
		"JSON lines of others":      `{"timestamp":"2026-11-30T20:21:39.123+01:00","prompt_tokens":300,"completion_tokens":50,"model":"gpt-4o","team":"team-a"}` + "\n",
		"text before":               "Starting host\n" + `{"time":"2026-11-30T19:00:00Z","msg":"started"}` + "\n" + served + "\n",
	} {
		l := read(t, new(Reader), name, text)
		x := l.Records[0]
		if len(l.Records) != 1 || x.At != time.Date(2026, 11, 30, 19, 21, 39, 123e6, time.UTC).UnixNano() || x.Prompt != 300 || x.Completion != 50 ||
			l.Models.name(x.Model) != "gpt-4o" || l.Consumers.name(x.Consumer) != "team-a" {
			t.Errorf("%s: %+v of %v and %v, %v", name, l.Records, l.Models.All, l.Consumers.All, l.Omitted)
		}
	}
}

func TestColumnsThatAreNamed(t *testing.T) {
	r := &Reader{Columns: map[string]string{"time": "when", "prompt": "In", "completion": "out", "model": "which"}, Zone: time.FixedZone("", 3600)}
	l := read(t, r, "x.csv", "when,in,out,which\n2026-11-30 20:21:39,300,50,gpt-4o\n")
	if x := l.Records[0]; time.Unix(0, x.At).UTC().Hour() != 19 || x.Prompt != 300 || l.Models.name(x.Model) != "gpt-4o" {
		t.Errorf("%+v", x)
	}
	l = read(t, &Reader{Model: "gpt-4o"}, "azure.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n")
	if x := l.Records[0]; x.Prompt != 4808 || x.Completion != 10 || l.Models.name(x.Model) != "gpt-4o" || x.At%1e9 != 979960000 {
		t.Errorf("%+v", x)
	}
	for text, want := range map[string]string{
		"a,b,c\n1,2,3\n":        "name them with --columns",
		"when,in,what\n1,2,3\n": `no column "out" for completion; the columns are: when, in, what`,
	} {
		r := new(Reader)
		if strings.HasPrefix(want, "no") {
			r.Columns = map[string]string{"time": "when", "prompt": "in", "completion": "out"}
		}
		if err := r.Add("x.csv", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := CheckColumns(map[string]string{"tokens": "x"}); err == nil {
		t.Error("a role that is none was accepted")
	}
}

// Whatever is broken is counted, by reason, and what follows is read.
func TestBrokenLinesAreCounted(t *testing.T) {
	long := `{"msg":"request","x":"` + strings.Repeat("x", 3<<20) + `"}`
	lines := []string{
		served, `{"time":"2026-`, "plain text", long, `{"time":"2026-11-30T19:21:39Z","msg":"throttled"}`, `{"time":"yesterday","msg":"request","model":"gpt-4o","prompt_tokens":1,"completion_tokens":1}`,
		strings.Replace(served, `"prompt_tokens":300`, `"prompt_tokens":3e99`, 1), strings.Replace(served, `"completion_tokens":50`, `"completion_tokens":-50`, 1),
		strings.Replace(served, `"status":200`, `"status":400`, 1), strings.Replace(served, `"prompt_tokens":300,`, ``, 1), `{"a":[`, "null", `{"msg":7}`, "{}", served,
	}
	l := read(t, new(Reader), "app.log", strings.Join(lines, "\n"))
	if len(l.Records) != 2 || l.Lines != len(lines) {
		t.Errorf("%d requests of %d lines", len(l.Records), l.Lines)
	}
	got := map[string]int{}
	for _, o := range l.Omitted {
		got[o.Why] = o.Lines
		if o.Example == "" {
			t.Errorf("no place: %+v", o)
		}
	}
	for why, n := range map[string]int{
		"not JSON": 4, "longer than 1 MiB": 1, "log lines of other events": 1, "its time cannot be read": 3, "numbers that cannot be true": 2,
		"refused for what the caller asked (4xx): it would be again": 1, "answers without tokens": 1,
	} {
		if got[why] != n {
			t.Errorf("%s: %d, want %d; all: %v", why, got[why], n, got)
		}
	}
	csv := "time,prompt,completion,note\n2026-11-30T19:21:39Z,1,2,\"open\n" + strings.Repeat("2026-11-30T19:21:39Z,1,2,x\n", 300) + "x\n2026-11-30T19:21:39Z,1,2,\"two\nlines\"\n2026-11-30T19:21:39Z,a,2,\n"
	l = read(t, new(Reader), "a.csv", csv)
	if len(l.Records) != 102 || l.Lines != 306 {
		t.Errorf("%d requests of %d lines: %v", len(l.Records), l.Lines, l.Omitted)
	}
	for name, text := range map[string]string{"empty": "", "blank": "\n \n", "a header": "time,prompt,completion\n", "nothing of use": `{"msg":"started"}`} {
		r := new(Reader)
		err := r.Add(name, strings.NewReader(text))
		if _, none := r.Log(); err == nil && none == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A log asks for no more memory than its lines do, and shows a terminal no more than text.
func TestHostileLogs(t *testing.T) {
	r := new(Reader)
	r.log.Sampled = mostCopies - 100
	l := read(t, r, "a.csv", "time,prompt,completion,model,itemCount\n"+strings.Repeat("2026-11-30T19:21:39Z,1,2,\x1b[31mred,80\n", 3))
	if len(l.Records) != 3+79 || len(l.Omitted) != 1 || l.Omitted[0].Lines != 2 {
		t.Errorf("%d requests; %+v", len(l.Records), l.Omitted)
	}
	if got := l.Models.All[1]; got != "?[31mred" {
		t.Errorf("a name is %q", got)
	}
	err := new(Reader).Add("binary", strings.NewReader("\x01\x1b[2J,"+strings.Repeat("\x02,", 10_000)+"\n"))
	if err == nil || strings.ContainsAny(err.Error(), "\x01\x02\x1b") || len(err.Error()) > 1000 {
		t.Errorf("%.300q", err)
	}
}

func TestSampledLinesStandForMore(t *testing.T) {
	l := read(t, new(Reader), "a.csv", "timestamp,message,itemCount\n2026-11-30T19:21:39Z,"+csvQuoted(served)+",25\n2026-11-30T19:29:39Z,"+csvQuoted(served)+",0\n")
	if len(l.Records) != 26 || l.Sampled != 24 {
		t.Errorf("%d requests, %d of them copies", len(l.Records), l.Sampled)
	}
	for i := range l.Records {
		if away := time.Duration(l.Records[i].At - time.Date(2026, 11, 30, 19, 21, 39, 123e6, time.UTC).UnixNano()).Abs(); away > 30*time.Second {
			t.Errorf("a copy is %v away", away)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, text := range []string{served, refused, "time,prompt,completion\n1,2,3\n", `{"tables":[{"columns":[{"name":"Message"}],"rows":[["{}",null]]}]}`, "[{}]", "\xff\xfe{\x00", "\x1f\x8b", "a;b\n\"\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := new(Reader)
		if r.Add("x", bytes.NewReader(text)) != nil {
			return
		}
		l, err := r.Log()
		if err == nil && len(l.Records) == 0 {
			t.Error("no requests and no error")
		}
		for i := range l.Records {
			if x := &l.Records[i]; x.Prompt < 0 || x.Completion < 0 || x.Cached < 0 || x.Cached > x.Prompt || i > 0 && x.At < l.Records[i-1].At {
				t.Errorf("%+v", x)
			}
		}
	})
}
