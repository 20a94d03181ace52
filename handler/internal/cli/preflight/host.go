package preflight

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Host is what is known about the Functions host.
type Host struct {
	Folders []string // where host.json may be; the first one that has it counts
	Hosted  bool     // a host runs this process
	Runtime string   // FUNCTIONS_WORKER_RUNTIME
}

// hostFile is the part of host.json that matters here
// (docs/functions-host.md#proxying).
type hostFile struct {
	Bundle     json.RawMessage `json:"extensionBundle"`
	Extensions struct {
		HTTP struct {
			Prefix *string `json:"routePrefix"`
		} `json:"http"`
	} `json:"extensions"`
	Handler *struct {
		Description struct {
			Executable string `json:"defaultExecutablePath"`
			Folder     string `json:"workingDirectory"`
		} `json:"description"`
		Proxying bool `json:"enableProxyingHttpRequest"`
	} `json:"customHandler"`
}

// check checks the first host.json in Folders. None is no finding: a handler
// may run without a host.
func (h *Host) check(n *findings) {
	h.checkRuntime(n)
	for _, folder := range h.Folders {
		name := filepath.Join(folder, "host.json")
		text, err := os.ReadFile(name) //nolint:gosec // the folders are this program's own and the working one
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			n.report(Error, name, diagnosis{"it cannot be read", "Check its permissions."})
			return
		}
		checkHostFile(name, text, n)
		return
	}
}

// checkRuntime checks the language of the app. On Flex Consumption it is not an
// app setting, and the process may not see it (docs/functions-host.md#plans).
func (h *Host) checkRuntime(n *findings) {
	if !h.Hosted || strings.EqualFold(h.Runtime, "custom") {
		return
	}
	level := Error
	if h.Runtime == "" {
		level = Warning
	}
	n.report(level, "FUNCTIONS_WORKER_RUNTIME", diagnosis{"it is " + strconv.Quote(h.Runtime), `Set it to "custom"; on Flex Consumption set functionAppConfig.runtime.name instead.`})
}

func checkHostFile(name string, text []byte, n *findings) {
	var f hostFile
	if err := json.Unmarshal(text, &f); err != nil {
		n.report(Error, name, diagnosis{"it is no valid JSON: " + err.Error(), "Correct it, or take the one that Spillway comes with."})
		return
	}
	before := len(*n)
	if f.Handler == nil {
		n.report(Error, name, diagnosis{"customHandler is missing", "Take the host.json that Spillway comes with."})
		return
	}
	if !f.Handler.Proxying {
		n.report(Error, name, diagnosis{"customHandler.enableProxyingHttpRequest is not true: the host would buffer streams", "Set it to true."})
	}
	if prefix := f.Extensions.HTTP.Prefix; prefix == nil || *prefix != "" {
		n.report(Error, name, diagnosis{"extensions.http.routePrefix is not empty: every path would begin with it", `Set it to "".`})
	}
	if len(f.Bundle) > 0 && string(f.Bundle) != "null" {
		n.report(Warning, name, diagnosis{"there is an extensionBundle, which the host downloads and HTTP does not need", "Remove it."})
	}
	checkExecutable(name, &f, n)
	if len(*n) == before {
		n.ok(name, "its settings are right, and the executable is there")
	}
}

// checkExecutable looks for the handler where the host does. Packing sets the
// executable bit only on an entry of exactly this name
// (docs/functions-host.md#deployment).
func checkExecutable(name string, f *hostFile, n *findings) {
	d := &f.Handler.Description
	switch {
	case d.Executable == "":
		n.report(Error, name, diagnosis{"customHandler.description.defaultExecutablePath is empty", `Set it to "spillway".`})
		return
	case strings.HasPrefix(d.Executable, "./"):
		n.report(Error, name, diagnosis{"defaultExecutablePath begins with ./, so packing does not make it executable", "Write it without."})
		return
	}
	file := d.Executable
	if !filepath.IsAbs(file) {
		file = filepath.Join(filepath.Dir(name), d.Folder, d.Executable)
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		n.report(Warning, name, diagnosis{"the executable " + d.Executable + " is not in the same folder", "Lay out the app with scripts/stage.sh before it is packed or started."})
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		n.report(Error, name, diagnosis{"the executable " + d.Executable + " may not be executed", "chmod 0755 it, and pack with scripts/package.sh, which keeps that."})
	}
}
