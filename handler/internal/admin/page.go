package admin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

//go:embed page
var files embed.FS

// What browsers do not need: indentation and lines of comments, in a style the spaces
// around punctuation, and in a script that is one file what joins it to others.
var (
	comments = regexp.MustCompile(`(?m)^(\s+|//.*\n)+`)
	spaces   = regexp.MustCompile(`;?\s*([{};:,>])\s*`)
	joints   = regexp.MustCompile(`(?m)^(import .*\n|export )`)
)

// scripts are the modules of the page's script, each after those that it imports.
// They are served as one file, whose names are those of all: a page of one file is
// shown sooner.
var scripts = []string{"api.js", "dom.js", "format.js", "actions.js", "render.js", "history.js", "usage.js", "lookup.js", "page.js"}

// pageScript is the page's script.
func pageScript() []byte {
	var all []byte
	for _, name := range scripts {
		all = append(all, joints.ReplaceAll(compact(name), nil)...)
	}
	return all
}

// pageStyle is the page's style. It is a part of the page, so that the first paint
// waits for no other file.
func pageStyle() []byte {
	return spaces.ReplaceAllFunc(compact("page.css"), func(punctuation []byte) []byte {
		text := bytes.TrimSpace(punctuation)
		return text[len(text)-1:]
	})
}

// styleHash is the page's style as a content security policy names it.
var styleHash = func() string {
	sum := sha256.Sum256(pageStyle())
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// compact is a file without what browsers do not need.
func compact(name string) []byte { return comments.ReplaceAll(pageFile(name), nil) }

// fileRoutes serves the page's script and icon.
func fileRoutes() map[string]route {
	all := map[string]route{}
	for path, file := range map[string]struct {
		kind string
		body []byte
	}{
		"/page.js":  {"text/javascript; charset=utf-8", pageScript()},
		"/icon.svg": {"image/svg+xml", pageFile("icon.svg")},
	} {
		all[path] = route{method: http.MethodGet, public: true, serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", file.kind)
			_, _ = w.Write(file.body)
		}}
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
	body := bytes.Replace(compact("page.html"), []byte("<style></style>"), slices.Concat([]byte("<style>"), pageStyle(), []byte("</style>")), 1)
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
