package request

import (
	"bytes"
	"encoding/json"
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
