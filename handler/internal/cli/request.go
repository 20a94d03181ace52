package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// loggedRequest is a log line of a request (docs/observability.md#log-lines), as far
// as it is explained.
type loggedRequest struct {
	Message    string  `json:"msg"`
	ID         string  `json:"request_id"`
	Time       string  `json:"time"`
	Instance   string  `json:"instance"`
	Consumer   string  `json:"consumer"`
	Operation  string  `json:"operation"`
	Model      string  `json:"model"`
	Fallback   string  `json:"fallback_model"`
	Status     int     `json:"status"`
	Code       string  `json:"code"`
	Rule       string  `json:"rule"`
	Cause      string  `json:"cause"`
	Backend    string  `json:"backend"`
	Spilled    bool    `json:"spilled"`
	Stream     bool    `json:"stream"`
	Broken     bool    `json:"broken"`
	CallerLeft bool    `json:"caller_left"`
	Finish     string  `json:"finish"`
	Total      float64 `json:"total_ms"`
	FirstToken float64 `json:"first_token_ms"`
	Waited     float64 `json:"waited_ms"`
	Reopens    float64 `json:"reopens_ms"`
	Prompt     int64   `json:"prompt_tokens"`
	Completion int64   `json:"completion_tokens"`
	Cost       float64 `json:"cost"`
	Currency   string  `json:"currency"`
	Attempts   []struct {
		Backend, Verdict, Why               string
		Status                              int
		Probe, Hedge, Repeat, Trial, Silent bool
		SilentAfter                         float64 `json:"silent_after_ms"`
		AskedWait                           float64 `json:"asked_wait_ms"`
		Millis                              float64 `json:"ms"`
	} `json:"attempts"`
	Skipped []struct {
		Backend, Why, Cause, Scope string

		For float64 `json:"for_ms"`
	} `json:"skipped"`
}

// explainRequest finds the line of a request in the files, or in the input when
// there are none, and says what became of it.
func explainRequest(id string, files []string, in io.Reader, out io.Writer, asJSON bool) error {
	line, err := findLine(id, files, in)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(out, json.RawMessage(line))
	}
	var r loggedRequest
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("read the line of %s: %w", id, err)
	}
	r.print(out)
	return nil
}

func findLine(id string, files []string, in io.Reader) ([]byte, error) {
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		from := in
		if name != "-" {
			file, err := os.Open(name) //nolint:gosec // the operator names it
			if err != nil {
				return nil, &failure{err, err.Error(), "name a file of log lines, or pipe them in"}
			}
			defer file.Close()
			from = file
		}
		if line, err := scanLines(id, from); line != nil || err != nil {
			return line, err
		}
	}
	return nil, &failure{
		errors.New("no such line"), fmt.Sprintf("no line of request %q in %s", id, strings.Join(files, ", ")),
		"the id is that of the header x-request-id; in Application Insights find its line with infra/monitor/one-request.kql and pipe it in",
	}
}

// longestLine is the most of a line that is read: those of this program are shorter.
const longestLine = 64 << 10

// scanLines returns the line of the request; nil = there is none. What stands
// before the object, as some collectors write, is skipped, and so are longer lines,
// which other programs wrote.
func scanLines(id string, from io.Reader) ([]byte, error) {
	lines := bufio.NewReaderSize(from, longestLine)
	for {
		line, err := lines.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			line = nil
			_, err = lines.ReadSlice('\n')
		}
		if found := lineOf(id, line); found != nil {
			return found, nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return nil, &failure{err, "the log lines cannot be read: " + err.Error(), "name a file of log lines, or pipe them in"}
		}
	}
}

// lineOf is the object in the line, if it is of that request.
func lineOf(id string, line []byte) []byte {
	if !bytes.Contains(line, []byte(id)) {
		return nil
	}
	line = bytes.TrimSpace(line[max(bytes.IndexByte(line, '{'), 0):])
	var r loggedRequest
	if json.Unmarshal(line, &r) != nil || r.ID != id || r.Message != "request" {
		return nil
	}
	return bytes.Clone(line)
}

func (r *loggedRequest) print(out io.Writer) {
	fmt.Fprintf(out, "%s at %s on %s: %s %s of %s%s -> %d%s in %s\n", r.ID, r.Time, r.Instance, cmp.Or(r.Operation, "unknown operation"), r.Model,
		cmp.Or(r.Consumer, "an unknown caller"), onlyIf(r.Stream, ", streamed"), r.Status, optional(" ", r.Code), lasting(r.Total))
	if r.Rule != "" {
		fmt.Fprintf(out, "refused by %s%s\n", r.Rule, optional(": ", r.Cause))
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		status := onlyIf(a.Status >= 400 && !strings.Contains(a.Why, strconv.Itoa(a.Status)), fmt.Sprintf(" with %d", a.Status))
		line := fmt.Sprintf("%3d. %-24s %s%s%s after %s%s", i+1, a.Backend, a.Verdict, optional(" ", a.Why), status, lasting(a.Millis), waitText(a.AskedWait))
		line += onlyIf(a.Probe, ", probe") + onlyIf(a.Hedge, ", hedge") + onlyIf(a.Repeat, ", repeated") + onlyIf(a.Trial, ", trial") + onlyIf(a.Silent, ", silent"+onlyIf(a.SilentAfter > 0, " for longer than "+lasting(a.SilentAfter)))
		fmt.Fprintln(out, line)
	}
	for _, s := range r.Skipped {
		line := fmt.Sprintf("   - %-24s %s", s.Backend, s.Why) + onlyIf(s.Cause != "", " ("+s.Cause+")") + onlyIf(s.Scope == "instance", " on this instance alone")
		if s.For > 0 {
			line += " for " + lasting(s.For)
		}
		fmt.Fprintln(out, line)
	}
	r.printEnd(out)
}

// printEnd says what the caller got.
func (r *loggedRequest) printEnd(out io.Writer) {
	words := []string{
		onlyIf(r.Backend != "", onlyIf(r.Status < 400, "served by ")+onlyIf(r.Status >= 400, "the answer is that of ")+r.Backend+optional(" with ", r.Fallback)), onlyIf(r.Spilled, "spilled"),
		onlyIf(r.CallerLeft, "the caller left"), onlyIf(r.Broken && !r.CallerLeft, "broke off"), optional("finished: ", r.Finish),
		onlyIf(r.FirstToken > 0, "first token after "+lasting(r.FirstToken)), onlyIf(r.Waited > 0, "waited "+lasting(r.Waited)),
		onlyIf(r.Reopens > 0, "a backend was available again after "+lasting(r.Reopens)),
		onlyIf(r.Prompt+r.Completion > 0, fmt.Sprintf("%d prompt and %d completion tokens", r.Prompt, r.Completion)),
		onlyIf(r.Cost > 0, number(r.Cost)+" "+r.Currency),
	}
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	if len(words) > 0 {
		fmt.Fprintln(out, strings.Join(words, "; "))
	}
}

func waitText(ms float64) string {
	return onlyIf(ms > 0, ", asked to be left alone for "+lasting(ms))
}

func onlyIf(is bool, text string) string {
	if !is {
		return ""
	}
	return text
}

// optional is the text after a separator; "" = there is no text.
func optional(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

// lasting is a time in milliseconds as a person reads it.
func lasting(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func number(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
