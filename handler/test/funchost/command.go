package funchost

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var variable = regexp.MustCompile(`%[^%\s]+%`)

// expand puts the values of %NAME% into text and removes the unset ones.
func expand(text string, env []string) string {
	return variable.ReplaceAllStringFunc(text, func(word string) string {
		name := strings.Trim(word, "%")
		value := ""
		for _, pair := range env {
			if key, set, _ := strings.Cut(pair, "="); key == name {
				value = set
			}
		}
		return value
	})
}

// arguments are the handler's, as its process sees them: the host joins them
// with spaces, quotes nothing, and lets the line be split again (D 1).
func arguments(given, env []string) []string {
	var words []string
	var word strings.Builder
	quoted, inWord := false, false
	for _, char := range expand(strings.Join(given, " "), env) {
		switch {
		case char == '"':
			quoted, inWord = !quoted, true
		case char == ' ' && !quoted:
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(char)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}

// joinRoot makes a relative folder one joinRoot root; root itself when empty.
func joinRoot(root, folder string) string {
	if filepath.IsAbs(folder) {
		return folder
	}
	return filepath.Join(root, folder)
}

// executable finds the program: a file under the worker directory, else
// whatever PATH has of that name (D 2).
func (d description) executable(root string, env []string) (string, error) {
	name := expand(d.Executable, env)
	if filepath.IsAbs(name) {
		return name, nil
	}
	local := filepath.Join(joinRoot(root, d.WorkerDirectory), name)
	if info, err := os.Stat(local); err == nil && !info.IsDir() {
		return local, nil
	}
	return exec.LookPath(name)
}
