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

// page is the status page, which its script fills from /ops/api/status. Without a
// key the server renders the data with the same templates, so that the page works
// without scripts.
type page struct{ html *template.Template }

func newPage() *page {
	return &page{html: template.Must(template.New("page.html").Funcs(template.FuncMap{
		"data": dataOf, "clock": formatClock, "count": formatCount, "float": toFloat, "countdown": formatCountdown, "ms": formatMS, "shareText": shareText,
		"percent": formatPercent, "quota": quotaText, "share": sharePercent, "changeSource": changeSource, "traffic": trafficText, "describe": describeBackend, "lastChange": changeText,
	}).ParseFS(files, "page/*.html"))}
}

// contentTypes are the types of the public files.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// routes serves the page's style, scripts and icon.
func (p *page) routes() map[string]route {
	all := map[string]route{}
	entries, err := files.ReadDir("page")
	if err != nil {
		panic("admin: read the embedded page: " + err.Error())
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

// servePage responds with the page, or with the sign-in form and 401. A program
// without a key gets a 401 in JSON.
func (o *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	_, refused := o.access.authorize(r, o.cfg.Now())
	known := refused == nil
	if !known && !acceptsType(r, "text/html") {
		writeRefusal(w, refused)
		return
	}
	var data struct {
		Status *Status // nil = sign-in form
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
		writeError(w, http.StatusInternalServerError, "page_failed", "The page cannot be rendered: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(body.Bytes())
}

// acceptsType reports whether the request accepts the type by name, as browsers
// do for pages.
func acceptsType(r *http.Request, kind string) bool {
	return strings.Contains(r.Header.Get("Accept"), kind)
}

// blankData fills the templates that the script copies.
type blankData struct {
	templateData
	Consumer ConsumerStatus
	Limit    LimitStatus
	Instance InstanceStatus
	Change   ChangeStatus
}
