package config

import (
	"log/slog"
	"strings"
)

// Secret is a text that does not show itself, however it is printed. The zero
// Secret is no secret at all.
type Secret struct{ text *string }

// NewSecret keeps text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal is the text, "" for the zero Secret.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Set reports whether there is a secret.
func (s Secret) Set() bool { return s.text != nil }

// String is a mask of constant length, "" for the zero Secret.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return "********"
}

// GoString masks %#v as well.
func (s Secret) GoString() string { return s.String() }

// MarshalText masks the secret in JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue masks the secret in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// unresolved reports whether the text is a Key Vault reference that the
// platform left as it was: the identity could not read the secret.
func unresolved(text string) bool {
	return strings.HasPrefix(strings.TrimSpace(text), "@Microsoft.KeyVault(")
}
