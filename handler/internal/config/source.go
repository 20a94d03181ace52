package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"spillway/handler/internal/config/document"
)

// configSetting holds the pool document, or says where it is.
const configSetting = prefix + "_CONFIG"

// mostDocument bounds the file that is read.
const mostDocument = 8 << 20

// document reads the pool document from wherever the operator put it. nil is
// one that could not be understood at all; the faults say why.
func (c *checker) document(in *inputs) *document.Document {
	text := strings.TrimSpace(in.ours.Config)
	numbers := numbered(in.all)
	switch {
	case text == "" && len(numbers) > 0:
		return c.numberedDocument(in, numbers)
	case text == "":
		c.setting(configSetting, "is not set, so there is nothing to send requests to", `Set it to the pool document, or to "@path" of a file that holds it; or set BACKEND_1_URL, BACKEND_1_PRIORITY and BACKEND_1_APIKEY.`)
		return nil
	case unresolved(text):
		c.setting(configSetting, "is a Key Vault reference that was not resolved", "Give the app's identity the role Key Vault Secrets User.")
		return nil
	}
	if len(numbers) > 0 {
		c.settingWarning("BACKEND_"+numbers[0].id+"_URL", "and its like have no effect, because SPILLWAY_CONFIG is set", "Remove the BACKEND_ settings, or SPILLWAY_CONFIG.")
	}
	path, isPath := strings.CutPrefix(text, "@")
	if !isPath {
		return c.Read("", []byte(text))
	}
	content, ok := c.file(path)
	if !ok {
		return nil
	}
	return c.Read(filepath.Base(path), content)
}

// file reads the file that SPILLWAY_CONFIG points to.
func (c *checker) file(path string) ([]byte, bool) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > mostDocument {
		c.setting(configSetting, "points to a file of more than 8 MiB", "Point it to a pool document.")
		return nil, false
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(path) //nolint:gosec // the operator's own path
	}
	if err == nil {
		return content, true
	}
	reason := err
	if inner, ok := errors.AsType[*fs.PathError](err); ok {
		reason = inner.Err
	}
	c.setting(configSetting, "points to "+strconv.Quote(path)+", which cannot be read: "+reason.Error(), "Check the path: it is relative to the folder that the handler is started in, which in Azure is the one with host.json.")
	return nil, false
}
