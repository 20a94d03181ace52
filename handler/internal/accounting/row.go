package accounting

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"spillway/handler/internal/openai/usage"
	"spillway/handler/internal/tablestore"
)

// schema is the version of the rows that this program writes. A newer one is
// read as far as its names are known.
const schema = 1

// How entries are laid out: an entry never moves once it has its place, so that
// no write of one column or row can miss what another has taken over. With names
// as long as configuration allows, a column stays below the service's 64 KiB and
// a row below its 1 MiB (facts/table-state.md §2).
const (
	perColumn = 40
	perRow    = 1000
)

// The columns of a row.
const (
	columnSchema   = "v"
	columnInstance = "i" // for people
	columnEntries  = "u" // and a number
)

// storedEntry is one entry. The meaning of a name never changes.
type storedEntry struct {
	Consumer   string `json:"c,omitempty"`
	Model      string `json:"m"`
	Backend    string `json:"b"`
	Currency   string `json:"y,omitempty"`
	Requests   int64  `json:"n"`
	Unmetered  int64  `json:"x,omitempty"`
	Broken     int64  `json:"k,omitempty"`
	Prompt     int64  `json:"p,omitempty"`
	Cached     int64  `json:"h,omitempty"`
	Completion int64  `json:"o,omitempty"`
	Reasoning  int64  `json:"r,omitempty"`
	Cost       Money  `json:"q,omitempty"`
}

func (k *Key) stored(s *Totals) storedEntry {
	return storedEntry{
		Consumer: k.Consumer, Model: k.Model, Backend: k.Backend, Currency: k.Currency,
		Requests: s.Requests, Unmetered: s.Unmetered, Broken: s.Broken, Cost: s.Cost,
		Prompt: s.Tokens.Prompt, Cached: s.Tokens.Cached, Completion: s.Tokens.Completion, Reasoning: s.Tokens.Reasoning,
	}
}

func (w *storedEntry) row(hour time.Time) Row {
	return Row{
		Hour: hour, Key: Key{w.Consumer, w.Model, w.Backend, w.Currency},
		Totals: Totals{w.Requests, w.Unmetered, w.Broken, usage.Tokens{Prompt: w.Prompt, Cached: w.Cached, Completion: w.Completion, Reasoning: w.Reasoning}, w.Cost},
	}
}

// inRange reports whether a program could have counted it: nobody's books are
// spoilt by a row that was edited by hand.
func (w *storedEntry) inRange() bool {
	for _, n := range [...]int64{w.Requests, w.Unmetered, w.Broken, w.Prompt, w.Cached, w.Completion, w.Reasoning} {
		if n < 0 || n > 1<<53 {
			return false
		}
	}
	return w.Cost >= 0
}

// Rows are found by their time: the month is the partition, the rest of the
// hour begins the key.
const (
	monthLayout = "2006-01"
	hourLayout  = "02T15"
)

func partitionOf(hour time.Time) string { return hour.Format(monthLayout) }

func keyOf(hour time.Time, writer string, page, row int) string {
	return hour.Format(hourLayout) + "|" + writer + "|" + strconv.Itoa(page) + "." + strconv.Itoa(row)
}

// hourOfRow is the hour that a row is of; false for a row that is not ours.
func hourOfRow(row *tablestore.Row) (time.Time, bool) {
	day, _, _ := strings.Cut(row.Key, "|")
	hour, err := time.Parse(monthLayout+"-"+hourLayout, row.Partition+"-"+day)
	return hour, err == nil
}

// encode is the columns of a row's entries.
func encode(instance string, entries []*entry) map[string]string {
	columns := map[string]string{columnSchema: strconv.Itoa(schema), columnInstance: instance}
	for i := 0; i < len(entries); i += perColumn {
		part := entries[i:min(i+perColumn, len(entries))]
		wires := make([]storedEntry, len(part))
		for j, e := range part {
			wires[j] = e.key.stored(&e.totals)
		}
		text, err := json.Marshal(wires)
		if err != nil {
			panic("usagebook: plain values did not encode: " + err.Error())
		}
		columns[columnEntries+strconv.Itoa(i/perColumn)] = string(text)
	}
	return columns
}

// decode appends the lines of a row.
func decode(row *tablestore.Row, into []Row) ([]Row, error) {
	hour, ok := hourOfRow(row)
	if !ok {
		return into, fmt.Errorf("usagebook: row %q of %q is no hour", row.Key, row.Partition)
	}
	for name, text := range row.Columns {
		if _, err := strconv.Atoi(strings.TrimPrefix(name, columnEntries)); err != nil || !strings.HasPrefix(name, columnEntries) {
			continue
		}
		var wires []storedEntry
		if err := json.Unmarshal([]byte(text), &wires); err != nil {
			return into, fmt.Errorf("usagebook: row %q of %q: %w", row.Key, row.Partition, err)
		}
		for i := range wires {
			if !wires[i].inRange() {
				return into, fmt.Errorf("usagebook: row %q of %q: an entry out of bounds", row.Key, row.Partition)
			}
			into = append(into, wires[i].row(hour))
		}
	}
	return into, nil
}
