package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// The headers that an operator sends.
const (
	keyHeader  = "X-Spillway-Operator-Key"
	nameHeader = "X-Spillway-Operator"
)

// access tells operators from everybody else. It keeps no key, only its hash.
type access struct {
	hasKey      bool
	keyless     bool
	key         [sha256.Size]byte
	fingerprint string // the first digits of the hash: which key, for the log
	origin      *http.CrossOriginProtection
}

func newAccess(key string, open bool) access {
	g := access{hasKey: key != "", keyless: open && key == "", origin: http.NewCrossOriginProtection()}
	if g.hasKey {
		g.key = sha256.Sum256([]byte(key))
		g.fingerprint = hex.EncodeToString(g.key[:4])
	}
	return g
}

// enabled reports whether there is anything to be seen at all. Without a key
// only names of loopback are answered to: another name that leads here is a
// site that rebinds its own to read what this machine shows to itself.
func (g *access) enabled(r *http.Request) bool {
	return g.hasKey || g.keyless && loopback(r.Host)
}

func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// authorized reports whether an operator sent the request. The comparison takes as
// long for any key.
func (g *access) authorized(r *http.Request) bool {
	if !g.hasKey {
		return g.keyless
	}
	sent := r.Header.Get(keyHeader)
	if sent == "" {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return false
		}
		sent = strings.TrimSpace(token)
	}
	sum := sha256.Sum256([]byte(sent))
	return subtle.ConstantTimeCompare(sum[:], g.key[:]) == 1
}

// csrfSafe reports whether the request cannot have come from another site's
// page. A key travels as a header that no other site knows; without one it
// takes a header that no other site may send.
func (g *access) csrfSafe(r *http.Request) bool {
	if g.hasKey {
		return true
	}
	_, named := r.Header[nameHeader]
	return named && g.origin.Check(r) == nil
}

// operatorName is what the operator wants to be called, for people to read.
func operatorName(r *http.Request) string {
	const most = 40
	text, err := url.PathUnescape(r.Header.Get(nameHeader))
	if err != nil {
		text = ""
	}
	runes := []rune(strings.TrimSpace(strings.Map(printable, text)))
	if len(runes) == 0 {
		return "operator"
	}
	return string(runes[:min(len(runes), most)])
}

// printable drops what could disturb a line of log, or turn its direction.
func printable(r rune) rune {
	if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
		return -1
	}
	return r
}
