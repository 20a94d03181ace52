package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"spillway/handler/internal/openai/operations"
)

// Reader reads logs: the program's own lines, what Application Insights and Log
// Analytics export of them, and any CSV or JSON with times and tokens. Lines that cannot
// be used are counted, whatever is wrong with them.
type Reader struct {
	Columns  map[string]string // by role: what the log calls it; nil = the usual names
	Model    string            // of requests that name none
	Zone     *time.Location    // of times without a zone; nil = UTC
	Progress func(lines int)   // called now and then; nil = it is not

	log    Log
	file   string
	line   int
	layout string // of the last time that could be read
	chance *rand.Rand
}

// Log returns what was read. The error is that there are no requests.
func (r *Reader) Log() (*Log, error) {
	r.log.finish()
	if len(r.log.Records) == 0 {
		return &r.log, fmt.Errorf("no request was found in %d lines%s", r.log.Lines, r.log.explain())
	}
	return &r.log, nil
}

// explain is why lines were left out.
func (l *Log) explain() (text string) {
	for _, o := range l.Omitted {
		text += fmt.Sprintf("; %d: %s (first at %s)", o.Lines, o.Why, o.Example)
	}
	return text
}

const (
	longestLine = 1 << 20
	headBytes   = 64 << 10
)

// Add reads a file. The error is that the file cannot be read, or that it has none of
// the columns that are needed.
func (r *Reader) Add(name string, in io.Reader) error {
	r.file, r.line = name, 0
	if r.chance == nil {
		r.chance = random(2)
	}
	text, err := decoded(bufio.NewReaderSize(in, longestLine))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	head, err := text.Peek(headBytes)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	switch start := bytes.TrimSpace(head); {
	case len(start) == 0:
		err = nil
	case start[0] == '[' || tables().Match(start):
		err = r.readExport(text)
	case start[0] == '{' || logLine().Match(head):
		err = r.eachLine(text, r.jsonLine)
	default:
		err = r.readCSV(text)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) { // compressed, or in UTF-16
		r.omit("the file ends in the middle")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

var (
	tables  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)^\{\s*"tables"\s*:`) })
	logLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^\{"time":`) })
)

// decoded is a text without compression and byte order mark, in UTF-8.
func decoded(in *bufio.Reader) (*bufio.Reader, error) {
	head, _ := in.Peek(3)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		return decoded(bufio.NewReaderSize(unzipped, longestLine))
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err := in.Discard(3)
		return in, err
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), len(head) == 3 && head[1] == 0:
		return bufio.NewReaderSize(&utf16Reader{in: in}, longestLine), nil
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}), len(head) == 3 && head[0] == 0:
		return bufio.NewReaderSize(&utf16Reader{in: in, big: true}, longestLine), nil
	}
	return in, nil
}

// utf16Reader reads UTF-16, as spreadsheets write it, as UTF-8 without the mark.
type utf16Reader struct {
	in   *bufio.Reader
	big  bool
	rest []byte
}

func (u *utf16Reader) Read(p []byte) (n int, err error) {
	for len(u.rest) == 0 {
		c, err := u.unit()
		if err != nil {
			return 0, err
		}
		if utf16.IsSurrogate(c) {
			second, err := u.unit()
			if err != nil {
				return 0, err
			}
			c = utf16.DecodeRune(c, second)
		}
		if c != '\ufeff' {
			u.rest = utf8.AppendRune(u.rest, c)
		}
	}
	n = copy(p, u.rest)
	u.rest = u.rest[:copy(u.rest, u.rest[n:])]
	return n, nil
}

func (u *utf16Reader) unit() (rune, error) {
	var b [2]byte
	if _, err := io.ReadFull(u.in, b[:]); err != nil {
		return 0, err
	}
	if u.big {
		b[0], b[1] = b[1], b[0]
	}
	return rune(b[0]) | rune(b[1])<<8, nil
}

// eachLine calls do with each line that is not empty. One that is too long is counted
// and left out.
func (r *Reader) eachLine(text *bufio.Reader, do func(line []byte)) error {
	for {
		line, err := text.ReadSlice('\n')
		r.line++
		for long := false; errors.Is(err, bufio.ErrBufferFull); long = true {
			if line = nil; !long {
				r.countLine()
				r.omit("longer than 1 MiB")
			}
			_, err = text.ReadSlice('\n')
		}
		if line = bytes.TrimRight(line, "\r\n"); len(bytes.TrimSpace(line)) > 0 {
			r.countLine()
			do(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

const progressEvery = 1 << 14

func (r *Reader) countLine() {
	r.log.Lines++
	if r.Progress != nil && r.log.Lines%progressEvery == 0 {
		r.Progress(r.log.Lines)
	}
}

func (r *Reader) omit(why string) { r.log.omit(why, fmt.Sprintf("%s:%d", r.file, r.line)) }

// programLine is a line of the program's log, as far as it is used; or one in which a
// collector has wrapped it.
type programLine struct {
	Time       string   `json:"time"`
	Msg        string   `json:"msg"`
	Model      string   `json:"model"`
	Requested  string   `json:"requested_model"`
	Consumer   string   `json:"consumer"`
	Backend    string   `json:"backend"`
	Operation  string   `json:"operation"`
	URL        string   `json:"url"`
	Status     int16    `json:"status"`
	Stream     bool     `json:"stream"`
	Spilled    bool     `json:"spilled"`
	Prompt     *float64 `json:"prompt_tokens"`
	Cached     float64  `json:"cached_tokens"`
	Completion float64  `json:"completion_tokens"`
	First      float64  `json:"first_token_ms"`
	Total      float64  `json:"total_ms"`
	Attempts   []struct {
		MS float64 `json:"ms"`
	} `json:"attempts"`
}

// jsonLine reads a line of a file of JSON objects.
func (r *Reader) jsonLine(line []byte) {
	if line = bytes.TrimSpace(line); line[0] != '{' {
		r.omit("not JSON")
		return
	}
	var l programLine
	if json.Unmarshal(line, &l) == nil && l.Msg == "request" {
		r.request(&l, 1)
		return
	}
	var object map[string]any
	switch {
	case json.Unmarshal(line, &object) != nil:
		r.omit("not JSON")
	case l.Msg != "":
		r.omit("log lines of other events")
	default:
		r.object(object)
	}
}

// request adds a request of the program's log, for which so many stand.
func (r *Reader) request(l *programLine, count float64) {
	x := Record{
		Status: l.Status, Stream: l.Stream, Classic: l.URL == operations.Deployments.String(), Spilled: l.Spilled, Backend: r.log.Backends.number(l.Backend),
		Model: r.log.Models.number(l.Model), Consumer: r.log.Consumers.number(l.Consumer),
	}
	if last := len(l.Attempts) - 1; last >= 0 && l.Backend != "" {
		took := l.Attempts[last].MS
		x.Total, x.First = micros(took), micros(took)
		if l.Stream && l.First > 0 {
			x.First = micros(max(l.First-(l.Total-took), 0.001))
		}
	}
	at, ok := r.instant(l.Time)
	prompt := -1.0
	if l.Prompt != nil {
		prompt = *l.Prompt
	}
	switch {
	case !ok:
		r.omit("its time cannot be read")
	case l.Model == "" && l.Status >= 400:
		r.omit("refused before a model was known: no request of the pool")
	default:
		x.At = at
		r.add(&x, prompt, l.Cached, l.Completion, count)
	}
}

// micros is a time in milliseconds as the record has it; 0 where it cannot be one.
func micros(ms float64) int32 {
	if us := ms * 1000; us > 0 && us <= math.MaxInt32 {
		return int32(us)
	}
	return 0
}

// mostTokens is more than any request has.
const mostTokens = 100_000_000

// mostCount is more requests than one line of a sampled log stands for.
const mostCount = 100_000

// add adds a request, for which so many stand. A prompt below 0 is not known.
func (r *Reader) add(x *Record, prompt, cached, completion, count float64) {
	x.Unmeasured = prompt < 0
	switch {
	case !(completion >= 0 && completion <= mostTokens && cached >= 0 && prompt <= mostTokens && count >= 0 && count <= mostCount):
		r.omit("numbers that cannot be true")
	case x.Status >= 400 && x.Status < 500 && x.Status != 429 && x.Status != 408 && x.Status != 499:
		r.omit("refused for what the caller asked (4xx): it would be again")
	case x.Unmeasured && x.Status < 400:
		r.omit("answers without tokens")
	default:
		if x.Model == 0 {
			x.Model = r.log.Models.number(r.Model)
		}
		if !x.Unmeasured {
			x.Prompt, x.Completion = int32(prompt), int32(completion)
			x.Cached = int32(min(cached, prompt))
		}
		r.log.Records = append(r.log.Records, *x)
		r.spread(x, int(math.Round(count))-1)
	}
}

// sampledOver is the time over which the requests are spread that a line of a sampled
// log stands for.
const sampledOver = time.Minute

// mostCopies bounds the memory that a log may ask for by numbers alone.
const mostCopies = 10_000_000

// spread adds the other requests that a line stands for, at random around it.
func (r *Reader) spread(x *Record, others int) {
	if others > mostCopies-r.log.Sampled {
		r.omit("stands for more requests than 10,000,000 with those before: counted as one")
		return
	}
	for range others {
		one := *x
		one.At += r.chance.Int64N(int64(sampledOver)) - int64(sampledOver)/2
		r.log.Records = append(r.log.Records, one)
		r.log.Sampled++
	}
}
