package request

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
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
		got, err := Parse([]byte(body))
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
		n.object = v == '{'
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

// strictIDs returns every id that a body names, in a second reading of the rules,
// and whether a watched member is repeated in an object.
func strictIDs(n *node, member string, inArray bool, ids map[string]bool) (repeated bool) {
	if n.isText {
		if _, ok := idMembers[member]; ok && n.text != "" {
			ids[n.text] = true
		}
		return false
	}
	seen := map[string]bool{}
	for i, child := range n.children {
		name := member
		if n.object {
			name = n.keys[i]
			repeated = repeated || seen[name] && vocabulary.Of(name) != 0
			seen[name] = true
			if _, holder := holderMembers[member]; name == "id" && child.isText && child.text != "" && (holder || slices.Contains(itemMembers, member)) {
				ids[child.text] = true
			}
		}
		repeated = strictIDs(child, name, !n.object, ids) || repeated
	}
	return repeated
}

// checkAgainstStrictParser compares what Parse finds in a valid body with what the
// standard library's decoder reads.
func checkAgainstStrictParser(body []byte) error {
	root, err := readNode(json.NewDecoder(bytes.NewReader(body)))
	if err != nil {
		return err
	}
	want := map[string]bool{}
	var metadata *node
	if i := slices.Index(root.keys, "metadata"); i >= 0 { // names nothing
		metadata, root.children[i] = root.children[i], new(node)
	}
	repeated := strictIDs(root, "", false, want)
	if metadata != nil {
		repeated = strictIDs(metadata, "metadata", false, map[string]bool{}) || repeated
	}
	parsed, err := Parse(body)
	if err != nil {
		return nil //nolint:nilerr // a body that is refused names nothing
	}
	if repeated {
		return fmt.Errorf("a repeated member is accepted in %q", body)
	}
	got := map[string]bool{}
	for _, r := range parsed.References {
		got[r.ID] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("ids of %q (-strict +checked):\n%s", body, diff)
	}
	return nil
}

// strictNames returns whether a body has a member that is another spelling of one that
// is acted on, or an object where an id or a model is a text, in a second reading of
// the rules.
func strictNames(n *node, member string, within []string) bool {
	free := false
	for i, name := range append(within[:len(within):len(within)], member) {
		ahead := within[:min(i, len(within))]
		if slices.Contains(ahead, "data_sources") || slices.Contains(ahead, "variables") {
			break
		}
		free = free || slices.Contains(dataMembers, name) || slices.Contains(freeMembers, name) || name == "input" && slices.Contains(ahead, "content")
	}
	inMap := len(within) > 0 && within[len(within)-1] == "variables"
	_, isID := idMembers[member]
	_, isHolder := holderMembers[member]
	if n.object && len(n.keys) > 0 && !free && !inMap && (isID && !isHolder || slices.Contains(modelMembers, member) || member != "" && vocabulary.Of(member) == 0 && endsAsModel(member)) {
		return true
	}
	for i, child := range n.children {
		name := member
		inside := within
		if n.object {
			name = n.keys[i]
			inside = append(within[:len(within):len(within)], member)
			if !free && member != "variables" && vocabulary.Of(name) == 0 && otherName(name) {
				return true
			}
		}
		if strictNames(child, name, inside) {
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
	if strictNames(root, "", nil) && err == nil {
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
