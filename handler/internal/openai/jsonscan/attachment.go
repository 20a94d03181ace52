package jsonscan

import (
	"bytes"
	"encoding/base64"
	"path"
	"strings"
	"unicode/utf8"
)

// AttachmentSize is the size at which a long attachment is counted: a picture costs
// about a thousand tokens however many bytes describe it.
const AttachmentSize = 4096

// Attachments are the strings that a model does not read as text, by the members that
// hold them: pictures, sound, films and PDF files. Whatever else a string looks like,
// it counts whole, and so does one that only calls itself so.
type Attachments struct {
	URLs   Names    // data: URLs
	Files  Names    // data: URLs, in objects whose labels do not say that they are of something else
	Base64 Names    // base64, in such objects that are of the next two kinds
	In     Names    // the objects of these
	Types  []string // what the second kept member of the object reads
	Labels Names    // the media type, or the name of a file

	Pictures Names // whose strings are addresses of pictures, or objects that hold one
	Address  Name  // the address in such an object
}

// isAddress reports whether the string of this member is the address of a picture that
// the service fetches.
func (w *Watch) isAddress(name Name, quoted []byte) bool {
	a, f := &w.Attachments, w.top()
	return (a.Pictures.Has(name) || name == a.Address && name != 0 && a.Pictures.Has(f.name)) && !f.free && bytes.HasPrefix(quoted, []byte(`"http`))
}

// attachment returns how many bytes of the long string that is next do not count.
func (w *Watch) attachment(quoted []byte) int {
	f := w.top()
	name := w.pending
	if f.array {
		name = f.name
	}
	a, over := &w.Attachments, len(quoted)-AttachmentSize
	if name == 0 || f.free || !a.URLs.Or(a.Files).Or(a.Base64).Has(name) {
		return 0 // what is in the caller's own data is read as text
	}
	content := quoted[1 : len(quoted)-1]
	if !a.Base64.Has(name) {
		content = mediaOf(content)
	}
	switch {
	case len(content) == 0 || !isBase64(content) || isProse(content):
	case a.URLs.Has(name):
		return over
	case f.array:
	case a.Files.Has(name):
		f.files += over
	default:
		f.encode += over
	}
	return 0
}

// encoded returns how many bytes of the innermost object's strings do not count: what
// the object is may be said behind them.
func (w *Watch) encoded(b []byte) int {
	f, a := w.top(), &w.Attachments
	switch {
	case f.encode+f.files == 0 || f.text:
		return 0
	case a.In.Has(f.name):
		return f.encode + f.files
	}
	if kind := f.kept[1]; kind.To > kind.From {
		for _, name := range a.Types {
			if EqualUnquoted(b[kind.From+1:kind.To-1], name) {
				return f.encode + f.files
			}
		}
	}
	return f.files
}

// media are what the media types of attachments begin with.
var media = [...]string{"image/", "audio/", "video/", "application/pdf"}

func isMediaType(text string) bool {
	for _, prefix := range media {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// mediaOf is the content of a data: URL of an attachment; nothing of another string.
func mediaOf(text []byte) []byte {
	const longest = 128
	head, content, found := bytes.Cut(text[:min(len(text), longest)], []byte(","))
	url, ok := strings.CutPrefix(strings.ToLower(strings.ReplaceAll(string(head), `\`, "")), "data:") // PHP escapes slashes
	if !found || !ok || !isMediaType(url) {
		return nil
	}
	return text[min(len(text), longest)-len(content):]
}

// mediaFiles are how the names of attachments end.
const mediaFiles = " .pdf .png .jpg .jpeg .gif .webp .bmp .tif .tiff .heic .heif .avif .wav .mp3 .m4a .aac .ogg .oga .opus .flac .aiff .mpga .mpeg .mp4 .mov .webm .avi .mkv "

// isMediaLabel reports whether a media type or the name of a file may be that of an
// attachment. One that says nothing may.
func isMediaLabel(key []byte) bool {
	label := strings.ToLower(strings.TrimSpace(Unquote(key)))
	if isMediaType(label) || !strings.ContainsAny(label, "./") {
		return true
	}
	ending := path.Ext(label)
	return ending != "" && strings.Contains(mediaFiles, " "+ending+" ")
}

// base64Letters are the letters of base64, and how JSON escapes them and line breaks.
var base64Letters = func() (letters [256]bool) {
	for _, c := range []byte(`ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\`) {
		letters[c] = true
	}
	return letters
}()

func isBase64(text []byte) bool {
	for _, c := range text {
		if !base64Letters[c] {
			return false
		}
	}
	return true
}

// isProse reports whether what base64 encodes begins as text. A PDF file may.
func isProse(text []byte) bool {
	const sample = 256
	plain := strings.NewReplacer(`\n`, "", `\r`, "", `\`, "", "-", "+", "_", "/", "=", "").Replace(string(text[:min(len(text), sample)]))
	begin := make([]byte, sample)
	n, _ := base64.RawStdEncoding.Decode(begin, []byte(plain[:len(plain)&^3]))
	begin = begin[:n]
	words := false
	for i, r := range string(begin) {
		switch {
		case r == utf8.RuneError && i < n-utf8.UTFMax, r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			return false
		case r == ' ' || r == '\n' || r >= 0x80 && r != utf8.RuneError:
			words = true
		}
	}
	return words && !bytes.HasPrefix(begin, []byte("%PDF"))
}
