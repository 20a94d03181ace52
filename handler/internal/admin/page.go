package admin

import (
	"bytes"
	"embed"
	"net/http"
	"path"
	"regexp"
	"strings"
)

//go:embed page
var files embed.FS

// contentTypes are the types of the public files.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// What browsers do not need: indentation and lines of comments, and in a style the
// spaces around punctuation.
var (
	comments = regexp.MustCompile(`(?m)^(\s+|//.*\n)+`)
	spaces   = regexp.MustCompile(`\s*([{};:,>])\s*`)
)

// compact is a file without what browsers do not need.
func compact(name string) []byte {
	body := comments.ReplaceAll(pageFile(name), nil)
	if path.Ext(name) == ".css" {
		body = spaces.ReplaceAll(body, []byte("$1"))
	}
	return body
}

// fileRoutes serves the page's style, scripts and icon.
func fileRoutes() map[string]route {
	all := map[string]route{}
	entries, err := files.ReadDir("page")
	if err != nil {
		panic("admin: read the embedded page: " + err.Error())
	}
	for _, e := range entries {
		if kind := contentTypes[path.Ext(e.Name())]; kind != "" {
			body := compact(e.Name())
			all["/"+e.Name()] = route{method: http.MethodGet, public: true, serve: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				_, _ = w.Write(body)
			}}
		}
	}
	return all
}

func pageFile(name string) []byte {
	body, err := files.ReadFile("page/" + name)
	if err != nil {
		panic("admin: read the embedded page: " + err.Error())
	}
	return body
}

// pageOf is the status page, which its script fills from /ops/api. It holds no
// data, and is the same for everybody.
func pageOf(keyless bool) []byte {
	body := compact("page.html")
	if keyless {
		body = bytes.Replace(body, []byte("<body>"), []byte("<body data-keyless>"), 1)
	}
	return body
}

// servePage responds with the page, with 401 when it will show the sign-in form. A
// program without a key gets a 401 in JSON.
func (o *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	_, refused := o.access.authorize(r, o.cfg.Now())
	known := refused == nil
	if !known && !acceptsType(r, "text/html") {
		writeRefusal(w, refused)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if !known {
		w.Header().Set("WWW-Authenticate", `Bearer realm="spillway operators"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	_, _ = w.Write(o.page)
}

// acceptsType reports whether the request accepts the type by name, as browsers
// do for pages.
func acceptsType(r *http.Request, kind string) bool {
	return strings.Contains(r.Header.Get("Accept"), kind)
}
