package request

import (
	"errors"
	"strings"
	"testing"
)

// parseStrict reads a body as where what it names has an owner or a fence.
func parseStrict(body string) (ParsedRequest, error) {
	return (&Parser{Strict: true}).Parse([]byte(body))
}

func TestOtherSpellingsAreRefused(t *testing.T) {
	for body, must := range map[string]string{
		`{"Previous_Response_Id":"r"}`:                                       "previous_response_id",
		`{"previousResponseId":"r"}`:                                         "previous_response_id",
		`{"\u0050revious_response_id":"r"}`:                                  "previous_response_id",
		`{"previous-response-id":"r"}`:                                       "previous_response_id",
		`{"input":[{"content":[{"type":"input_file","fileId":"f"}]}]}`:       "file_id",
		`{"input":[{"content":[{"type":"input_file","fileid":"f"}]}]}`:       "file_id",
		`{"FILE_IDS":["f"]}`:                                                 "file_ids",
		`{"fileIds":["f"]}`:                                                  "file_ids",
		`{"x":[[{"vectorStoreIds":["v"]}]]}`:                                 "vector_store_ids",
		`{"conversation":{"ID":"c"}}`:                                        "id",
		`{"input":[{"Type":"item_reference","id":"i"}]}`:                     "type",
		`{"Input":[{"type":"item_reference","id":"i"}]}`:                     "input",
		`{"model":"a","Model":"b"}`:                                          "model",
		`{"model":"a","tools":[{"type":"image_generation","MODEL":"b"}]}`:    "model",
		`{"tools":[{"modelId":"b"}]}`:                                        "model_id",
		`{"tools":[{"deploymentName":"b"}]}`:                                 "deployment_name",
		`{"Max_Tokens":1}`:                                                   "max_tokens",
		`{"maxTokens":1}`:                                                    "max_tokens",
		`{"N":5}`:                                                            "n",
		`{"Messages":[]}`:                                                    "messages",
		`{"Data_Sources":[]}`:                                                "data_sources",
		`{"dataSources":[]}`:                                                 "data_sources",
		`{"data_sources":[{"Parameters":{}}]}`:                               "parameters",
		`{"data_sources":[{"parameters":{"Authentication":{}}}]}`:            "authentication",
		`{"data_sources":[{"parameters":{"deploymentName":"d"}}]}`:           "deployment_name",
		`{"data_source":{"Type":"stored_completions"}}`:                      "type",
		`{"reſponse_id":"r"}`:                                                "response_id",
		`{"tools":[{"sKill_id":"s"}]}`:                                       "skill_id",
		`{"prompt":{"variables":{"a":{"type":"input_file","File_Id":"f"}}}}`: "file_id",
	} {
		_, err := parseStrict(body)
		if !errors.Is(err, ErrSpelling) || !strings.Contains(err.Error(), `must be written "`+must+`"`) {
			t.Errorf("%s: %v, want %q", body, err, must)
		}
		if _, err := Parse([]byte(body)); err != nil && !strings.Contains(body, "more") {
			t.Errorf("%s without owners and fences: %v", body, err)
		}
	}
}

// What callers name themselves is theirs.
func TestFreeNames(t *testing.T) {
	for _, body := range []string{
		`{"metadata":{"Model":"x","File_Id":"f","conversationId":"c","N":"1"}}`,
		`{"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"fileId":{"type":"string"},"file_ids":{"type":"array"},"Model":{"enum":["a"]},"ID":{"type":"string"}},"required":["fileId"]}}}]}`,
		`{"tools":[{"type":"function","name":"f","parameters":{"properties":{"Type":{"const":"x"},"modelName":{}}}}]}`,
		`{"tools":[{"name":"f","input_schema":{"properties":{"Conversation":{"type":"object"},"container":{"ID":{}}}}}]}`,
		`{"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"properties":{"Model":{"type":"string"}},"$defs":{"fileId":{}}}}}}`,
		`{"text":{"format":{"type":"json_schema","schema":{"definitions":{"ResponseId":{}}}}}}`,
		`{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{"fileId":"f","Model":"m","Id":"x","id":"y"}}]}]}`,
		`{"input":[{"type":"tool_search_call","arguments":{"fileId":"f"}},{"type":"function_call","call_id":"c","name":"f","arguments":"{\"Model\":1}"}]}`,
		`{"prompt":{"id":"p","variables":{"Model":"x","FileId":"y"}}}`,
		`{"data_source":{"type":"jsonl","source":{"type":"file_content","content":[{"item":{"Model":"m","fileId":"f"},"sample":{"ID":1}}]}}}`,
		`{"tools":[{"type":"mcp","server_url":"u","headers":{"Model":"x","Authorization":"y"}}]}`,
		`{"attributes":{"Type":"x","Model":"y"}}`,
		`{"tools":[{"name":"f","input_schema":{"type":"object"},"input_examples":[{"file_id":"file-x","model":"m","agent":"a","conversation":{"id":"conv_x"}}]}]}`,
		`{"tools":[{"type":"function","name":"f","parameters":{"properties":{"model":{"enum":["a"],"default":"b"},"file_id":{"examples":["file-x"],"const":"file-x"},"container":{"default":{"id":"cntr_x"}}}}}]}`,
		`{"prompt":{"id":"p","variables":{"agent":"a","container":"cntr_x","file_id":"file-x","model":"m","conversation":["conv_x"],"input":{"type":"input_text","text":"x"}}}}`,
		`{"attributes":{"file_id":"file-x","model":"m","agent":"a"},"files":[{"attributes":{"response_id":"resp_x"}}]}`,
		`{"data_source":{"source":{"content":[{"item":{"container":"box 7","model":"m","agent":"a","files":["a.txt"],"file_id":"17"},"sample":{"model":"m"}}]}}}`,
		`{"tools":[{"type":"mcp","server_url":"u","headers":{"conversation":"conv_x","model":"m","X-File-Id":"file-x"}}]}`,
		`{"environment":{"env":{"container":"cntr_x","model":"m"}}}`,
		`{"model":"m","query":"q","documents":[{"id":"file-x","conversation":"conv_x","model":"m"}]}`,
		`{"chat_template_kwargs":{"conversation_id":"conv_x","model":"m"},"structured_outputs":{"json":{"properties":{"Model":{"enum":["a"]}}},"choice":["file-x"]}}`,
		`{"messages":[{"content":[{"type":"tool_use","id":"toolu_1","name":"f","input":{"file_id":"file-x","items":[{"id":"msg_x"}],"metadata":{"video":"video_x"}}}]}]}`,
		`{"input":[{"type":"tool_search_call","arguments":{"previous_response_id":"resp_x","input":[{"type":"item_reference","id":"msg_x"}]}}]}`,
		`{"messages":[{"tool_calls":[{"id":"call_1","function":{"name":"f","arguments":"{\"file_id\":\"file-x\"}"}}]}],"metadata":{"conversation":"conv_x","thing_id":"conv_0123456789abcdef"}}`,
		// Tools' names, and those of what a grader combines.
		`{"tools":[{"type":"mcp_toolset","mcp_server_name":"s","configs":{"model":{"enabled":false},"Model":{"enabled":false},"create_deployment":{},"agent":{},"openapi":{},"connection_id":{},"source":{},"files":{}}}]}`,
		`{"grader":{"type":"multi","graders":{"reward_model":{"type":"string_check"},"Model":{},"input":{},"model":{},"engine":{}},"calculate_output":"reward_model"}}`,
		`{"testing_criteria":[{"type":"azure_ai_evaluator","name":"n","data_mapping":{"conversation":"{{item.conversation}}","model":"{{item.m}}","Response":"{{item.r}}"}}]}`,
		// What others wrote, and is sent back.
		`{"input":[{"type":"mcp_list_tools","server_label":"s","tools":[{"name":"x","input_schema":{"Model":1},"annotations":{"agent":"x","connectionId":"c","sourceModel":"m","Type":"t","_meta":{"openapi":{},"file_id":"file-x"}}}]}]}`,
		`{"input":[{"type":"structured_outputs","output":{"model":"m","Model":"m","agent":"a","id":"resp_x","connection_id":"c","file_id":"f","container":{"id":"c"},"n_predict":-1}}]}`,
		`{"input":[{"type":"openapi_call_output","call_id":"c","output":[{"Model":"m","file_id":"f"}]},{"type":"azure_ai_search_call_output","output":{"agent_id":"a","conversation":["c"]}},{"type":"mcp_call","arguments":"{}","output":[{"type":"text","Model":"m","container_id":"c"}]}]}`,
		`{"logit_bias":{"50256":-100},"logprobs":true,"top_p":1,"topP":1,"web_search_options":{"user_location":{"type":"approximate"}}}`,
	} {
		parsed, err := parseStrict(body)
		if err != nil || len(parsed.Models) > 0 || parsed.Reaches != "" {
			t.Errorf("%s: %q, %q, %v", body, parsed.Models, parsed.Reaches, err)
		}
		for _, r := range parsed.References {
			if r.ID != "p" {
				t.Errorf("%s names %+v", body, r)
			}
		}
	}
}

func TestWhatNamesSomethingIsText(t *testing.T) {
	for _, body := range []string{
		`{"file_ids":{"0":"f"}}`, `{"file_ids":[{"id":"f"}]}`, `{"x":{"vector_store_ids":[["v"],{"a":"v"}]}}`, `{"input_file_id":{"id":"f"}}`,
		`{"data_source":{"type":"completions","model":{"name":"m"}}}`, `{"tools":[{"models":[{"id":"m"}]}]}`, `{"tools":[{"judge_model":{"name":"m"}}]}`,
	} {
		if _, err := parseStrict(body); err == nil || !strings.Contains(err.Error(), "string") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestModelsByTheEndOfAName(t *testing.T) {
	for _, member := range []string{"model_deployment_name", "image_generation_deployment", "judge_model", "embeddingModelName", "fallback_models", "x-deployment-id"} {
		parsed, err := parseStrict(`{"model":"a","tools":[{"` + member + `":"b"},{"` + member + `":["c"]}]}`)
		if err != nil || len(parsed.Models) != 2 {
			t.Errorf("%s: %q, %v", member, parsed.Models, err)
		}
	}
	for _, member := range []string{"model_version", "modelling", "remodeled", "name", "deploy", "id"} {
		if parsed, err := parseStrict(`{"tools":[{"` + member + `":"b"}]}`); err != nil || len(parsed.Models) > 0 {
			t.Errorf("%s: %q, %v", member, parsed.Models, err)
		}
	}
}

func TestWhatReachesWithoutAnID(t *testing.T) {
	for body, member := range map[string]string{
		`{"tools":[{"type":"azure_ai_search","azure_ai_search":{"indexes":[{"project_connection_id":"c"}]}}]}`: "project_connection_id",
		`{"tools":[{"type":"azure_ai_search","azure_ai_search":{"indexes":[{"index_name":"hr"}]}}]}`:           "azure_ai_search",
		`{"tool_resources":{"azure_ai_search":{"indexes":[{"index_connection_id":"c"}]}}}`:                     "azure_ai_search",
		`{"tools":[{"type":"openapi","openapi":{"name":"x","spec":{},"auth":{"type":"managed_identity"}}}]}`:   "openapi",
		`{"integrations":[{"type":"wandb","wandb":{"project":"p"}}]}`:                                          "a connection, an agent or a store",
		`{"x":{"index_asset_id":"i"}}`:                                                                        "a connection, an agent or a store",
		`{"agent_session_id":"s"}`:                                                                            "a connection, an agent or a store",
		`{"tools":[{"type":"x","connection_id":"c"}]}`:                                                        "a connection, an agent or a store",
		`{"tools":[{"type":"x","bing_connection_id":"c"}]}`:                                                   "a connection, an agent or a store",
		`{"tools":[{"type":"x","memoryStoreIds":["c"]}]}`:                                                     "a connection, an agent or a store",
		`{"prompt":{"name":"x","version":"1"}}`:                                                               "prompt.name",
		`{"prompt":{"n\u0061me":null,"variables":{}}}`:                                                        "prompt.name",
		`{"prompt":{"Name":"x"}}`:                                                                             "prompt.name",
		`{"prompt":{"id":"p","variables":{"name":"x","agent":"y"}}}`:                                          "",
		`{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"openapi"}]}]}`:     "",
		`{"tools":[{"type":"function","name":"f","parameters":{"properties":{"openapi":{},"agent_id":{}}}}]}`: "",
		`{"tools":[{"type":"memory_search","memory_store_name":"m"}]}`:                                        "memory_store_name",
		`{"agent":{"type":"agent_reference","name":"a"}}`:                                                     "agent",
		`{"input":[{"type":"x","tools":[{"agent":{"name":"a"}}]}]}`:                                           "agent",
		`{"input":[{"type":"x","call":{"agent":{"name":"a"}}}]}`:                                              "agent",
		`{"input":[{"type":"x","agent":{"agent_name":"a","name":"b"}}]}`:                                      "agent",
		`{"input":[{"type":"x","agent":"a"}]}`:                                                                "agent",
		`{"input":[{"type":"x","agent":[{"name":"a"}]}]}`:                                                     "agent",
		`{"input":[{"type":"x","agent":[{"agent_name":"a"}]}]}`:                                               "agent_name",
		`{"input":[{"type":"x","agent_name":"a"}]}`:                                                           "agent_name",
		`{"tools":[{"type":"mcp","server_label":"s","tunnel_id":"tunnel_1"}]}`:                                "a connection, an agent or a store",
		`{"tools":[{"type":"mcp","server_label":"s","tunnelId":"tunnel_1"}]}`:                                 "a connection, an agent or a store",
		`{"destinationResourceId":"/subscriptions/s"}`:                                                        "a connection, an agent or a store",
		`{"agent_reference":{"name":"a"}}`:                                                                    "agent_reference",
		`{"tools":[{"type":"mcp","project_connection_id":null}]}`:                                             "project_connection_id",
		`{"metadata":{"agent":"a"}}`:                                                                          "",
		`{"tools":[{"parameters":{"properties":{"agent":{"type":"string"}}}}]}`:                               "",
	} {
		if parsed, err := parseStrict(body); err != nil || parsed.Reaches != member {
			t.Errorf("%s: %q, %v", body, parsed.Reaches, err)
		}
	}
	for body, nested := range map[string]bool{
		`{"data_sources":[]}`: false, `{"extra_body":{"data_sources":[]}}`: true, `{"metadata":{"data_sources":"x"}}`: false,
	} {
		if parsed, err := parseStrict(body); err != nil || parsed.NestedSources != nested {
			t.Errorf("%s: %t, %v", body, parsed.NestedSources, err)
		}
	}
}

func TestParametersOfADataSourceAreNotRepeated(t *testing.T) {
	_, err := Parse([]byte(`{"data_sources":[{"parameters":{"authentication":{"type":"api_key"}},"parameters":{"index_name":"a"}}]}`))
	if !errors.Is(err, ErrDuplicate) {
		t.Error(err)
	}
}

func TestLinesAreSpeltAsTheServiceDoes(t *testing.T) {
	for line, ok := range map[string]bool{
		`{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"max_tokens":1,"user":"u"}}`: true,
		`{"url":"u","Body":{}}`: false, `{"URL":"u","body":{}}`: false, `{"url":"u","body":{},"Method":"GET"}`: false, `{"url":"u","b\u006fdy":{},"BODY":{}}`: false,
	} {
		if _, err := (&Parser{Strict: true, Line: true}).Parse([]byte(line)); (err == nil) != ok {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestWhatOnlyLooksLikeAnAttachmentCounts(t *testing.T) {
	long := strings.Repeat("QUJD", 25_000)
	url := `"data:text/plain;base64,` + long + `"`
	text := `"` + long + `"`
	for body, counts := range map[string]bool{
		`{"tools":[{"function":{"name":"f","description":` + url + `}}]}`:                             true,
		`{"tools":[{"function":{"name":"f","description":` + text + `}}]}`:                            true,
		`{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":` + url + `}}]}]}`:   true,
		`{"messages":[{"role":"assistant","refusal":` + text + `,"reasoning_content":` + text + `}]}`: true,
		`{"input":[{"type":"function_call_output","call_id":"c","output":` + url + `}]}`:              true,
		`{"input":["` + long + `"]}`: true,
		`{"input":[{"content":[{"type":"input_file","filename":"a.txt","file_data":` + url + `}]}]}`:                                 true,
		`{"messages":[{"content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":` + text + `}}]}]}`:    true,
		`{"messages":[{"content":[{"type":"document","source":{"data":` + text + `,"type":"text"}}]}]}`:                              true,
		`{"messages":[{"content":[{"type":"image","source":{"data":` + text + `,"type":"base64"}}]}]}`:                               false,
		`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + long + `"}}]}]}`:                 false,
		`{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image\/png;base64,` + long + `"}}]}]}`:                false,
		`{"input":[{"content":[{"type":"input_image","image_url":"data:image/png;base64,` + long + `"}]}]}`:                          false,
		`{"messages":[{"content":[{"type":"input_audio","input_audio":{"format":"wav","data":` + text + `}}]}]}`:                     false,
		`{"messages":[{"content":[{"type":"file","file":{"file_data":"data:application/pdf;base64,` + long + `"}}]}]}`:               false,
		`{"input":[{"type":"reasoning","encrypted_content":` + text + `}]}`:                                                          true,
		`{"messages":[{"content":[{"type":"thinking","signature":` + text + `},{"type":"redacted_thinking","data":` + text + `}]}]}`: true,
		`{"input":[{"type":"image_generation_call","id":"ig_1","result":` + text + `}]}`:                                             false,
	} {
		parsed, err := Parse([]byte(body))
		if err != nil || (parsed.PromptBytes > 90_000) != counts {
			t.Errorf("%.120s: %d bytes, %v", body, parsed.PromptBytes, err)
		}
	}
}

func TestItemsThatMayBeReferences(t *testing.T) {
	for item, described := range map[string]bool{
		`{"id":"i","output":""}`: false, `{"id":"i","output":"x"}`: false, `{"id":"i","type":null,"tools":[]}`: false, `{"id":"i","type":"","content":"x"}`: false,
		`{"id":"i","type":["message"],"content":"x"}`: false, `{"id":"i","type":"Item_Reference","content":"x"}`: false, `{"id":"i","type":"itemReference","content":"x"}`: false,
		`{"id":"i","type":"message","output":"x"}`: false, `{"id":"i","role":"user","output":"x"}`: false, `{"id":"i","role":"user","content":null}`: false,
		`{"id":"i","role":"user","content":""}`: false, `{"id":"i","role":"user","content":"hi"}`: true, `{"id":"i","type":null,"role":"user","content":[]}`: true,
		`{"id":"i","type":"message","role":"assistant","content":[]}`: true, `{"id":"i","type":"function_call","arguments":"{}"}`: true,
		`{"id":"i","type":"function_call","arguments":null}`: false, `{"id":"i","type":"web_search_call","status":"completed"}`: true,
		`{"id":"i","type":"custom_tool_call","input":"x"}`: true, `{"id":"i","type":"web_search_call"}`: false, `{"id":"i","type":"code_interpreter_call","status":"completed"}`: false,
		`{"id":"i","type":"apply_patch_call","call_id":"c","status":"completed","operation":{"type":"delete_file","path":"a"}}`: true,
		`{"id":"i","type":"apply_patch_call_output","call_id":"c","status":"completed"}`:                                        true,
		`{"id":"i","type":"function_call_output","call_id":"c","output":""}`:                                                    true, `{"id":"i","type":"function_call","name":"f","arguments":""}`: true,
		`{"id":"i","type":"mcp_approval_response","approve":false}`: true, `{"id":"i","type":"image_generation_call","status":"completed","action":"generate"}`: false,
		`{"id":"i","type":"image_generation_call","result":"AA=="}`: true, `{"id":"i","type":"reasoning","summary":[],"encrypted_content":""}`: false,
		`{"id":"i","type":"reasoning","summary":[],"encrypted_content":"x"}`: true,
	} {
		parsed, err := Parse([]byte(`{"input":[` + item + `]}`))
		if err != nil || len(parsed.References) != 1 || parsed.References[0].Described != described {
			t.Errorf("%s: %+v, %v", item, parsed.References, err)
		}
	}
}

// Where no list has a member, an id is told by its form: the beginning of one of the
// service's, and a long random text.
func TestIDsInMembersThatNoListHas(t *testing.T) {
	for body, found := range map[string]bool{
		`{"thing_id":"conv_0123456789abcdef"}`: true, `{"x":[{"thingIds":["conv_0123456789abcdef"]}]}`: true, `{"thing-id":"conv\u005f0123456789abcdef"}`: true,
		`{"thing_id":"conv_12"}`: false, `{"thing_id":"message_0123456789abcdef"}`: false, `{"tool_call_id":"fc_0123456789abcdef"}`: false,
		`{"thing":"conv_0123456789abcdef"}`: false, `{"messages":[{"content":"conv_0123456789abcdef"}]}`: false,
	} {
		parsed, err := parseStrict(body)
		if err != nil || (len(parsed.References) == 1) != found {
			t.Errorf("%s: %+v, %v", body, parsed.References, err)
		}
	}
}

// What a grader combines is read like a grader of its own, and a list is no map.
func TestModelsOfWhatAGraderCombines(t *testing.T) {
	for _, body := range []string{
		`{"grader":{"graders":{"a":{"type":"score_model","model":"b"}}}}`, `{"grader":{"graders":{"model":{"model":"b"}}}}`, `{"grader":{"graders":[{"model":"b"}]}}`,
		`{"tools":[{"configs":[{"model":"b"}]}]}`, `{"tools":[{"configs":{"x":{"model":"b"}}}]}`, `{"prompt":{"variables":[{"model":"b"}]}}`,
		`{"input":[{"type":"structured_outputs","output":"x","tools":[{"model":"b"}]}]}`, `{"parameters":{"model":"b"}}`,
	} {
		if parsed, err := parseStrict(body); err != nil || len(parsed.Models) != 1 || parsed.Models[0] != "b" {
			t.Errorf("%s: %q, %v", body, parsed.Models, err)
		}
	}
}

func TestCacheKeysBelowTheTop(t *testing.T) {
	for body, nested := range map[string]bool{
		`{"prompt_cache_key":"k"}`: false, `{"prompt_cache_key":""}`: false, `{"extra_body":{"prompt_cache_key":"k"}}`: true, `{"data_source":{"sampling_params":{"promptCacheKey":"k"}}}`: true,
		`{"extra_body":{"prompt_cache_key":null,"x":[{"prompt_cache_key":""}]}}`: false, `{"prompt_cache_key":"k","x":[[{"prompt_cache\u005fkey":"k"}]]}`: true,
		`{"metadata":{"prompt_cache_key":"k"}}`: false, `{"tools":[{"parameters":{"properties":{"prompt_cache_key":{"type":"string"}}}}]}`: false,
	} {
		if parsed, err := parseStrict(body); err != nil || parsed.NestedCacheKey != nested {
			t.Errorf("%s: %t, %v", body, parsed.NestedCacheKey, err)
		}
	}
}
