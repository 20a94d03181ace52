package jsondoc

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is what a struct's tags say of one of its fields.
type field struct {
	index       int
	name        string
	doc         string
	required    bool
	defaultJSON string // its default, as JSON; "" = the zero value
	enum        []string
	min, max    *float64
	longest     time.Duration // of a duration; 0 = any
	deprecated  bool
	least       int
	most        int // 0 = any
	pattern     string
	say         string
	keys        string
	keysay      string
	example     string
	also        []string
	quiet       bool
}

// fieldsOf reads the tags of a struct type. A malformed tag is a bug of ours.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("json")
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, fieldOf(i, name, t.Field(i).Tag))
	}
	return fields
}

func fieldOf(index int, name string, tag reflect.StructTag) field {
	return field{
		index: index, name: name, doc: tag.Get("doc"),
		required: tag.Get("required") != "", defaultJSON: tag.Get("default"),
		enum: split(tag.Get("enum"), "|"),
		min:  number(tag.Get("min")), max: number(tag.Get("max")),
		least: whole(tag.Get("least")), most: whole(tag.Get("most")),
		pattern: tag.Get("pattern"), say: tag.Get("say"),
		keys: tag.Get("keys"), keysay: tag.Get("keysay"),
		example: tag.Get("example"), also: split(tag.Get("also"), ","),
		quiet: tag.Get("quiet") != "", deprecated: tag.Get("deprecated") != "",
		longest: duration(tag.Get("longest")),
	}
}

// noun is what the struct is called in messages: the noun of its blank field.
func noun(t reflect.Type) (word, doc string) {
	blank, ok := t.FieldByName("_")
	if !ok {
		return "object", ""
	}
	return blank.Tag.Get("noun"), blank.Tag.Get("doc")
}

// keyed is the index of the field that holds the name under which the struct
// is written, or -1 when structs of this type are written in a list.
func keyed(t reflect.Type) int {
	if t.Kind() != reflect.Struct {
		return -1
	}
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("key") != "" {
			return i
		}
	}
	return -1
}

// item is the field's rule for what its list or object holds.
func (f field) item() field {
	return field{
		doc: "", enum: f.enum, min: f.min, max: f.max,
		pattern: f.pattern, say: f.say, quiet: f.quiet, required: true,
	}
}

// node is a default or an example as a JSON value.
func node(text string) *Node {
	tree, faults := Parse("", []byte(text))
	if faults != nil {
		panic("strict: tag is no JSON: " + text)
	}
	return tree.Root
}

// plain is a default or an example as encoding/json understands it.
func plain(text string) any {
	return json.RawMessage(text)
}

func split(text, by string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, by)
}

func number(text string) *float64 {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("strict: tag is no number: " + text)
	}
	return &n
}

func duration(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		panic("strict: tag is no duration: " + text)
	}
	return d
}

func whole(text string) int {
	if n := number(text); n != nil {
		return int(*n)
	}
	return 0
}
