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

// gate tells operators from everybody else. It keeps no key, only its hash.
type gate struct {
	locked bool
	open   bool
	key    [sha256.Size]byte
	print  string // the first digits of the hash: which key, for the log
	origin *http.CrossOriginProtection
}

func newGate(key string, open bool) gate {
	g := gate{locked: key != "", open: open && key == "", origin: http.NewCrossOriginProtection()}
	if g.locked {
		g.key = sha256.Sum256([]byte(key))
		g.print = hex.EncodeToString(g.key[:4])
	}
	return g
}

// exists reports whether there is anything to be seen at all. Without a key
// only names of loopback are answered to: another name that leads here is a
// site that rebinds its own to read what this machine shows to itself.
func (g *gate) exists(r *http.Request) bool {
	return g.locked || g.open && loopback(r.Host)
}

func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// knows reports whether an operator sent the request. The comparison takes as
// long for any key.
func (g *gate) knows(r *http.Request) bool {
	if !g.locked {
		return g.open
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

// deliberate reports whether the request cannot have come from another site's
// page. A key travels as a header that no other site knows; without one it
// takes a header that no other site may send.
func (g *gate) deliberate(r *http.Request) bool {
	if g.locked {
		return true
	}
	_, named := r.Header[nameHeader]
	return named && g.origin.Check(r) == nil
}

// name is what the operator wants to be called, for people to read.
func name(r *http.Request) string {
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
