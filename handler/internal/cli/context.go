package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// target is which deployment a command is about, where the environment does not
// say it.
type target struct {
	context string // name of a file in the folder of contexts
	app     string // name of a Function App
}

// withTarget gives a command, and those below it, the flags that name a
// deployment.
func withTarget(c *cobra.Command) *cobra.Command {
	t := new(target)
	c.PersistentFlags().StringVar(&t.context, "context", "", "read the settings of `NAME` in ~/.config/spillway/NAME.env (default: default)")
	c.PersistentFlags().StringVar(&t.app, "app", "", "read the state connection and the pool document of the Function App `NAME`, as who is signed in to Azure")
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return t.apply(c) }
	return c
}

const targetHelp = "\nThe connection is that of SPILLWAY_STATE or AzureWebJobsStorage in the environment, else in\n" +
	"~/.config/spillway/default.env (--context NAME for another file), else that of the app that\n--app NAME or a line app=NAME of the file names. By SPILLWAY_STATE__accountName it is the access\nof who is signed in to Azure (\"az login\"): no secret is needed."

// apply puts the settings of the context and of the app into the environment of
// this process. What the environment has already, only --app replaces.
func (t *target) apply(c *cobra.Command) error {
	settings, err := t.read()
	if err != nil {
		return err
	}
	app := t.app
	for name, value := range settings {
		if name == "app" {
			if app == "" && !hasConnection() {
				app = value
			}
			continue
		}
		if os.Getenv(name) == "" {
			if err := os.Setenv(name, value); err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
	}
	if app == "" {
		return nil
	}
	return applyApp(c.Context(), app)
}

func hasConnection() bool {
	for _, name := range []string{"SPILLWAY_STATE", "SPILLWAY_STATE__accountName", "SPILLWAY_STATE__tableServiceUri", "AzureWebJobsStorage", "AzureWebJobsStorage__accountName"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// contextFolder is where contexts are.
func contextFolder() (string, error) {
	if base := os.Getenv("XDG_CONFIG_HOME"); base != "" {
		return filepath.Join(base, "spillway"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the folder of contexts: %w", err)
	}
	return filepath.Join(home, ".config", "spillway"), nil
}

// read returns the settings of the context. The default one need not exist.
func (t *target) read() (map[string]string, error) {
	name := t.context
	if name == "" {
		name = "default"
	}
	if strings.ContainsAny(name, `/\`) {
		return nil, &failure{nil, fmt.Sprintf("%q is no name of a context", name), "write the name of a file in ~/.config/spillway, without its .env"}
	}
	folder, err := contextFolder()
	if err != nil {
		return nil, nil //nolint:nilerr // without a home there is no default context
	}
	file := filepath.Join(folder, name+".env")
	text, err := os.ReadFile(file) //nolint:gosec // the operator names it
	switch {
	case errors.Is(err, fs.ErrNotExist) && t.context == "":
		return nil, nil
	case err != nil:
		return nil, &failure{err, "the context " + name + " cannot be read: " + err.Error(), "write its settings into " + file + ", one NAME=VALUE a line"}
	}
	return parseContext(file, text)
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseContext reads lines of NAME=VALUE; empty ones and those that begin with #
// say nothing.
func parseContext(file string, text []byte) (map[string]string, error) {
	settings, n := map[string]string{}, 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); !ok || !settingName.MatchString(name) || strings.ContainsRune(value, 0) {
			return nil, &failure{nil, fmt.Sprintf("%s:%d is no setting", file, n), "write NAME=VALUE, such as SPILLWAY_STATE__accountName=stspillway"}
		}
		settings[name] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return settings, nil
}
