package jsondoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is what a JSON value is.
type Kind uint8

// The kinds of JSON value.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

func (k Kind) String() string {
	return [...]string{"null", "true or false", "a number", "a string", "a list", "an object"}[k]
}

// Node is a JSON value with its place in the text.
type Node struct {
	Kind    Kind
	Offset  int      // of its first byte
	Text    string   // of a string its characters, of a number its digits
	True    bool     // of a bool
	Items   []*Node  // of an array
	Members []Member // of an object, in order, duplicates included
}

// Member is a name and its value.
type Member struct {
	Name   string
	Offset int // of the name
	Value  *Node
}

// Tree is a JSON text that was understood as JSON.
type Tree struct {
	File   string // names the text in faults; "" = it is no file
	Root   *Node
	text   []byte
	places map[string]int // of every value, by its path
}

// maxDepth is far beyond any struct; it bounds the work that nested brackets make.
const maxDepth = 64

var errTooDeep = errors.New("brackets are nested more than 64 deep")

// Parse reads a JSON text. When it is not JSON, the one fault says where and
// why, and the tree is nil. A byte order mark is ignored.
func Parse(file string, text []byte) (*Tree, Faults) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	t := &Tree{File: file, text: text, places: map[string]int{}}
	if fault, bad := t.syntax(); bad {
		return nil, Faults{fault}
	}
	r := &reader{decoder: json.NewDecoder(bytes.NewReader(text)), text: text}
	r.decoder.UseNumber()
	root, err := r.value(0)
	if err != nil {
		return nil, Faults{t.fault("", int(r.decoder.InputOffset()), err.Error(), "Write it as the schema says: see \"spillway schema\".")}
	}
	t.Root = root
	t.index("", root)
	return t, nil
}

// index notes where every value is.
func (t *Tree) index(path string, n *Node) {
	t.places[path] = n.Offset
	for i, item := range n.Items {
		t.index(Index(path, i), item)
	}
	for _, m := range n.Members {
		t.index(Join(path, m.Name), m.Value)
	}
}

// Has reports whether the text has a value at path, if only null.
func (t *Tree) Has(path string) bool {
	_, ok := t.places[path]
	return ok
}

// Fault is a fault at path: where its value is, or where the nearest value
// around it begins when there is none.
func (t *Tree) Fault(path, problem, fix string) Fault {
	at := path
	for !t.Has(at) && at != "" {
		at = parent(at)
	}
	return t.fault(path, t.places[at], problem, fix)
}

func (t *Tree) fault(path string, offset int, problem, fix string) Fault {
	f := Fault{Path: path, File: t.File, Problem: problem, Fix: fix}
	if path == "" {
		f.Path = "the document"
	}
	before := t.text[:min(max(offset, 0), len(t.text))]
	f.Line = 1 + bytes.Count(before, []byte("\n"))
	f.Column = 1 + utf8.RuneCount(before[1+bytes.LastIndexByte(before, '\n'):])
	return f
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// Join is the path of a member: a.b, or a["b-c"] when the name needs quotes.
func Join(path, name string) string {
	switch {
	case !identifier.MatchString(name):
		return path + "[" + strconv.Quote(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

// Index is the path of an item.
func Index(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// parent is the path with its last step taken off.
func parent(path string) string {
	quoted := false
	for i := len(path) - 1; i > 0; i-- {
		switch {
		case path[i] == '"' && path[i-1] != '\\':
			quoted = !quoted
		case !quoted && (path[i] == '.' || path[i] == '['):
			return path[:i]
		}
	}
	return ""
}

// reader builds the tree from tokens, which carry their offsets.
type reader struct {
	decoder *json.Decoder
	text    []byte
}

// next is where the next token begins.
func (r *reader) next() int {
	i := int(r.decoder.InputOffset())
	for i < len(r.text) && bytes.IndexByte([]byte(" \t\r\n,:"), r.text[i]) >= 0 {
		i++
	}
	return i
}

func (r *reader) value(depth int) (*Node, error) {
	n := &Node{Offset: r.next()}
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		return n, r.inside(n, v, depth+1)
	case string:
		n.Kind, n.Text = String, v
	case json.Number:
		n.Kind, n.Text = Number, v.String()
	case bool:
		n.Kind, n.True = Bool, v
	}
	return n, nil
}

// inside reads what is between a pair of brackets, and the closing one.
func (r *reader) inside(n *Node, open json.Delim, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	n.Kind = Array
	if open == '{' {
		n.Kind = Object
	}
	for r.decoder.More() {
		var m Member
		if n.Kind == Object {
			m.Offset = r.next()
			name, err := r.decoder.Token()
			if err != nil {
				return err
			}
			m.Name = fmt.Sprint(name)
		}
		item, err := r.value(depth)
		if err != nil {
			return err
		}
		m.Value = item
		if n.Kind == Object {
			n.Members = append(n.Members, m)
		} else {
			n.Items = append(n.Items, item)
		}
	}
	_, err := r.decoder.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// syntax looks for what makes the text no JSON at all.
func (t *Tree) syntax() (Fault, bool) {
	if len(bytes.TrimSpace(t.text)) == 0 {
		return t.fault("", 0, "is empty", `Write at least {"backends": [...]}; see "spillway schema".`), true
	}
	if i := invalid(t.text); i >= 0 {
		return t.fault("", i, "is not UTF-8 text", "Save it as UTF-8."), true
	}
	var whole json.RawMessage
	err := json.Unmarshal(t.text, &whole)
	if err == nil {
		return Fault{}, false
	}
	offset := len(t.text)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = int(syntax.Offset)
	}
	if strings.Contains(err.Error(), "unexpected end") {
		return t.fault("", offset, "ends too early: a bracket or quote is never closed", "Look for a missing } or ] or quote, or for text that was cut off when it was pasted."), true
	}
	problem := strings.Replace(err.Error(), "invalid character", "is no JSON: unexpected", 1)
	return t.fault("", offset-1, problem, t.syntaxFix(offset-1)), true
}

// syntaxFix guesses from the unexpected character what its author had in mind.
func (t *Tree) syntaxFix(offset int) string {
	before := bytes.TrimRight(t.text[:min(max(offset, 0), len(t.text))], " \t\r\n")
	at := t.text[min(max(offset, 0), len(t.text)-1)]
	last := byte(0)
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	switch {
	case (at == '}' || at == ']') && last == ',':
		return "Remove the comma before it: JSON has no trailing commas."
	case at == '/' || at == '#':
		return "Remove the comment: JSON has none."
	case at == '\'' || at == '`':
		return "Use double quotes."
	case at == '"':
		return "Put a comma between values, and write quotes inside a string as \\\"."
	case at == '\\':
		return "The quotes were escaped once too often: paste the document itself, without backslashes."
	case last == '{' || last == ',':
		return "Put names in double quotes."
	}
	return "Remove it, or put it in double quotes if it is text."
}

// invalid is where the text stops being UTF-8, or -1.
func invalid(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
