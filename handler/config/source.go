package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"spillway/handler/config/strict"
)

// configSetting holds the pool document, or says where it is.
const configSetting = prefix + "_CONFIG"

// mostDocument bounds the file that is read.
const mostDocument = 8 << 20

// document reads the pool document from wherever the operator put it. nil is
// one that could not be understood at all; the faults say why.
func (c *checker) document(in *inputs) *Document {
	text := strings.TrimSpace(in.ours.Config)
	numbers := numbered(in.all)
	switch {
	case text == "" && len(numbers) > 0:
		return c.fromNumbers(in, numbers)
	case text == "":
		c.setting(configSetting, "is not set, so there is nothing to send requests to", `Set it to the pool document, or to "@path" of a file that holds it; or set BACKEND_1_URL, BACKEND_1_PRIORITY and BACKEND_1_APIKEY.`)
		return nil
	case unresolved(text):
		c.setting(configSetting, "is a Key Vault reference that was not resolved", "Give the app's identity the role Key Vault Secrets User.")
		return nil
	}
	if len(numbers) > 0 {
		c.odd("BACKEND_"+numbers[0].id+"_URL", "and its like have no effect, because SPILLWAY_CONFIG is set", "Remove the BACKEND_ settings, or SPILLWAY_CONFIG.")
	}
	path, isPath := strings.CutPrefix(text, "@")
	if !isPath {
		return c.parse("", []byte(text))
	}
	content, ok := c.file(path)
	if !ok {
		return nil
	}
	return c.parse(filepath.Base(path), content)
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

// parse understands the text of a pool document, with as much of it as can be.
func (c *checker) parse(file string, text []byte) *Document {
	tree, faults := strict.Parse(file, text)
	if tree == nil {
		c.faults = append(c.faults, faults...)
		return nil
	}
	c.tree = tree
	d := new(Document)
	c.faults = append(c.faults, strict.Decode(tree, d)...)
	if tree.Root.Kind != strict.Object {
		return nil
	}
	return d
}

// ParseDocument understands a pool document by itself: what is wrong with it
// whatever the environment. file names it in faults, "" if it is none.
func ParseDocument(file string, text []byte) (*Document, error) {
	c := &checker{}
	d := c.parse(file, text)
	if d != nil {
		c.check(d, "")
	}
	c.faults.Sort()
	return d, c.faults.Err()
}

// Print is the document as it could have been written, without defaults.
func (d *Document) Print() []byte { return strict.Encode(*d) }
