package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
)

// Encrypted reasoning is opaque to callers and worth something only to the
// resource that made it (facts/azure-openai.md §1.2).

const sealMark = "gAAAAAB"

// sealed is an encrypted text of this resource about an item.
func (r *resource) sealed(id string) string {
	return sealMark + base64.RawURLEncoding.EncodeToString(append([]byte(id), r.seal(id)...))
}

func (r *resource) seal(id string) []byte {
	mac := hmac.New(sha256.New, []byte("account key of "+r.Name))
	mac.Write([]byte(id))
	return mac.Sum(nil)
}

// unseals tells whether an encrypted text is this resource's own.
func (r *resource) unseals(text string) bool {
	coded, ok := strings.CutPrefix(text, sealMark)
	if !ok {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(coded)
	if err != nil || len(raw) <= sha256.Size {
		return false
	}
	at := len(raw) - sha256.Size
	return hmac.Equal(raw[at:], r.seal(string(raw[:at])))
}

func invalidEncryptedContent(text string) *apiError {
	if len(text) > 16 {
		text = text[:16] + "..."
	}
	no := invalidRequest("The encrypted content "+text+" could not be verified.", "", "invalid_encrypted_content")
	no.name = "400-encrypted"
	return no
}

// reasoning is the reasoning item of an answer; with its ciphertext if the
// caller asked to have it.
func (c *call) reasoning() reasoningItem {
	item := reasoningItem{ID: c.itemID("rs_"), Type: "reasoning", Summary: []any{}}
	if slices.Contains(c.request.Include, "reasoning.encrypted_content") {
		text := c.res.sealed(item.ID)
		item.Encrypted = &text
	}
	return item
}
