package request

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spillway/handler/internal/openai/operations"
)

func TestReferencesOfABody(t *testing.T) {
	ref := func(kind operations.Kind, id, param string) []Reference {
		return []Reference{{Kind: kind, ID: id, Param: param}}
	}
	described := func(refs []Reference) []Reference {
		refs[0].Described = true
		return refs
	}
	for body, want := range map[string][]Reference{
		`{}`:                           nil,
		`{"previous_response_id":"r"}`: ref(operations.KindResponse, "r", "previous_response_id"),
		`{"conversation":"c"}`:         ref(operations.KindConversation, "c", "conversation"),
		`{"conversation":{"id":"c"}}`:  ref(operations.KindConversation, "c", "conversation"),
		`{"input":[{"type":"item_reference","id":"i"}]}`:                                              ref(operations.KindItem, "i", "input"),
		`{"input":[{"id":"i","type":"message"}]}`:                                                     ref(operations.KindItem, "i", "input"),
		`{"input":[{"id":"i","role":"user"}]}`:                                                        ref(operations.KindItem, "i", "input"),
		`{"input":{"id":"i"}}`:                                                                        ref(operations.KindItem, "i", "input"),
		`{"input":[[{"id":"i"}]]}`:                                                                    ref(operations.KindItem, "i", "input"),
		`{"input":[{"id":"i","type":"message","content":"hi"}]}`:                                      described(ref(operations.KindItem, "i", "input")),
		`{"input":[{"id":"i","type":"item_reference","content":"hi"}]}`:                               ref(operations.KindItem, "i", "input"),
		`{"input":[{"id":"i","type":"reasoning","summary":[]}]}`:                                      ref(operations.KindItem, "i", "input"),
		`{"items":[{"id":"i"}]}`:                                                                      ref(operations.KindItem, "i", "items"),
		`{"input":[{"type":"mcp_approval_response","approval_request_id":"i"}]}`:                      ref(operations.KindItem, "i", "approval_request_id"),
		`{"input":[{"content":[{"type":"input_file","file_id":"f"}]}]}`:                               ref(operations.KindFile, "f", "file_id"),
		`{"tools":[{"type":"file_search","vector_store_ids":["v"]}]}`:                                 ref(operations.KindVectorStore, "v", "vector_store_ids"),
		`{"tools":[{"type":"code_interpreter","container":"c"}]}`:                                     ref(operations.KindContainer, "c", "container"),
		`{"tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["f"]}}]}`:        ref(operations.KindFile, "f", "file_ids"),
		`{"tools":[{"type":"image_generation","input_image_mask":{"file_id":"f"}}]}`:                  ref(operations.KindFile, "f", "file_id"),
		`{"prompt":{"id":"p"}}`:                                                                       ref(operations.KindPrompt, "p", "prompt"),
		`{"prompt":"p"}`:                                                                              nil,
		`{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}`:           ref(operations.KindFile, "f", "file_id"),
		`{"messages":[{"role":"assistant","audio":{"id":"a"}}]}`:                                      ref(operations.KindAudio, "a", "audio"),
		`{"messages":[{"role":"assistant","tool_calls":[{"id":"call_1"}]}]}`:                          nil,
		`{"input_file_id":"f"}`:                                                                       ref(operations.KindFile, "f", "input_file_id"),
		`{"training_file":"f"}`:                                                                       ref(operations.KindFile, "f", "training_file"),
		`{"validation_file":"f"}`:                                                                     ref(operations.KindFile, "f", "validation_file"),
		`{"files":[{"file_id":"f"}]}`:                                                                 ref(operations.KindFile, "f", "file_id"),
		`{"part_ids":["p"]}`:                                                                          ref(operations.KindPart, "p", "part_ids"),
		`{"data_source":{"type":"jsonl","source":{"type":"file_id","id":"f"}}}`:                       ref(operations.KindFile, "f", "source"),
		`{"voice":{"id":"v"}}`:                                                                        ref(operations.KindVoice, "v", "voice"),
		`{"input_reference":{"id":"f"}}`:                                                              ref(operations.KindFile, "f", "input_reference"),
		`{"images":[{"file_id":"f"}]}`:                                                                ref(operations.KindFile, "f", "file_id"),
		`{"skills":[{"skill_id":"s"}]}`:                                                               ref(operations.KindSkill, "s", "skill_id"),
		`{"vector_store\u005fids":["v"]}`:                                                             ref(operations.KindVectorStore, "v", "vector_store_ids"),
		`{"file_id":"\u0066"}`:                                                                        ref(operations.KindFile, "f", "file_id"),
		`{"metadata":{"file_id":"f"}}`:                                                                nil,
		`{"prompt":{"variables":{"metadata":{"file_id":"f"}}}}`:                                       ref(operations.KindFile, "f", "file_id"),
		`{"input":[{"content":[{"type":"output_text","annotations":[{"file_id":"f"}]}]}]}`:            described(ref(operations.KindFile, "f", "file_id")),
		`{"input":[{"type":"file_search_call","results":[{"file_id":"f"}]}]}`:                         described(ref(operations.KindFile, "f", "file_id")),
		`{"input":[{"type":"mcp_call","vector_store_ids":["v"]}]}`:                                    ref(operations.KindVectorStore, "v", "vector_store_ids"),
		`{"input":[{"type":"m\u0063p_call","approval_request_id":"i"}]}`:                              described(ref(operations.KindItem, "i", "approval_request_id")),
		`{"item":{"type":"code_execution_output","file_id":"file-0123456789abcdef0"}}`:                ref("", "file-0123456789abcdef0", "item"),
		`{"messages":[{"type":"item_reference","id":"i"}]}`:                                           ref(operations.KindItem, "i", "id"),
		`{"x":{"type":"item\u005freference","id":"i"}}`:                                               ref(operations.KindItem, "i", "id"),
		`{"x":{"y":[{"id":"vs_x"}]}}`:                                                                 described(ref("", "vs_x", "id")),
		`{"x":{"id":"vs x"}}`:                                                                         nil,
		`{"messages":[{"id":"chatcmpl-1","tool_calls":[{"id":"fc_1"}]}]}`:                             nil,
		`{"characters":["video_x"]}`:                                                                  ref(operations.KindVideo, "video_x", "characters"),
		`{"characters":["Anna"]}`:                                                                     nil,
		`{"prompt":"pmpt_x"}`:                                                                         ref(operations.KindPrompt, "pmpt_x", "prompt"),
		`{"prompt":"file-x"}`:                                                                         nil,
		`{"previous_response":{"id":"r"}}`:                                                            ref(operations.KindResponse, "r", "previous_response"),
		`{"previous_response":"r"}`:                                                                   ref(operations.KindResponse, "r", "previous_response"),
		`{"video":"video_x"}`:                                                                         ref(operations.KindVideo, "video_x", "video"),
		`{"files":[" file-x\n"]}`:                                                                     ref(operations.KindFile, "file-x", "files"),
		`{"file_id":"\u0020 f "}`:                                                                     ref(operations.KindFile, "f", "file_id"),
		`{"file_id":" "}`:                                                                             nil,
		`{"item":{"a":" file-0123456789abcdef0 "}}`:                                                   ref("", "file-0123456789abcdef0", "item"),
		`{"prompt":{"variables":[{"file_id":"f"}]}}`:                                                  ref(operations.KindFile, "f", "file_id"),
		`{"parameters":{"file_id":"f"}}`:                                                              ref(operations.KindFile, "f", "file_id"),
		`{"functions":[{"parameters":{"file_id":"f"}}]}`:                                              nil,
		`{"input":[{"type":"function_call_output","output":[{"file_id":"f"}]}]}`:                      ref(operations.KindFile, "f", "file_id"),
		`{"input":[{"output":{"file_id":"f"},"type":"structured_outputs"}]}`:                          ref(operations.KindFile, "f", "file_id"), // told too late
		`{"input":[{"type":"structured_outputs","output":{},"content":[{"file_id":"f"}]}]}`:           ref(operations.KindFile, "f", "file_id"),
		`{"files":["file-x","a.txt"]}`:                                                                ref(operations.KindFile, "file-x", "files"),
		`{"images":["file\u002dx","https://a/b.png"],"mask":"data:image/png;base64,AA=="}`:            ref(operations.KindFile, "file-x", "images"),
		`{"item":{"file_id":"f","conversation":"c","source":{"id":"17"}}}`:                            nil,
		`{"data_source":{"source":{"content":[{"input":[{"file_id":"file-x"}]}]}}}`:                   described(ref("", "file-x", "item")),
		`{"data_source":{"template":[{"content":[{"file_id":"{{item.f}}"}]}]}}`:                       ref(operations.KindFile, "{{item.f}}", "file_id"),
		`{"input":[{"type":"x","agent":{"agent_name":"a","file_id":"f"}}]}`:                           ref(operations.KindFile, "f", "file_id"),
		`{"item":{"file_id":"file-x"}}`:                                                               described(ref("", "file-x", "item")),
		`{"tools":[{"parameters":{"properties":{"file_id":{"type":"string"}}}}]}`:                     nil,
		`{"a":` + strings.Repeat(`[{"b":`, 100) + `{"file_id":"f"}` + strings.Repeat(`}]`, 100) + `}`: ref(operations.KindFile, "f", "file_id"),
	} {
		got, err := Parse([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if diff := cmp.Diff(want, got.References); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

func TestModelsThatABodyNames(t *testing.T) {
	for body, want := range map[string][]string{
		`{"model":"a"}`: nil,
		`{"model":"a","tools":[{"type":"image_generation","model":"b"}]}`:                    {"b"},
		`{"testing_criteria":[{"type":"label_model","model":"b"}]}`:                          {"b"},
		`{"data_sources":[{"parameters":{"embedding_dependency":{"deployment_name":"b"}}}]}`: {"b"},
		`{"model":"a","models":["b","c"]}`:                                                   {"b", "c"},
		`{"metadata":{"model":"b"}}`:                                                         nil,
		`{"tools":[{"parameters":{"properties":{"model":{"type":"string"}}}}]}`:              nil,
	} {
		got, err := (&Parser{Strict: true}).Parse([]byte(body))
		if err != nil || !slices.Equal(got.Models, want) {
			t.Errorf("%s: %q, %v, want %q", body, got.Models, err, want)
		}
	}
}

func TestRepeatedMembersAreRefusedAtEveryDepth(t *testing.T) {
	for _, body := range []string{
		`{"conversation":{"id":"a","id":"b"}}`, `{"conversation":{"id":"a","\u0069d":"b"}}`,
		`{"input":[{"id":"a","type":"message","type":"item_reference"}]}`,
		`{"tools":[{"container":{"file_ids":["a"],"file_ids":["b"]}}]}`, `{"x":[[{"file_id":"a","file_id":"b"}]]}`,
		`{"vector_store_ids":["a"],"vector_store_ids":["b"]}`,
	} {
		_, err := Parse([]byte(body))
		if err == nil || !strings.Contains(err.Error(), "more than once") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

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

// FuzzReferences compares the ids that are checked with those that a strict parser
// finds, for bodies of any bytes.
func FuzzReferences(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, s := range seedBodies {
		f.Add([]byte(s))
	}
	for range 50 {
		f.Add([]byte(randomBody(random)))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !json.Valid(body) || bytes.Contains(bytes.ToLower(body), []byte(`\ud`)) {
			return
		}
		if err := checkAgainstStrictParser(body); err != nil {
			t.Fatal(err)
		}
	})
}
