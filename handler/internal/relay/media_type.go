package relay

import (
	"bytes"
	"io"
	"net/http"
)

// completeType gives a success the type that its content has, when the backend named
// none, or another one for events: clients that call such a server themselves do not
// look at the type of a stream, and take what has none for text
// (docs/azure-openai.md#errors-inside-a-success).
func (d *writer) completeType() {
	res := d.response.Response
	if !successful(res) || encoded(res.Header) || d.request.Operation.Answer() == "" || d.isStream() {
		return
	}
	switch {
	case d.wantsStream() && beginsAsEvents(res):
		setType(res, "text/event-stream; charset=utf-8")
	case mediaType(res.Header) == "":
		setType(res, "application/json")
	}
}

func setType(res *http.Response, media string) {
	res.Header = res.Header.Clone()
	res.Header.Set("Content-Type", media)
}

// beginsAsEvents reports whether the body begins with a line of server-sent events. It
// leaves the body as it was.
func beginsAsEvents(res *http.Response) bool {
	var head []byte
	var err error
	for err == nil && len(head) < streamBuffer && len(firstText(head)) < len("retry:") {
		part := make([]byte, headSize)
		var n int
		n, err = res.Body.Read(part)
		head = append(head, part[:n]...)
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
	for _, field := range []string{":", "data:", "event:", "id:", "retry:"} {
		if bytes.HasPrefix(firstText(head), []byte(field)) {
			return true
		}
	}
	return false
}

// firstText is what follows a byte order mark and blank lines.
func firstText(b []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), "\r\n")
}
