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

// access authenticates operators. It keeps the hash of the key, not the key.
type access struct {
	hasKey      bool
	keyless     bool
	key         [sha256.Size]byte
	fingerprint string // the first digits of the hash: identifies the key in the log
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

// enabled reports whether anything is served. Without a key only names of
// loopback are: another name that resolves to this machine is a DNS rebinding
// attack.
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

// authorized reports whether the request has the key. The comparison takes
// constant time.
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

// csrfSafe reports whether the request cannot come from another site's page. The
// key is sent in a header, which another site does not know; without a key, a
// header is required that another site cannot send.
func (g *access) csrfSafe(r *http.Request) bool {
	if g.hasKey {
		return true
	}
	_, named := r.Header[nameHeader]
	return named && g.origin.Check(r) == nil
}

// operatorName is the name that the operator gave. It is not authenticated.
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

// printable drops characters that could break a log line, or change its
// direction.
func printable(r rune) rune {
	if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
		return -1
	}
	return r
}
