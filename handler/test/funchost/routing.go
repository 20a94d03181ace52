package funchost

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ServeHTTP takes one request from the network: the host's own paths, the
// routes in order, the key, the call.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect { // D 32
		h.internalError(w, r, "Request", "unsupported request method CONNECT")
		return
	}
	raw, query := splitTarget(r.RequestURI)
	path, err := decodePath(raw)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if reserved(path) {
		admin(w, path)
		return
	}
	one := match(h.functions, r.Method, path)
	switch {
	case one == nil && path == "/":
		h.homepage(w)
	case one == nil:
		w.WriteHeader(http.StatusNotFound)
	case !h.authorized(one.level, r):
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.invoke(w, r, encodePath(path), query)
	}
}

// reserved tells whether a path is the host's own: such never reach the
// handler, whatever the routes say (D 12).
func reserved(path string) bool {
	lower := strings.ToLower(path) + "/"
	return strings.HasPrefix(lower, "/admin/") || strings.HasPrefix(lower, "/runtime/webhooks/")
}

// admin answers the host's own paths as far as a probe needs them.
func admin(w http.ResponseWriter, path string) {
	if strings.EqualFold(path, "/admin/host/ping") {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

// homepage is what the host shows at / when no function takes it.
func (h *Host) homepage(w http.ResponseWriter) {
	if strings.EqualFold(h.options.setting("AzureWebJobsDisableHomepage"), "true") {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!DOCTYPE html><title>Your Azure Function App is up and running.</title>\n"))
}

// authorized checks the key of a request against a function's level: the header
// x-functions-key when there is one, else the query's code (D 13).
func (h *Host) authorized(level string, r *http.Request) bool {
	if !h.options.Auth || level == "anonymous" {
		return true
	}
	key := r.URL.Query().Get("code")
	if sent := r.Header.Values("x-functions-key"); len(sent) > 0 {
		key = sent[0]
	}
	known := []string{h.options.MasterKey}
	if level == "function" {
		known = append(known, h.options.FunctionKeys...)
	}
	return slices.ContainsFunc(known, func(good string) bool {
		return good != "" && subtle.ConstantTimeCompare([]byte(good), []byte(key)) == 1
	})
}

// internalError answers a call that went wrong before anything was sent: 500, no body,
// whatever the reason (D 28, D 29).
func (h *Host) internalError(w http.ResponseWriter, r *http.Request, what, why string) {
	h.emit(Event{Kind: CallFailed, Detail: r.Method + " " + r.URL.Path + ": " + what + ": " + why})
	w.WriteHeader(http.StatusInternalServerError)
}

// errNullInPath is a path that the host's web server refuses with 400.
var errNullInPath = errors.New("the path contains a null character")

// splitTarget cuts a request target into its raw path and its raw query, the
// latter with its question mark.
func splitTarget(target string) (path, query string) {
	if strings.Contains(target, "://") && !strings.HasPrefix(target, "/") {
		if absolute, err := url.Parse(target); err == nil {
			target = strings.TrimPrefix(target, absolute.Scheme+"://"+absolute.Host)
		}
	}
	path, query, found := strings.Cut(target, "?")
	if found {
		query = "?" + query
	}
	return path, query
}

// decodePath is what the host's web server (Kestrel) makes of a raw path:
// decoded but for %2F and what is not UTF-8, without dot segments (D 16).
func decodePath(raw string) (string, error) {
	decoded := decodeEscapes(raw)
	if strings.ContainsRune(decoded, 0) {
		return "", errNullInPath
	}
	return removeDots(decoded), nil
}

func decodeEscapes(raw string) string {
	var out strings.Builder
	for i := 0; i < len(raw); {
		run := escapeRun(raw[i:])
		if len(run) == 0 {
			out.WriteByte(raw[i])
			i++
			continue
		}
		writeRun(&out, run, raw[i:i+3*len(run)])
		i += 3 * len(run)
	}
	return out.String()
}

// escapeRun decodes the escapes that s begins with.
func escapeRun(s string) []byte {
	var run []byte
	for len(s) >= 3 && s[0] == '%' {
		value, err := strconv.ParseUint(s[1:3], 16, 8)
		if err != nil {
			break
		}
		run = append(run, byte(value))
		s = s[3:]
	}
	return run
}

// writeRun writes a run's characters; a slash and the bytes that are no UTF-8
// stay escaped.
func writeRun(out *strings.Builder, run []byte, escaped string) {
	for i := 0; i < len(run); {
		char, size := utf8.DecodeRune(run[i:])
		if run[i] == '/' || (char == utf8.RuneError && size == 1) {
			out.WriteString(escaped[3*i : 3*i+3])
			i++
			continue
		}
		out.Write(run[i : i+size])
		i += size
	}
}

// removeDots removes dot segments as RFC 3986 §5.2.4 does.
func removeDots(path string) string {
	if !strings.Contains(path, "/.") {
		return path
	}
	var kept []string
	parts := strings.Split(path, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part != "." && part != "..":
			kept = append(kept, part)
			continue
		case part == ".." && len(kept) > 1:
			kept = kept[:len(kept)-1]
		}
		if last {
			kept = append(kept, "")
		}
	}
	return strings.Join(kept, "/")
}

// encodePath is what the host's proxy (YARP) makes of a decoded path: every
// byte but pchar and the slash is escaped, the percent sign too, so that a
// caller's %2F arrives as %252F (D 16).
func encodePath(path string) string {
	const plain = "!$&'()*+,-./:;=@_~"
	var out strings.Builder
	for i := range len(path) {
		char := path[i]
		letter := char|0x20 >= 'a' && char|0x20 <= 'z'
		digit := char >= '0' && char <= '9'
		if letter || digit || strings.IndexByte(plain, char) >= 0 {
			out.WriteByte(char)
			continue
		}
		const hex = "0123456789ABCDEF"
		out.Write([]byte{'%', hex[char>>4], hex[char&15]})
	}
	return out.String()
}
