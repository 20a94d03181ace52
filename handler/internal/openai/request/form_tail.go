package request

import "bytes"

// maxPartHead is the longest that the headers of a part may be where a form is read as
// it comes.
const maxPartHead = 8 << 10

// FormTail reads the rest of a form that is too long to be held, as it comes: the file
// that is open, and whatever follows it. That may be files, and fields where there is
// somebody to read them.
type FormTail struct {
	Field func(name string, value []byte) error // reads a field; nil = there may be none

	boundary []byte
	file     func(p []byte, ended bool) error // the content of each file, piece by piece
	held     []byte                           // what may be part of a boundary, or headers that have not ended
	last     [2]byte                          // of the part, ahead of held
	name     string                           // of the field that is read; "" = it is a file
	value    []byte
	state    tailState
}

// tailState is what is read next.
type tailState uint8

const (
	inPart tailState = iota
	inHead
	afterEnd
)

// NewFormTail returns a FormTail for the bytes from where a file's content begins.
func NewFormTail(boundary string, file func(p []byte, ended bool) error) *FormTail {
	return &FormTail{boundary: []byte("--" + boundary), file: file, last: [2]byte{'\r', '\n'}}
}

// Add reads the next bytes.
func (t *FormTail) Add(p []byte) error {
	t.held = append(t.held, p...)
	for {
		var more bool
		var err error
		switch t.state {
		case inPart:
			more, err = t.readPart()
		case inHead:
			more, err = t.readHead()
		case afterEnd:
			if len(bytes.TrimSpace(t.held)) > 0 {
				err = malformedForm(0, "something follows its end")
			}
			t.held = t.held[:0]
		}
		if err != nil || !more {
			return err
		}
	}
}

// Ended reports whether the form's last boundary was read.
func (t *FormTail) Ended() bool { return t.state == afterEnd }

// content takes what is known to be of the part.
func (t *FormTail) content(p []byte, ended bool) error {
	if t.name == "" {
		return t.file(p, ended)
	}
	t.value = append(t.value, p...)
	switch {
	case len(t.value) > maxPartHead:
		return malformedForm(0, "the field "+t.name+" is too long to follow a file")
	case ended:
		return t.Field(t.name, t.value)
	}
	return nil
}

// readPart passes what is known to be of the part, and its boundary.
func (t *FormTail) readPart() (more bool, err error) {
	at := bytes.Index(t.held, t.boundary)
	if at < 0 {
		return false, t.pass(max(len(t.held)-len(t.boundary)-1, 0))
	}
	rest := t.held[at+len(t.boundary):]
	if len(rest) < 2 {
		return false, nil
	}
	ahead := append(t.last[:2:2], t.held[:at]...)
	switch {
	case !bytes.HasSuffix(ahead, []byte("\r\n")):
		return false, malformedForm(0, "a part holds the boundary")
	case rest[0] == '-' && rest[1] == '-':
		t.state = afterEnd
	case rest[0] == '\r' && rest[1] == '\n':
		t.state = inHead
	default:
		return false, malformedForm(0, "a boundary line is not ended")
	}
	err = t.content(t.held[:max(at-2, 0)], true)
	t.held = append(t.held[:0], rest[2:]...)
	return err == nil, err
}

// pass gives the first n bytes that are held to the part.
func (t *FormTail) pass(n int) error {
	err := t.content(t.held[:n], false)
	if n >= 2 {
		t.last = [2]byte(t.held[n-2 : n])
	} else if n == 1 {
		t.last = [2]byte{t.last[1], t.held[0]}
	}
	t.held = append(t.held[:0], t.held[n:]...)
	return err
}

// readHead reads the headers of a part.
func (t *FormTail) readHead() (more bool, err error) {
	end := bytes.Index(t.held, []byte("\r\n\r\n"))
	switch {
	case end < 0 && len(t.held) > maxPartHead:
		return false, malformedForm(0, "the headers of a part are not ended")
	case end < 0:
		return false, nil
	}
	head, fault := readPartHead(t.held[:end], true)
	switch {
	case fault != "":
		return false, malformedForm(0, fault)
	case head.isFile && isPlainField(head.name), !head.isFile && (t.Field == nil || head.name == ""):
		return false, malformedForm(0, "the field "+head.name+" follows files of more than 25 MiB; send the fields first and the files last")
	case !head.isFile:
		t.name, t.value = head.name, t.value[:0]
	default:
		t.name = ""
	}
	t.held = append(t.held[:0], t.held[end+4:]...)
	t.last, t.state = [2]byte{'\r', '\n'}, inPart
	return true, nil
}
