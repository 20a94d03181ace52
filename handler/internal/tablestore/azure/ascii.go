package azure

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
)

// asciiBodies sends JSON with what is beyond ASCII escaped. The emulator, which users
// have locally, decodes each piece that it receives by itself, and destroys a
// character that is in two of them.
type asciiBodies struct{}

// Do is called by the SDK's pipeline, before the request is signed.
func (asciiBodies) Do(req *policy.Request) (*http.Response, error) {
	if req.Body() == nil {
		return req.Next()
	}
	text, err := io.ReadAll(req.Body())
	if err != nil {
		return nil, fmt.Errorf("read the entity: %w", err)
	}
	body := streaming.NopCloser(bytes.NewReader(inASCII(text)))
	if err := req.SetBody(body, req.Raw().Header.Get("Content-Type")); err != nil {
		return nil, fmt.Errorf("encode the entity: %w", err)
	}
	return req.Next()
}

// inASCII escapes what is beyond ASCII in a JSON text.
func inASCII(text []byte) []byte {
	if !bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return text
	}
	escaped := make([]byte, 0, 2*len(text))
	for _, r := range string(text) {
		if r < utf8.RuneSelf {
			escaped = append(escaped, byte(r))
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			escaped = fmt.Appendf(escaped, `\u%04x`, unit)
		}
	}
	return escaped
}
