// Package scripttest runs the scripts that talk to Azure against a recorded az and a double of a deployed Spillway.
package scripttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Root is the project, seen from this folder.
const Root = "../../.."

// Desk is where one test runs scripts: a fake az with its answers, and the environment.
type Desk struct {
	t   *testing.T
	dir string
	env []string
}

// NewDesk puts the fake az in place of az. binary is the fake, built once.
func NewDesk(t *testing.T, binary string, replies ...any) *Desk {
	t.Helper()
	d := &Desk{t: t, dir: t.TempDir()}
	b, err := json.Marshal(replies)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "replies.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(d.dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(bin, "az")); err != nil {
		t.Fatal(err)
	}
	d.Set("PATH=" + bin + ":" + os.Getenv("PATH"))
	d.Set("FAKE_AZ=" + d.dir)
	d.Set("HOME=" + d.dir)
	return d
}

// WithoutAz takes az away, and whatever lies beside a real one: what is left are the tools that the scripts are written with.
func (d *Desk) WithoutAz() {
	d.t.Helper()
	bin := filepath.Join(d.dir, "without")
	if err := os.Mkdir(bin, 0o700); err != nil {
		d.t.Fatal(err)
	}
	for _, name := range []string{"bash", "basename", "cat", "dirname", "git", "grep", "sed", "sort", "tr"} {
		path, err := exec.LookPath(name)
		if err != nil {
			d.t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			d.t.Fatal(err)
		}
	}
	d.Set("PATH=" + bin)
}

// Set adds a variable to the environment of the scripts.
func (d *Desk) Set(assignment string) { d.env = append(d.env, assignment) }

// File makes a file and returns its name.
func (d *Desk) File(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// Run is what a script did.
type Run struct {
	Status int
	Out    string // stdout
	Words  string // stderr
	Calls  []string
}

// Script runs one script with the text as its standard input.
func (d *Desk) Script(input, name string, args ...string) Run {
	d.t.Helper()
	log := filepath.Join(d.dir, "calls.log")
	if err := os.RemoveAll(log); err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.Command("bash", append([]string{filepath.Join(Root, "scripts", name)}, args...)...)
	cmd.Env, cmd.Stdin = d.env, strings.NewReader(input)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatal(err)
	}
	return Run{Status: cmd.ProcessState.ExitCode(), Out: out.String(), Words: words.String(), Calls: d.calls()}
}

// calls are the calls of az since the last script began.
func (d *Desk) calls() []string {
	b, err := os.ReadFile(filepath.Join(d.dir, "calls.log"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// changing are the calls that change something in Azure.
func (r Run) changing() []string {
	var out []string
	for _, c := range r.Calls {
		if changes(c) {
			out = append(out, c)
		}
	}
	return out
}

// changes tells whether a call changes something in Azure.
func changes(call string) bool {
	words := strings.SplitN(call, " --", 2)[0]
	for _, verb := range []string{" create", " delete", " purge", " register", " upload", " restart", " config-zip", " approve", " rest"} {
		if strings.HasSuffix(words, verb) {
			return true
		}
	}
	return false
}

// Reply records an answer of az: words of the command, flags it must have ("--name", "x"), what it prints.
func Reply(words string, body any, with ...string) map[string]any {
	flags := map[string]string{}
	for i := 0; i+1 < len(with); i += 2 {
		flags[with[i]] = with[i+1]
	}
	return map[string]any{"words": strings.Fields(words), "with": flags, "json": body}
}

// Marked adds to a reply what must be in the state, what must not, and what the call leaves behind: "+a" is set, "-a" cleared,
// "?a" needed, "!a" must not be.
func Marked(reply map[string]any, marks ...string) map[string]any {
	lists := map[byte]string{'+': "sets", '-': "clears", '?': "when", '!': "unless"}
	for _, m := range marks {
		list, _ := reply[lists[m[0]]].([]string)
		reply[lists[m[0]]] = append(list, m[1:])
	}
	return reply
}

// Refusal records that az fails.
func Refusal(words, message string) map[string]any {
	return map[string]any{"words": strings.Fields(words), "status": 1, "error": message}
}
