package replay

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// readCSV reads a table whose first row names its columns, separated by commas,
// semicolons, tabs or bars.
func (r *Reader) readCSV(text *bufio.Reader) error {
	var at columns
	var fault error
	separator := ","
	joined := joiner{}
	err := r.eachLine(text, func(line []byte) {
		switch {
		case fault != nil:
		case at == nil:
			separator = separatorOf(line)
			at, fault = r.columnsOf(split(string(line), separator))
		default:
			if whole, ok := joined.add(r, line); ok {
				r.row(at.of(split(whole, separator)))
			}
		}
	})
	joined.end(r)
	return errors.Join(err, fault)
}

// separatorOf is what separates the names of the columns.
func separatorOf(header []byte) string {
	best := ","
	for _, s := range []string{";", "\t", "|"} {
		if bytes.Count(header, []byte(s)) > bytes.Count(header, []byte(best)) {
			best = s
		}
	}
	return best
}

// split takes a row apart. What is not well quoted is taken as it is written.
func split(line, separator string) []string {
	if !strings.Contains(line, `"`) {
		return strings.Split(line, separator)
	}
	c := csv.NewReader(strings.NewReader(line))
	c.Comma, c.LazyQuotes, c.FieldsPerRecord = rune(separator[0]), true, -1
	values, err := c.Read()
	if err != nil {
		return strings.Split(line, separator)
	}
	return values
}

// mostJoined is how many lines one row may have. A quote that nobody closes then costs
// so many rows, not all.
const mostJoined = 200

// joiner puts rows together whose quoted values have several lines.
type joiner struct {
	rows  []string
	quote bool // one is open
}

// add adds a line, and returns the row that it ends.
func (j *joiner) add(r *Reader, line []byte) (row string, ok bool) {
	if bytes.Count(line, []byte(`"`))%2 == 1 {
		j.quote = !j.quote
	}
	if !j.quote && len(j.rows) == 0 {
		return string(line), true
	}
	j.rows = append(j.rows, string(line))
	if j.quote && len(j.rows) < mostJoined {
		return "", false
	}
	row, ok = strings.Join(j.rows, "\n"), !j.quote
	j.end(r)
	return row, ok
}

// end gives a row up that is not closed.
func (j *joiner) end(r *Reader) {
	if j.quote {
		for range j.rows {
			r.omit("a quote that is not closed")
		}
	}
	*j = joiner{}
}

// readExport reads what the query APIs answer, {"tables": [{"columns": …, "rows": …}]},
// or a list of objects.
func (r *Reader) readExport(text *bufio.Reader) error {
	d := json.NewDecoder(text)
	first, err := d.Token()
	if err != nil {
		return err
	}
	if first == json.Delim('[') {
		return r.readObjects(d)
	}
	if _, err := d.Token(); err != nil { // "tables"
		return err
	}
	var all []exportTable
	if err := d.Decode(&all); err != nil {
		return fmt.Errorf("the tables of the export: %w", err)
	}
	for i := range all {
		if err := r.readTable(&all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) readObjects(d *json.Decoder) error {
	for d.More() {
		var object map[string]any
		err := d.Decode(&object)
		r.line++
		r.countLine()
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &kind):
			r.omit("no object")
		case err != nil:
			r.omit("not JSON, nor anything after it")
			return nil //nolint:nilerr // it is counted: no line is fatal
		case object["msg"] != nil:
			text, _ := json.Marshal(object) //nolint:errchkjson // it was read from JSON
			r.jsonLine(text)
		default:
			r.object(object)
		}
	}
	return nil
}

// exportTable is a table of an export. Its columns are names, or objects with one.
type exportTable struct {
	Columns []struct {
		Name string `json:"name"`
	} `json:"columns"`
	Rows [][]any `json:"rows"`
}

func (r *Reader) readTable(t *exportTable) error {
	names := make([]string, len(t.Columns))
	for i := range names {
		names[i] = t.Columns[i].Name
	}
	at, err := r.columnsOf(names)
	if err != nil {
		return err
	}
	for _, values := range t.Rows {
		texts := make([]string, len(values))
		for i := range values {
			texts[i] = textOf(values[i])
		}
		r.line++
		r.countLine()
		r.row(at.of(texts))
	}
	return nil
}
