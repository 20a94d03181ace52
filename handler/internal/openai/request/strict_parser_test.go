package request

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/openai/operations"
)

// node is a JSON value as the standard library reads it, with its members in
// order.
type node struct {
	text     string // of a string
	isText   bool
	keys     []string // of an object
	children []*node  // values of an object or array
	object   bool
	list     bool
}

func readNode(d *json.Decoder) (*node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	n := new(node)
	switch v := token.(type) {
	case string:
		n.text, n.isText = v, true
	case json.Delim:
		n.object, n.list = v == '{', v == '['
		for d.More() {
			if n.object {
				key, err := d.Token()
				if err != nil {
					return nil, err
				}
				n.keys = append(n.keys, key.(string))
			}
			child, err := readNode(d)
			if err != nil {
				return nil, err
			}
			n.children = append(n.children, child)
		}
		_, err = d.Token()
	}
	return n, err
}

// place is where a value of a body is, in a second reading of the rules.
type place struct {
	member  string   // whose value it is; an element of a list has the list's
	within  []string // the members that it is in
	own     bool     // the caller's own data, which names nothing
	row     bool     // a row of the caller's, where ids are told by their form
	strict  bool     // as where ids have owners
	inNames bool     // an object whose members the caller names
}

// of is the place of a child that is the value of this member.
func (p place) of(member string, child *node) place {
	if p.inNames {
		member = ""
	}
	in := place{member: member, within: append(slices.Clone(p.within), p.member), own: p.own, row: p.row, strict: p.strict}
	in = in.entered(child.object || child.list)
	in.inNames = child.object && isMap(member, p.strict)
	return in
}

// isMap reports whether the members of this member's object are named by the caller.
func isMap(member string, strict bool) bool {
	letters := lettersOf(member)
	return member == "variables" || member == mapMember || strict && slices.ContainsFunc(standIns[mapMember], func(name string) bool { return lettersOf(name) == letters })
}

// element is the place of an element of a list.
func (p place) element(child *node) place {
	p.inNames = false
	return p.entered(child.object || child.list)
}

// isOwn reports whether a member holds the caller's own data, by the members it is in.
func isOwn(member string, within []string) bool {
	in := func(name string) bool { return slices.Contains(within, name) }
	switch member {
	case "parameters":
		return in("tools") || in("functions")
	case "input":
		return in("content")
	case "annotations":
		return in("tools")
	}
	return slices.Contains(dataMembers, member)
}

func (p place) entered(container bool) place {
	if container && !p.row && !slices.Contains(p.within, "data_sources") {
		p.own = p.own || isOwn(p.member, p.within)
		inline := p.member == "content" && slices.Contains(p.within[max(0, len(p.within)-1):], "source") && slices.Contains(p.within[:max(0, len(p.within)-1)], "data_source")
		p.own = p.own && !inline
		p.row = !p.own && slices.Contains(rowMembers, p.member) || inline
	}
	return p
}

// hasFormOf reports whether a text is an id by its form, as one of a kind.
func hasFormOf(text string, kind operations.Kind) bool {
	if !regexp.MustCompile(`^(assistant-|audio_|file-|cfile_|batch_|cntr_|conv_|eval_|ftjob-|pmpt_|resp_|skill_|upload_|video_|vs_)[A-Za-z0-9_-]+$`).MatchString(text) || len(text) > 128 {
		return false
	}
	return kind == "" || operations.KindOf(text) == kind
}

var longID = regexp.MustCompile(`^[a-z]+[_-][A-Za-z0-9]{16,}$`)

// strictIDs returns every id that a body names, in a second reading of the rules,
// and whether a watched member is repeated in an object.
func strictIDs(n *node, p place, ids map[string]bool) (repeated bool) {
	if n.isText {
		if text := strings.TrimSpace(n.text); text != "" && !p.own && p.names(text) {
			ids[text] = true
		}
		return false
	}
	seen := map[string]bool{}
	for i, child := range n.children {
		in := p.element(child)
		if n.object {
			repeated = repeated || seen[n.keys[i]] && vocabulary.Of(n.keys[i]) != 0
			seen[n.keys[i]] = true
			in = p.of(n.keys[i], child)
		}
		repeated = strictIDs(child, in, ids) || repeated
	}
	if id := strings.TrimSpace(n.member("id")); id != "" && !p.own && !p.inNames && len(p.within) > 0 {
		_, holder := holderMembers[p.member]
		listed := holder || slices.Contains(itemMembers, p.member)
		if !p.row && (listed || hasFormOf(id, "")) || lettersOf(n.member("type")) == "itemreference" {
			ids[id] = true
		}
	}
	return repeated
}

// names reports whether a string is an id, by the member that has it.
func (p place) names(text string) bool {
	_, isID := idMembers[p.member]
	kind, mayBeID := formMembers[p.member]
	switch {
	case p.row:
		return longID.MatchString(text) && operations.KindOf(text) != "" || (p.member == "file_id" || p.member == "file_ids") && hasFormOf(text, operations.KindFile)
	case isID:
		return true
	case mayBeID:
		return hasFormOf(text, kind) && (p.member != "source" || longID.MatchString(text))
	}
	folded := lettersOf(p.member)
	unlisted := vocabulary.Of(p.member) == 0 && !endsAsModel(p.member) && (strings.HasSuffix(folded, "id") || strings.HasSuffix(folded, "ids"))
	named := p.member == anyIDMember || p.strict && unlisted
	return named && hasFormOf(text, "") && longID.MatchString(text)
}

// member is the string of a member of an object, which is in it once.
func (n *node) member(name string) string {
	if i := slices.Index(n.keys, name); i >= 0 {
		return n.children[i].text
	}
	return ""
}

// checkAgainstStrictParser compares what Parse finds in a valid body with what the
// standard library's decoder reads.
func checkAgainstStrictParser(body []byte) error {
	root, err := readNode(json.NewDecoder(bytes.NewReader(body)))
	if err != nil {
		return err
	}
	for _, strict := range []bool{false, true} {
		want := map[string]bool{}
		repeated := strictIDs(root, place{strict: strict}, want)
		parsed, err := (&Parser{Strict: strict}).Parse(body)
		if err != nil {
			continue // a body that is refused names nothing
		}
		if repeated {
			return fmt.Errorf("a repeated member is accepted in %q", body)
		}
		got := map[string]bool{}
		for _, r := range parsed.References {
			got[r.ID] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("ids of %q, strict %t (-strict +checked):\n%s", body, strict, diff)
		}
	}
	return nil
}

// strictNames returns whether a body has a member that is another spelling of one that
// is acted on, or an object where an id or a model is a text, in a second reading of
// the rules. n is the value of the member, or with listed an element of it; with inMap
// the caller named that.
func strictNames(n *node, member string, within []string, listed, inMap bool) bool {
	free := false
	if inMap {
		member = ""
	}
	for i, name := range append(within[:len(within):len(within)], member) {
		ahead := within[:min(i, len(within))]
		if slices.Contains(ahead, "data_sources") {
			break
		}
		free = free || isOwn(name, ahead) || slices.Contains(rowMembers, name)
	}
	_, isID := idMembers[member]
	_, isHolder := holderMembers[member]
	if n.object && len(n.keys) > 0 && !free && !inMap && (isID && !isHolder || slices.Contains(modelMembers, member) || member != "" && vocabulary.Of(member) == 0 && endsAsModel(member)) {
		return true
	}
	named := n.object && !listed && isMap(member, true)
	for i, child := range n.children {
		name := member
		inside := within
		if n.object {
			name = n.keys[i]
			inside = append(within[:len(within):len(within)], member)
			if !free && !named && vocabulary.Of(name) == 0 && otherName(name) {
				return true
			}
		}
		if strictNames(child, name, inside, n.list, n.object && named || n.list && inMap) {
			return true
		}
	}
	return false
}

var separators = strings.NewReplacer("_", "", "-", "", " ", "")

func lettersOf(name string) string { return separators.Replace(strings.ToLower(name)) }

func endsAsModel(name string) bool {
	letters := lettersOf(name)
	return slices.ContainsFunc(modelEndings, func(e string) bool { return strings.HasSuffix(letters, e) })
}

// byLetters is the names that have no other spelling.
var byLetters = func() map[string]string {
	names := map[string]string{}
	for _, list := range spelt {
		for _, f := range list {
			names[lettersOf(f.name)] = f.name
		}
	}
	return names
}()

func otherName(name string) bool {
	written, ok := byLetters[lettersOf(name)]
	return ok && written != name
}

// checkSpellings compares what a strict Parser refuses with that second reading.
func checkSpellings(body []byte) error {
	root, err := readNode(json.NewDecoder(bytes.NewReader(body)))
	if err != nil {
		return err
	}
	_, err = (&Parser{Strict: true}).Parse(body)
	if strictNames(root, "", nil, false, false) && err == nil {
		return fmt.Errorf("another spelling is accepted in %q", body)
	}
	return nil
}
