package admin

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"spillway/handler/internal/config/document"
	"spillway/handler/internal/configstore"
)

// Versions are those of the pool document in the table. Version 0 is the document of
// SPILLWAY_CONFIG.
type Versions interface {
	// Status returns how what this instance serves agrees with the table, and which
	// version it serves.
	Status() (status string, version int)
	// Problem returns why the current version is not served; nil = it is.
	Problem() error
	History(ctx context.Context) (head configstore.Version, all []configstore.Version, err error)
	Text(ctx context.Context, number int) (string, error)
	Diff(ctx context.Context, from, to int) ([]document.Change, error)
	// Rollback makes an earlier version current, once this instance could build it.
	Rollback(ctx context.Context, number int, who string) (configstore.Version, error)
}

// ConfigVersions is the response to /ops/api/config.
type ConfigVersions struct {
	Instance string                `json:"instance"`
	Status   string                `json:"status"` // current, behind, fallback
	Serving  int                   `json:"serving"`
	Problem  string                `json:"problem,omitempty"`
	Current  configstore.Version   `json:"current"`
	History  []configstore.Version `json:"history"` // the latest first
}

// RollbackResult is the response to a rollback. Instances with traffic serve the
// version within one refresh and two exchanges with the table.
type RollbackResult struct {
	configstore.Version
	Written  bool   `json:"written"` // false: the current version has this document already
	Instance string `json:"instance"`
}

// versionRoutes adds the routes of the versions.
func (o *Handler) versionRoutes() {
	if o.cfg.Versions == nil {
		return
	}
	o.routes["/api/config"] = route{method: http.MethodGet, serve: o.serveVersions}
	o.routes["/api/config/document"] = route{method: http.MethodGet, serve: o.serveDocument}
	o.routes["/api/config/diff"] = route{method: http.MethodGet, serve: o.serveDiff}
	o.routes["/api/config/rollback"] = route{method: http.MethodPost, act: o.serveRollback}
}

func (o *Handler) serveVersions(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	head, all, err := o.cfg.Versions.History(ctx)
	if err != nil {
		writeVersionError(w, err)
		return
	}
	v := ConfigVersions{Instance: o.cfg.Instance, Current: head, History: append([]configstore.Version{}, all...)}
	v.Status, v.Serving = o.cfg.Versions.Status()
	if why := o.cfg.Versions.Problem(); why != nil {
		v.Problem = why.Error()
	}
	writeJSON(w, http.StatusOK, v)
}

func (o *Handler) serveDocument(w http.ResponseWriter, r *http.Request) {
	number, ok := versionOf(w, r, "version")
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	text, err := o.cfg.Versions.Text(ctx, number)
	if err != nil {
		writeVersionError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(text))
}

func (o *Handler) serveDiff(w http.ResponseWriter, r *http.Request) {
	from, ok := versionOf(w, r, "from")
	if !ok {
		return
	}
	to, ok := versionOf(w, r, "to")
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), actionTimeout)
	defer cancel()
	changes, err := o.cfg.Versions.Diff(ctx, from, to)
	if err != nil {
		writeVersionError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"from": from, "to": to, "changes": append([]document.Change{}, changes...)})
}

func (o *Handler) serveRollback(w http.ResponseWriter, r *http.Request, who *operator) {
	number, ok := versionOf(w, r, "version")
	if !ok {
		return
	}
	var version configstore.Version
	action, ok := o.act(w, r, who, "rollback", "configuration version "+strconv.Itoa(number), func(ctx context.Context, a *Action) (err error) {
		version, err = o.cfg.Versions.Rollback(ctx, number, a.Who)
		return err
	})
	switch {
	case !ok:
	case action.Err != nil && !errors.Is(action.Err, configstore.ErrUnchanged):
		writeVersionError(w, action.Err)
	default:
		writeJSON(w, http.StatusOK, RollbackResult{Version: version, Written: action.Err == nil, Instance: o.cfg.Instance})
	}
}

// versionOf reads the number of a version from the query, or answers.
func versionOf(w http.ResponseWriter, r *http.Request, name string) (int, bool) {
	number, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil || number < 0 {
		writeError(w, http.StatusBadRequest, "invalid_version", "Add ?"+name+"=N, the number of a version; 0 is the document of SPILLWAY_CONFIG.")
		return 0, false
	}
	return number, true
}

func writeVersionError(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, configstore.ErrNoVersion):
		writeError(w, http.StatusNotFound, "no_such_version", err.Error())
	case errors.Is(err, configstore.ErrConflict):
		writeError(w, http.StatusConflict, "version_conflict", err.Error()+". Look at it, then try again.")
	case errors.Is(err, configstore.ErrDamaged):
		writeError(w, http.StatusConflict, "version_damaged", err.Error())
	case errors.Is(err, ErrUnusable):
		writeError(w, http.StatusUnprocessableEntity, "version_unusable", err.Error())
	default:
		writeError(w, http.StatusServiceUnavailable, "not_available", "The table of the configuration does not serve this: "+err.Error())
	}
}

// ErrUnusable is a version that this instance cannot serve.
var ErrUnusable = errors.New("this instance cannot serve the version")
