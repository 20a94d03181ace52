package classify

import "spillway/handler/internal/openai/operations"

// shape is the members of an object in an answer that say what the service made.
type shape map[string]place

// place is a member that the service fills.
type place struct {
	kind  operations.Kind // of what its text names, or each text in its list
	in    shape           // of its object, or each object in its list
	of    []string        // the types of the object that it is in of which it counts; nil = any
	tells bool            // its text is the type of the object that it is in
}

// These stand for the kind of the object that an answer is, and of those that it lists.
const (
	ofAnswer operations.Kind = "\x00answer"
	ofList   operations.Kind = "\x00list"
)

// types is the member that says the type of an object.
var types = place{tells: true}

// What an item of a response names: containers of the calls that the service made, and
// the files that code made in one, where the model's text cites them. What a tool
// returned, and what it is called with, somebody else wrote.
var (
	citation = shape{
		"type":         types,
		"container_id": {kind: operations.KindContainer, of: []string{"container_file_citation"}},
		"file_id":      {kind: operations.KindFile, of: []string{"container_file_citation", "file_path"}},
	}
	part = shape{"annotations": {in: citation}}
	item = shape{
		"type":         types,
		"id":           {kind: operations.KindItem},
		"container_id": {kind: operations.KindContainer, of: []string{"code_interpreter_call"}},
		"environment":  {in: shape{"container_id": {kind: operations.KindContainer}}, of: []string{"shell_call"}},
		"content":      {in: part, of: []string{"message"}},
	}
	// compacted is an item of a compaction, which repeats the messages of the conversation,
	// with what callers put into them.
	compacted = shape{"type": types, "id": {kind: operations.KindItem, of: []string{"compaction", "compaction_summary"}}}
)

// The answers.
var (
	listed      = shape{"id": {kind: ofList}}
	plainAnswer = shape{"id": {kind: ofAnswer}, "data": {in: listed}}

	responseAnswer = shape{
		"id": {kind: ofAnswer}, "output": {in: item},
		"response": {in: shape{"id": {kind: operations.KindResponse}, "output": {in: item}}},
		"item":     {in: item}, "part": {in: part}, "annotation": {in: citation},
	}
	compactAnswer = shape{"id": {kind: ofAnswer}, "output": {in: compacted}}
	// storedAnswer may be that of a compaction as well.
	storedAnswer = shape{
		"object": types, "id": {kind: ofAnswer}, "output": {in: item, of: []string{"response"}}, "data": {in: listed},
		"response": {in: shape{"object": types, "id": {kind: operations.KindResponse}, "output": {in: item, of: []string{"response"}}}},
		"item":     {in: item}, "part": {in: part}, "annotation": {in: citation},
	}

	sound      = shape{"audio": {in: shape{"id": {kind: operations.KindAudio}}}}
	chatAnswer = shape{"id": {kind: ofAnswer}, "data": {in: listed}, "choices": {in: shape{"message": {in: sound}, "delta": {in: sound}}}}

	uploadAnswer = shape{"id": {kind: ofAnswer}, "file": {in: shape{"id": {kind: operations.KindFile}}}}
	batchAnswer  = shape{"id": {kind: ofAnswer}, "output_file_id": {kind: operations.KindFile}, "error_file_id": {kind: operations.KindFile}}
	tuningAnswer = shape{
		"id": {kind: ofAnswer}, "result_files": {kind: operations.KindFile}, "fine_tuned_model": {kind: operations.KindCheckpoint},
		"data": {in: shape{"id": {kind: ofList}, "fine_tuned_model_checkpoint": {kind: operations.KindCheckpoint}}},
	}
)

// answers are the answers by what their operations are about.
var answers = map[operations.Kind]shape{
	operations.KindResponse: responseAnswer, operations.KindChat: chatAnswer, operations.KindUpload: uploadAnswer, operations.KindBatch: batchAnswer,
	operations.KindTuningJob: tuningAnswer,
}

// Of Anthropic's API: the container, and the files that code made which the service ran.
var (
	container = place{in: shape{"id": {kind: operations.KindContainer}}}
	codeFiles = shape{"content": {in: shape{"file_id": {kind: operations.KindFile}}}}
	block     = shape{"type": types, "content": {in: codeFiles, of: []string{"code_execution_tool_result", "bash_code_execution_tool_result"}}}

	messageAnswer = shape{
		"id": {kind: operations.KindMessage}, "container": container,
		"message": {in: shape{"id": {kind: operations.KindMessage}, "container": container}}, "delta": {in: shape{"container": container}},
		"content": {in: block}, "content_block": {in: block},
	}
)
