package admin

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"path"
	"strings"
)

//go:embed page
var files embed.FS

// page is the status page: a shell that its script fills from /ops/api/status.
// The same markup, as html/template blocks, makes the first paint where no key
// is needed, so that it reads without a script too.
type page struct{ html *template.Template }

func newPage() *page {
	return &page{html: template.Must(template.New("page.html").Funcs(template.FuncMap{
		"at": dataOf, "clock": formatClock, "count": formatCount, "float": toFloat, "left": formatCountdown, "ms": formatMS, "part": shareText,
		"percent": formatPercent, "quota": quotaText, "share": sharePercent, "times": changeSource, "traffic": trafficText, "where": describeBackend, "why": changeText,
	}).ParseFS(files, "page/*.html"))}
}

// contentTypes are the types of the files that everybody may have.
var contentTypes = map[string]string{ //nolint:gochecknoglobals // never written
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// routes are the page's style, scripts and icon.
func (p *page) routes() map[string]route {
	all := map[string]route{}
	entries, err := files.ReadDir("page")
	if err != nil {
		panic("ops: the embedded page is missing: " + err.Error())
	}
	for _, e := range entries {
		kind := contentTypes[path.Ext(e.Name())]
		body, err := files.ReadFile("page/" + e.Name())
		if kind == "" || err != nil {
			continue
		}
		all["/"+e.Name()] = route{method: http.MethodGet, public: true, serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(body)
		}}
	}
	return all
}

// servePage answers with the page: filled, or as the sign-in form with 401. A
// program that asks without a key gets its 401 in JSON.
func (o *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	known := o.access.authorized(r)
	if !known && !acceptsType(r, "text/html") {
		writeUnauthorized(w)
		return
	}
	var data struct {
		Status *Status // nil = sign in first
		Blank  blankData
	}
	code := http.StatusOK
	if known {
		data.Status = o.currentStatus()
	} else {
		code = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Bearer realm="spillway operators"`)
	}
	var body bytes.Buffer
	if err := o.page.html.Execute(&body, data); err != nil {
		writeError(w, http.StatusInternalServerError, "page_failed", "The page could not be made: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(body.Bytes())
}

// acceptsType reports whether the asker names this type, as browsers do for pages.
func acceptsType(r *http.Request, kind string) bool {
	return strings.Contains(r.Header.Get("Accept"), kind)
}

// blankData is what the script's copies of the markup are made of.
type blankData struct {
	templateData
	Consumer ConsumerStatus
	Limit    LimitStatus
	Instance InstanceStatus
	Change   ChangeStatus
}
