package jsonscan

import "strings"

// AttachmentSize is the size at which a long attachment is counted: a picture costs
// about a thousand tokens however many bytes describe it.
const AttachmentSize = 4096

// Attachments are the strings that a model does not read as text, by the members that
// hold them. Whatever else a string looks like, it counts whole.
type Attachments struct {
	URLs   Names    // data: URLs of pictures, sound, films and PDF files
	Sealed Names    // base64 that only the service can read
	Base64 Names    // base64, in objects of the next two kinds
	In     Names    // whose objects
	Types  []string // what the second kept member of the object reads
}

// attachment returns how many bytes of the long string that is next do not count.
func (w *Watch) attachment(quoted []byte) int {
	f := w.top()
	name := w.pending
	if f.array {
		name = f.name
	}
	switch a, over := &w.Attachments, len(quoted)-AttachmentSize; {
	case a.URLs.Has(name) && isMediaURL(quoted), a.Sealed.Has(name) && isBase64(quoted):
		return over
	case a.Base64.Has(name) && !f.array && isBase64(quoted):
		f.encode += over
	}
	return 0
}

// encoded returns how many bytes of the innermost object's strings are base64 that
// does not count: what the object is may be said behind them.
func (w *Watch) encoded(b []byte) int {
	f, a := w.top(), &w.Attachments
	if f.encode == 0 || f.array || a.In.Has(f.name) {
		return f.encode
	}
	if kind := f.kept[1]; kind.To > kind.From {
		for _, name := range a.Types {
			if EqualUnquoted(b[kind.From+1:kind.To-1], name) {
				return f.encode
			}
		}
	}
	return 0
}

// isMediaURL reports whether a long string, given with its quotes, is a data: URL of
// what is not inserted as text.
func isMediaURL(quoted []byte) bool {
	url := strings.ToLower(strings.ReplaceAll(string(quoted[1:64]), `\`, "")) // PHP escapes slashes
	media, ok := strings.CutPrefix(url, "data:")
	if !ok {
		return false
	}
	for _, prefix := range [...]string{"image/", "audio/", "video/", "application/pdf;"} {
		if strings.HasPrefix(media, prefix) {
			return true
		}
	}
	return false
}

// isBase64 reports whether a long string, given with its quotes, begins as base64.
func isBase64(quoted []byte) bool {
	for _, c := range quoted[1:257] {
		letter := c | 0x20
		if (letter < 'a' || letter > 'z') && !isDigit(c) && !strings.ContainsRune(`+/-_\`, rune(c)) {
			return false
		}
	}
	return true
}
