package request

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
)

// ErrForm is a body that its Content-Type calls a multipart form, and is none.
var ErrForm = errors.New("the body is not a valid multipart form")

// Form is the fields of a multipart/form-data body that Spillway acts on. The
// zero value of each is absence. Model is a copy; ModelSpan is the span of the
// value in the body that was parsed.
type Form struct {
	Boundary    string
	Model       string
	ModelSpan   Span
	Stream      bool
	Choices     int64
	PromptBytes int64 // of the field prompt
	OtherBytes  int64 // of the fields without a type, but for the metadata
	Purpose     string
	User        string
	References  []Reference
	Models      []string // that it names besides Model
	Reaches     string   // as in ParsedRequest
	Files       []Span   // the contents of the files that end in the body
	OpenFile    int      // where the last file begins, if it may continue beyond the body; 0 = there is none
	Encoded     bool     // a part is in an encoding of its own, such as quoted-printable
	InsertAt    int      // where a part may be inserted: just before the first

	modelSeen, purposeSeen bool
}

// AddField reads a field that follows what was parsed strictly. It may be no field
// that decides where the request goes, or whether it may.
func (f *Form) AddField(name string, value []byte) error {
	s := formParser{body: value, strict: true, form: *f}
	if err := s.field(name, Span{To: len(value)}); err != nil {
		return err
	}
	if s.form.Model != f.Model || s.form.modelSeen != f.modelSeen || s.form.Reaches != f.Reaches || len(s.form.Models)+len(s.form.References) != len(f.Models)+len(f.References) {
		return malformedForm(0, "the field "+name+" follows a file of more than 25 MiB; send it first")
	}
	*f = s.form
	return nil
}

// ParseForm reads the fields of a multipart body whose boundary the Content-Type
// named. It searches the boundaries between the parts and reads short fields;
// files are skipped. With whole false body is the beginning of a longer one, and
// a part that is cut off at its end is no fault. With strict a form that another
// parser might read in another way is at fault. The error is a *ParseError.
func ParseForm(body []byte, boundary string, whole, strict bool) (Form, error) {
	s := formParser{body: body, delimiter: []byte("\r\n--" + boundary), whole: whole, strict: strict, form: Form{Boundary: boundary}}
	err := s.parts()
	if err != nil {
		return Form{}, err
	}
	if s.form.OpenFile == 0 && !whole {
		s.form.OpenFile = s.lastFile
	}
	return s.form, nil
}

// formParser is the state of one ParseForm.
type formParser struct {
	body      []byte
	delimiter []byte // precedes every part but the first
	whole     bool
	strict    bool
	form      Form
	lastFile  int // where the content of the part that was read last begins, if it is a file
}

// parts reads the parts.
func (s *formParser) parts() error {
	at := 0
	if !bytes.HasPrefix(s.body, s.delimiter[2:]) {
		at = bytes.Index(s.body, s.delimiter) + 2
		if at < 2 || s.strict && len(bytes.Trim(s.body[:at], "\r\n")) > 0 {
			return malformedForm(0, "it does not begin with its boundary")
		}
	}
	s.form.InsertAt = at
	for at += len(s.delimiter) - 2; ; {
		from, done, err := s.boundaryEnd(at)
		if done || err != nil {
			return err
		}
		value, err := s.part(from)
		if err != nil || value.To < 0 {
			return err
		}
		at = value.To + len(s.delimiter)
	}
}

// boundaryEnd passes the rest of a boundary line. done is the closing boundary, or
// the end of a body that continues.
func (s *formParser) boundaryEnd(at int) (next int, done bool, err error) {
	rest := s.body[at:]
	if bytes.HasPrefix(rest, []byte("--")) {
		if s.strict && len(bytes.TrimSpace(rest[2:])) > 0 {
			return at, true, malformedForm(at, "something follows its end")
		}
		return at, true, nil
	}
	if !s.strict {
		rest = bytes.TrimLeft(rest, " \t")
	}
	if bytes.HasPrefix(rest, []byte("\r\n")) {
		return len(s.body) - len(rest) + 2, false, nil
	}
	if !s.whole && len(rest) < 2 {
		return at, true, nil
	}
	return at, true, malformedForm(at, "a boundary line is not ended")
}

// part reads one part, whose headers begin at from, and returns the span of its
// value; To is -1 when the part continues beyond the body.
func (s *formParser) part(from int) (Span, error) {
	end := bytes.Index(s.body[from:], []byte("\r\n\r\n"))
	if end < 0 {
		return Span{To: -1}, s.truncated(from, "the headers of a part are not ended")
	}
	value := Span{From: from + end + 4}
	head, fault := readPartHead(s.body[from:from+end], s.strict)
	s.form.Encoded = s.form.Encoded || head.encoded
	name, isFile := head.name, head.isFile
	switch {
	case fault != "":
		return Span{}, malformedForm(from, fault)
	case isFile && isPlainField(name):
		return Span{}, malformedForm(from, "the field "+strings.ToLower(name)+" is sent as a file; send it as a plain field")
	}
	length := bytes.Index(s.body[value.From-2:], s.delimiter) // an empty value shares its line break
	if length < 0 {
		if isFile {
			s.form.OpenFile = value.From
		}
		return Span{To: -1}, s.truncated(from, "a part is not ended")
	}
	value.To = max(value.From-2+length, value.From)
	if s.strict && bytes.Contains(s.body[from:value.From-2+length], s.delimiter[2:]) {
		return Span{}, malformedForm(from, "a part holds the boundary")
	}
	s.lastFile = 0
	if isFile {
		s.form.Files = append(s.form.Files, value)
		name, s.lastFile = "", value.From
	}
	return Span{From: value.From, To: value.From - 2 + length}, s.field(name, value)
}

func (s *formParser) truncated(at int, reason string) error {
	if s.whole {
		return malformedForm(at, reason)
	}
	return nil
}

// field reads one field, if Spillway acts on it.
func (s *formParser) field(name string, at Span) error {
	f := &s.form
	text := s.body[at.From:at.To]
	if strings.EqualFold(name, purposeField) {
		name = purposeField
	}
	switch name {
	case "model":
		if f.modelSeen {
			return duplicate(at.From, name)
		}
		if len(text) > maxStringLength {
			return wrongType(at.From, name, "a string of at most 1,024 bytes")
		}
		f.modelSeen, f.Model, f.ModelSpan = true, string(text), at
	case "stream":
		f.Stream = string(text) == "true"
	case "n":
		n, err := strconv.ParseInt(string(text[:min(len(text), 20)]), 10, 64)
		if err == nil && n > 0 {
			f.Choices = min(n, math.MaxInt32)
		}
	case "prompt":
		f.PromptBytes += int64(len(text))
	case "user":
		f.User = string(text[:min(len(text), maxStringLength)])
	case purposeField:
		if f.purposeSeen {
			return duplicate(at.From, name)
		}
		f.purposeSeen = true
		f.Purpose = string(text[:min(len(text), maxStringLength)])
	default:
		return s.reference(name, at)
	}
	return nil
}

const purposeField = "purpose"

// isPlainField reports whether a field decides what the form may do: some servers
// read it from a file, too.
func isPlainField(name string) bool {
	return name == "model" || strings.EqualFold(name, purposeField) || namesObject(name)
}

// namesObject reports whether a field may name a stored object.
func namesObject(name string) bool {
	const probe = "x"
	_, ok := fieldReference(name, probe)
	return ok
}

// reference reads a field that may name a stored object, or hold members that do.
func (s *formParser) reference(name string, at Span) error {
	text := s.body[at.From:at.To]
	if base, _, _ := strings.Cut(name, "["); name != "" && base != "metadata" {
		s.form.OtherBytes += int64(len(text))
	}
	switch {
	case isFreeField(name):
		return nil
	case s.strict && name != "" && isStructured(name, text):
		return s.structured(name, at)
	case s.strict && namesModel([]byte(name)):
		s.form.Models = append(s.form.Models, string(text[:min(len(text), maxStringLength)]))
	}
	switch {
	case len(text) <= maxStringLength:
		if ref, ok := fieldReference(name, string(text)); ok {
			s.form.References = append(s.form.References, ref)
		}
	case namesObject(name):
		return wrongType(at.From, name, "an id of at most 1,024 bytes")
	}
	return nil
}

// isStructured reports whether the text of a field may be read as a JSON object or
// list. One of a list of texts may begin like one: [Anna], but not hold any itself.
func isStructured(name string, text []byte) bool {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return false
	}
	return !strings.HasSuffix(name, "[]") || namesObject(name) || bytes.ContainsAny(text, `{"':`)
}

// structured reads a field that holds JSON, as a member of this name would be read.
func (s *formParser) structured(name string, at Span) error {
	name, _, _ = strings.Cut(name, "[")
	body := bytes.Join([][]byte{[]byte(`{"` + name + `":`), s.body[at.From:at.To], []byte(`}`)}, nil)
	parsed, err := (&Parser{Strict: true}).Parse(body)
	if err != nil {
		var fault *ParseError
		errors.As(err, &fault)
		return malformedForm(at.From, "the field "+name+" is no valid JSON: "+fault.Reason)
	}
	f := &s.form
	f.References, f.Models = append(f.References, parsed.References...), append(f.Models, parsed.Models...)
	if parsed.Reaches != "" {
		f.Reaches = parsed.Reaches
	}
	return nil
}

func malformedForm(at int, reason string) error {
	return &ParseError{Err: ErrForm, Offset: at, Reason: reason}
}

// RewriteModel returns the body with name as its model, in three pieces; a form
// without a model gets one. The slices share body.
func (f *Form) RewriteModel(body []byte, name string) (before []byte, between string, behind []byte) {
	if f.ModelSpan != (Span{}) {
		return body[:f.ModelSpan.From], name, body[f.ModelSpan.To:]
	}
	part := "--" + f.Boundary + "\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n" + name + "\r\n"
	return body[:f.InsertAt], part, body[f.InsertAt:]
}
