// Package tfstate holds what Terraform itself made of an example against what package tf made of it: the evaluator is only worth
// something as long as the two agree.
package tfstate

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"

	"spillway/scripts/infra-check/bicep"
	"spillway/scripts/infra-check/check"
)

type state struct {
	Root    folder `json:"root_module"`
	Outputs map[string]struct {
		Value any `json:"value"`
	} `json:"outputs"`
}

type folder struct {
	Resources []struct {
		Type string `json:"type"`
		Mode string `json:"mode"`
	} `json:"resources"`
	Children []folder `json:"child_modules"`
}

var errNoState = errors.New("terraform printed no state: run it with -json -verbose")

// Compare reads what `terraform test -json -verbose` prints for tests/apply.tftest.hcl and says what differs from the example:
// the pool document, and how many resources there are of each type.
func Compare(printed io.Reader, e check.Example) ([]string, error) {
	s, err := last(printed)
	if err != nil {
		return nil, err
	}
	var out []string
	if have, want := normal(s.Outputs["SPILLWAY_CONFIG"].Value), normal(json.RawMessage(e.Terraform["SPILLWAY_CONFIG"])); have != want {
		out = append(out, fmt.Sprintf("SPILLWAY_CONFIG is %s, worked out as %s", have, want))
	}
	have := map[string]int{}
	s.Root.count(have)
	for _, kind := range slices.Sorted(maps.Keys(merged(have, e.Counts))) {
		if have[kind] != e.Counts[kind] {
			out = append(out, fmt.Sprintf("terraform makes %d of %s, worked out were %d", have[kind], kind, e.Counts[kind]))
		}
	}
	return out, nil
}

func last(printed io.Reader) (*state, error) {
	var found *state
	lines := bufio.NewScanner(printed)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var line struct {
			Type  string `json:"type"`
			State *state `json:"test_state"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Type == "test_state" {
			found = line.State
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read what terraform printed: %w", err)
	}
	if found == nil {
		return nil, errNoState
	}
	return found, nil
}

func (f folder) count(into map[string]int) {
	for _, r := range f.Resources {
		if r.Mode == "managed" {
			into[r.Type]++
		}
	}
	for _, c := range f.Children {
		c.count(into)
	}
}

func merged(a, b map[string]int) map[string]int {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

var (
	hash     = regexp.MustCompile(`(aoai-[a-z0-9-]+?)-(?:[0-9a-f]{13}|tokentokentok)\.`)
	clientID = regexp.MustCompile(`«[^»]*clientId»|22222222-2222-2222-2222-222222222222`)
)

// normal is the document with the hash in names and the client id, which differ on purpose, made the same.
func normal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var sorted any
	if err := json.Unmarshal(b, &sorted); err != nil {
		return err.Error()
	}
	text := bicep.Canonical(sorted)
	return clientID.ReplaceAllString(hash.ReplaceAllString(text, "$1."), "client-id")
}
