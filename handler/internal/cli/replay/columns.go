package replay

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The roles of columns.
const (
	roleTime       = "time"
	rolePrompt     = "prompt"
	roleCompletion = "completion"
	roleCached     = "cached"
	roleModel      = "model"
	roleConsumer   = "consumer"
	roleStatus     = "status"
	roleStream     = "stream"
	roleFirst      = "first"
	roleTotal      = "total"
	roleCount      = "count"
	roleMessage    = "message"
	roleDimensions = "dimensions"
)

// usualNames are what logs call these columns, in lower case without anything but
// letters and digits, the likeliest first.
var usualNames = map[string][]string{
	roleTime:       {"time", "timestamp", "timegenerated", "timegeneratedutc", "timestamputc", "datetime", "starttime", "arrival", "date"},
	rolePrompt:     {"prompttokens", "contexttokens", "inputtokens", "genaiusageinputtokens", "tokensin", "prompt", "input"},
	roleCompletion: {"completiontokens", "generatedtokens", "outputtokens", "genaiusageoutputtokens", "tokensout", "completion", "output"},
	roleCached:     {"cachedtokens", "cachedprompttokens", "genaiusagecachereadinputtokens"},
	roleModel:      {"model", "genairequestmodel", "modelname", "deployment", "deploymentname"},
	roleConsumer:   {"consumer", "spillwayconsumer", "subscription", "subscriptionid", "team", "user"},
	roleStatus:     {"status", "statuscode", "httpresponsestatuscode", "resultcode"},
	roleStream:     {"stream", "genairequeststream"},
	roleFirst:      {"firsttokenms", "ttftms"},
	roleTotal:      {"totalms", "durationms", "duration"},
	roleCount:      {"itemcount"},
	roleMessage:    {"message"},
	roleDimensions: {"customdimensions", "properties"},
}

// CheckColumns reports whether each role is one, for the names of an operator.
func CheckColumns(columns map[string]string) error {
	for role := range columns {
		if _, ok := usualNames[role]; !ok {
			return fmt.Errorf("a column cannot be %q: the roles are %s", role, strings.Join(slices.Sorted(maps.Keys(usualNames)), ", "))
		}
	}
	return nil
}

// plainName is a name in lower case without anything but letters and digits.
func plainName(name string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToLower(c)
		}
		return -1
	}, name)
}

// columns is where in a row each role is; -1 = nowhere.
type columns map[string]int

// columnsOf finds the roles among the names of columns. The error names a column of the
// operator's that is missing, or what is needed and missing.
func (r *Reader) columnsOf(names []string) (columns, error) {
	found := columns{}
	for role, usual := range usualNames {
		found[role] = -1
		if own := r.Columns[role]; own != "" {
			i := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(strings.TrimSpace(name), own) })
			if i < 0 {
				return nil, fmt.Errorf("there is no column %q for %s; the columns are: %s", own, role, shown(names))
			}
			found[role] = i
			continue
		}
		for _, name := range slices.Backward(usual) {
			if i := slices.IndexFunc(names, func(n string) bool { return plainName(n) == name }); i >= 0 {
				found[role] = i
			}
		}
	}
	wrapped := found[roleMessage] >= 0 || found[roleDimensions] >= 0
	if found[roleTime] < 0 && found[roleMessage] < 0 || (found[rolePrompt] < 0 || found[roleCompletion] < 0) && !wrapped {
		return nil, fmt.Errorf("the columns of time, prompt tokens and completion tokens are not known among: %s; name them with --columns time=…,prompt=…,completion=…", shown(names))
	}
	return found, nil
}

// shown lists names of columns, whatever the file is.
func shown(names []string) string {
	const most = 40
	text := make([]string, 0, most)
	for _, name := range names[:min(len(names), most)] {
		text = append(text, printable(name))
	}
	if len(names) > most {
		text = append(text, "…")
	}
	return strings.Join(text, ", ")
}

// row is one row of a table, or one object.
type row func(role string) string

// of is a row of values.
func (c columns) of(values []string) row {
	return func(role string) string {
		if i := c[role]; i >= 0 && i < len(values) {
			return strings.TrimSpace(values[i])
		}
		return ""
	}
}

// row adds the request of a row: of the program's line in its message, else of its
// columns and its dimensions.
func (r *Reader) row(get row) {
	count := 1.0
	if text := get(roleCount); text != "" {
		count = numberOf(text)
	}
	message := get(roleMessage)
	if text := get(roleDimensions); strings.HasPrefix(text, "{") && !strings.HasPrefix(message, "{") {
		var dimensions map[string]any
		if json.Unmarshal([]byte(text), &dimensions) == nil {
			inner := r.members(dimensions)
			get, message = get.or(inner), inner(roleMessage)
		}
	}
	if strings.HasPrefix(message, "{") {
		var l programLine
		switch err := json.Unmarshal([]byte(message), &l); {
		case err != nil:
			r.omit("not JSON")
		case l.Msg != "request":
			r.omit("log lines of other events")
		default:
			r.request(&l, count)
		}
		return
	}
	r.plainRow(get, count)
}

// or is a row whose empty values are those of another.
func (get row) or(other row) row {
	return func(role string) string {
		if value := get(role); value != "" {
			return value
		}
		return other(role)
	}
}

// members is an object as a row.
func (r *Reader) members(object map[string]any) row {
	names := slices.Sorted(maps.Keys(object))
	at := columns{}
	for role, usual := range usualNames {
		at[role] = -1
		if own := r.Columns[role]; own != "" {
			at[role] = slices.Index(names, own)
			continue
		}
		for _, name := range slices.Backward(usual) {
			if i := slices.IndexFunc(names, func(n string) bool { return plainName(n) == name }); i >= 0 {
				at[role] = i
			}
		}
	}
	return func(role string) string {
		if i := at[role]; i >= 0 {
			return textOf(object[names[i]])
		}
		return ""
	}
}

// object adds the request of an object, or those of its records, as event hubs wrap them.
func (r *Reader) object(object map[string]any) {
	records, wrapped := object["records"].([]any)
	if !wrapped {
		r.row(r.members(object))
		return
	}
	for _, record := range records {
		if one, ok := record.(map[string]any); ok {
			r.row(r.members(one))
		} else {
			r.omit("no object")
		}
	}
}

// textOf is a value of JSON as a CSV has it.
func textOf(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(text)
}

// plainRow adds the request of a row that tells its time and tokens itself.
func (r *Reader) plainRow(get row, count float64) {
	prompt, completion := get(rolePrompt), get(roleCompletion)
	at, ok := r.instant(get(roleTime))
	x := Record{
		At: at, Status: int16(min(max(orZero(get(roleStatus)), 0), 999)), Stream: get(roleStream) == "" || strings.EqualFold(get(roleStream), "true"),
		Model: r.log.Models.number(get(roleModel)), Consumer: r.log.Consumers.number(get(roleConsumer)),
		First: micros(orZero(get(roleFirst))), Total: micros(orZero(get(roleTotal))),
	}
	if x.First == 0 && !x.Stream {
		x.First = x.Total
	}
	if x.First == 0 || x.Total == 0 {
		x.First, x.Total = 0, 0
	}
	switch {
	case !ok:
		r.omit("its time cannot be read")
	case prompt == "" && completion == "" && !x.refused():
		r.omit("answers without tokens")
	case prompt == "" && completion == "":
		r.add(&x, -1, 0, 0, count)
	default:
		r.add(&x, numberOf(prompt), orZero(get(roleCached)), numberOf(completion), count)
	}
}

// numberOf is a number; one that cannot be read is not a number, which add refuses.
func numberOf(text string) float64 {
	n, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
	if err != nil || n < 0 {
		return math.NaN()
	}
	return n
}

func orZero(text string) float64 {
	n := numberOf(text)
	if math.IsNaN(n) {
		return 0
	}
	return n
}

// layouts are how logs write times, besides numbers.
var layouts = []string{
	time.RFC3339, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05 MST",
	"1/2/2006, 3:04:05 PM", "1/2/2006 3:04:05 PM", "1/2/2006, 15:04:05", "1/2/2006 15:04:05", "2006/01/02 15:04:05", "2.1.2006 15:04:05", "2.1.2006, 15:04:05",
	"2006-01-02 15:04", "1/2/2006 15:04",
}

// instant reads a time, as Unix nanoseconds.
func (r *Reader) instant(text string) (int64, bool) {
	zone := r.Zone
	if zone == nil {
		zone = time.UTC
	}
	if r.layout != "" {
		if at, err := time.ParseInLocation(r.layout, text, zone); err == nil {
			return within(at)
		}
	}
	for _, layout := range layouts {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			r.layout = layout
			return within(at)
		}
	}
	return epoch(text)
}

// epoch reads seconds, milliseconds, microseconds or nanoseconds since 1970: whichever
// makes it a time of these centuries.
func epoch(text string) (int64, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	part, partErr := strconv.ParseFloat("0."+fraction+"0", 64)
	if err != nil || partErr != nil || n <= 0 {
		return 0, false
	}
	unit := int64(time.Second)
	for limit := int64(1e11); n >= limit && unit > 1; limit *= 1000 {
		unit /= 1000
	}
	if n > math.MaxInt64/unit {
		return 0, false
	}
	return within(time.Unix(0, n*unit+int64(part*float64(unit))))
}

// within reports whether a time may be that of a request.
func within(at time.Time) (int64, bool) {
	return at.UnixNano(), at.Year() >= 1990 && at.Year() < 2200
}
