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

// schema is the version of the rows that this program writes. Of a newer one,
// the names that are known are read.
const schema = 1

// An entry never moves to another column or row, so that no write can miss what
// another one has written. With the longest names that configuration allows, a
// column stays below the service's 64 KiB and a row below its 1 MiB
// (docs/shared-state.md#limits-and-cost).
const (
	perColumn = 40
	perRow    = 1000
)

// The columns of a row.
const (
	columnSchema   = "v"
	columnInstance = "i" // for operators who read the table
	columnEntries  = "u" // followed by a number
)

// storedEntry is the format of one entry. The meaning of a name never changes.
type storedEntry struct {
	Consumer   string `json:"c,omitempty"`
	Model      string `json:"m"`
	Backend    string `json:"b"`
	Currency   string `json:"y,omitempty"`
	Tier       string `json:"t,omitempty"`
	Caller     string `json:"l,omitempty"`
	Requests   int64  `json:"n"`
	Unmetered  int64  `json:"x,omitempty"`
	Broken     int64  `json:"k,omitempty"`
	Prompt     int64  `json:"p,omitempty"`
	Cached     int64  `json:"h,omitempty"`
	Completion int64  `json:"o,omitempty"`
	Reasoning  int64  `json:"r,omitempty"`
	Cost       Money  `json:"q,omitempty"`

	CacheWrite  int64 `json:"w,omitempty"`
	AudioInput  int64 `json:"a,omitempty"`
	AudioOutput int64 `json:"z,omitempty"`
	Images      int64 `json:"g,omitempty"`
	Seconds     int64 `json:"s,omitempty"`

	CacheWriteHour int64 `json:"j,omitempty"` // of CacheWrite

	EstimatedPrompt     int64 `json:"e,omitempty"` // of Prompt
	EstimatedCompletion int64 `json:"d,omitempty"` // of Completion
	EstimatedCost       Money `json:"f,omitempty"` // of Cost

	Withdrawn *storedEntry `json:"-w,omitempty"` // totals to be taken off; they may be those of another row
}

func (k *Key) stored(s *Totals) storedEntry {
	return storedEntry{
		Consumer: k.Consumer, Model: k.Model, Backend: k.Backend, Currency: k.Currency, Tier: k.Tier, Caller: k.Caller,
		Requests: s.Requests, Unmetered: s.Unmetered, Broken: s.Broken, Cost: s.Cost,
		Prompt: s.Tokens.Prompt, Cached: s.Tokens.Cached, Completion: s.Tokens.Completion, Reasoning: s.Tokens.Reasoning,
		CacheWrite: s.Tokens.CacheWrite, AudioInput: s.Tokens.AudioInput, AudioOutput: s.Tokens.AudioOutput, Images: s.Tokens.Images, Seconds: s.Tokens.Seconds,
		CacheWriteHour:  s.Tokens.CacheWriteHour,
		EstimatedPrompt: s.Estimated.Prompt, EstimatedCompletion: s.Estimated.Completion, EstimatedCost: s.EstimatedCost,
	}
}

func (e *entry) stored() storedEntry {
	stored := e.key.stored(&e.totals)
	if e.withdrawn != (Totals{}) {
		less := new(Key).stored(&e.withdrawn)
		stored.Withdrawn = &less
	}
	return stored
}

func (e *storedEntry) row(hour time.Time) Row {
	r := Row{
		Hour: hour, Key: Key{Consumer: e.Consumer, Caller: e.Caller, Model: e.Model, Backend: e.Backend, Currency: e.Currency, Tier: e.Tier},
		Totals: Totals{
			Requests: e.Requests, Unmetered: e.Unmetered, Broken: e.Broken, Cost: e.Cost, EstimatedCost: e.EstimatedCost,
			Estimated: usage.Tokens{Prompt: e.EstimatedPrompt, Completion: e.EstimatedCompletion},
			Tokens: usage.Tokens{
				Prompt: e.Prompt, Cached: e.Cached, Completion: e.Completion, Reasoning: e.Reasoning,
				CacheWrite: e.CacheWrite, AudioInput: e.AudioInput, AudioOutput: e.AudioOutput, Images: e.Images, Seconds: e.Seconds, CacheWriteHour: e.CacheWriteHour,
			},
		},
	}
	if e.Withdrawn != nil {
		r.Totals = r.minus(e.Withdrawn.row(hour).Totals)
	}
	return r
}

// inRange reports whether a program can have counted this: a row that was
// edited by hand must not spoil the totals.
func (e *storedEntry) inRange() bool {
	for _, n := range [...]int64{
		e.Requests, e.Unmetered, e.Broken, e.Prompt, e.Cached, e.Completion, e.Reasoning, e.EstimatedPrompt, e.EstimatedCompletion,
		e.CacheWrite, e.AudioInput, e.AudioOutput, e.Images, e.Seconds, e.CacheWriteHour,
	} {
		if n < 0 || n > 1<<53 {
			return false
		}
	}
	return e.Cost >= 0 && e.EstimatedCost >= 0 && (e.Withdrawn == nil || e.Withdrawn.inRange())
}

// Rows are listed by time: the month is the partition, and the rest of the hour
// begins the key.
const (
	monthLayout = "2006-01"
	hourLayout  = "02T15"
)

func partitionOf(hour time.Time) string { return hour.Format(monthLayout) }

func keyOf(hour time.Time, writer string, page, row int) string {
	return hour.Format(hourLayout) + "|" + writer + "|" + strconv.Itoa(page) + "." + strconv.Itoa(row)
}

// hourOfRow returns the hour of a table row; false for a row that is not of
// this package.
func hourOfRow(row *tablestore.Row) (time.Time, bool) {
	day, _, _ := strings.Cut(row.Key, "|")
	hour, err := time.Parse(monthLayout+"-"+hourLayout, row.Partition+"-"+day)
	return hour, err == nil
}

// encode returns the columns of a row with these entries.
func encode(instance string, entries []*entry) map[string]string {
	columns := map[string]string{columnSchema: strconv.Itoa(schema), columnInstance: instance}
	for i := 0; i < len(entries); i += perColumn {
		part := entries[i:min(i+perColumn, len(entries))]
		stored := make([]storedEntry, len(part))
		for j, e := range part {
			stored[j] = e.stored()
		}
		text, err := json.Marshal(stored)
		if err != nil {
			panic("accounting: plain values did not encode: " + err.Error())
		}
		columns[columnEntries+strconv.Itoa(i/perColumn)] = string(text)
	}
	return columns
}

// decode appends the usage in a table row.
func decode(row *tablestore.Row, into []Row) ([]Row, error) {
	hour, ok := hourOfRow(row)
	if !ok {
		return into, fmt.Errorf("usage row %q of %q is no hour", row.Key, row.Partition)
	}
	for name, text := range row.Columns {
		if _, err := strconv.Atoi(strings.TrimPrefix(name, columnEntries)); err != nil || !strings.HasPrefix(name, columnEntries) {
			continue
		}
		var stored []storedEntry
		if err := json.Unmarshal([]byte(text), &stored); err != nil {
			return into, fmt.Errorf("usage row %q of %q: %w", row.Key, row.Partition, err)
		}
		for i := range stored {
			if !stored[i].inRange() {
				return into, fmt.Errorf("usage row %q of %q: an entry out of bounds", row.Key, row.Partition)
			}
			into = append(into, stored[i].row(hour))
		}
	}
	return into, nil
}
