package classify

import (
	"bytes"
	"encoding/json"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/operations"
)

// root is the name of an answer itself. No member can be called so.
const root = "\x00"

// created is the members that are watched in an answer. A path that leads through
// any other member leads to what a caller wrote, such as metadata or the
// parameters of a tool: an answer repeats it, and no id in it is made by that.
var created = jsonscan.NewVocabulary(
	root, "id", "type", "container", "response", "item", "output", "data", "file", "choices", "message", "delta", "audio", "part", "content",
	"annotation", "annotations", "environment", "container_id", "file_id", "output_file_id", "error_file_id", "result_files", "fine_tuned_model", "fine_tuned_model_checkpoint",
)

func createdNames(names ...string) jsonscan.Names {
	var set jsonscan.Names
	for _, name := range names {
		set = set.Or(jsonscan.NamesOf(created.Of(name)))
	}
	return set
}

var (
	atRoot     = createdNames(root)
	inList     = createdNames(root, "data")
	inResponse = createdNames(root, "response")
	inMessage  = createdNames(root, "message", "delta")
	inChoice   = createdNames(root, "choices", "message", "delta")
	inItem     = createdNames(root, "response", "output", "item", "content", "annotations", "annotation", "part", "environment")
	ofItem     = createdNames("output", "item", "annotation", "part")
	inCitation = createdNames("annotations", "annotation")

	createdObjects = createdNames(root, "response", "item", "output", "data", "file", "audio", "container")
	createdStrings = createdNames("container_id", "file_id", "output_file_id", "error_file_id", "result_files", "fine_tuned_model", "fine_tuned_model_checkpoint")
)

// maxCreated bounds the memory of one answer.
const maxCreated = 1 << 16

// Created returns the objects that an answer of this operation, or one event of
// it, says the service made: those whose ids the caller may use from now on. Of
// an answer that is cut off it returns those before the cut.
func Created(o *operations.Operation, subpath string, answer []byte) []operations.Object {
	var objects []operations.Object
	if o.Dialect == operations.Messages {
		objects = codeFiles(answer)
	}
	watch := &jsonscan.Watch{
		Names: created, Keep: [2]jsonscan.Name{created.Of("id"), created.Of("type")},
		Objects: createdObjects, Strings: createdStrings, Limit: maxCreated,
	}
	watch.Root(created.Of(root))
	_, _, _ = jsonscan.MeasureWatched(answer, 0, watch)
	for i := range watch.Matches {
		m := &watch.Matches[i]
		at := m.Value
		if m.Object {
			at = m.Kept[0]
		}
		if kind := createdKind(o, subpath, answer, m); kind != "" && at.To-at.From > len(`""`) {
			objects = append(objects, operations.Object{Kind: kind, ID: truncated(answer[at.From+1 : at.To-1])})
		}
	}
	return objects
}

// contentBlock is a block of an Anthropic message, with what a tool of the service
// returned.
type contentBlock struct {
	Type    string          `json:"type"`
	Content json.RawMessage `json:"content"`
}

// codeFiles returns the files that code made which the service ran, of an answer or an
// event of Anthropic's API. What other tools return, somebody else wrote.
func codeFiles(answer []byte) []operations.Object {
	var message struct {
		Content []contentBlock `json:"content"`
		Started contentBlock   `json:"content_block"`
	}
	if !bytes.Contains(answer, []byte("code_execution_tool_result")) || json.Unmarshal(answer, &message) != nil {
		return nil
	}
	var files []operations.Object
	for _, block := range append(message.Content, message.Started) {
		var result struct {
			Content []struct {
				FileID string `json:"file_id"`
			} `json:"content"`
		}
		if block.Type != "code_execution_tool_result" && block.Type != "bash_code_execution_tool_result" || json.Unmarshal(block.Content, &result) != nil {
			continue
		}
		for _, output := range result.Content {
			if output.FileID != "" {
				files = append(files, operations.Object{Kind: operations.KindFile, ID: truncated([]byte(output.FileID))})
			}
		}
	}
	return files
}

// createdKind is the kind of what a match names, "" when it is not made by the
// answer.
func createdKind(o *operations.Operation, subpath string, answer []byte, m *jsonscan.Match) operations.Kind {
	within := func(names jsonscan.Names) bool { return m.Within.Without(names).Empty() }
	switch name := created.Text(m.Name); {
	case name == root:
		return rootKind(o, subpath)
	case name == "data" && m.Within == atRoot:
		return listedKind(o, subpath)
	case name == "container" && within(inMessage) && o.Dialect == operations.Messages:
		return operations.KindContainer
	case name == "audio" && within(inChoice) && o.Kind == operations.KindChat:
		return operations.KindAudio
	case o.Kind == operations.KindResponse || o.Kind == operations.KindConversation:
		return responseKind(o, answer, m)
	case name == "file" && m.Within == atRoot && o.Kind == operations.KindUpload,
		(name == "output_file_id" || name == "error_file_id") && m.Within == atRoot && o.Kind == operations.KindBatch,
		name == "result_files" && m.Within == atRoot && o.Kind == operations.KindTuningJob:
		return operations.KindFile
	case name == "fine_tuned_model" && m.Within == atRoot && o.Kind == operations.KindTuningJob,
		name == "fine_tuned_model_checkpoint" && within(inList) && o.Kind == operations.KindTuningJob:
		return operations.KindCheckpoint
	}
	return ""
}

// responseKind is createdKind in an answer about a response or a conversation. What a
// compaction repeats of the conversation are messages, with the ids that callers gave
// them. What a list of items shows was put in by callers, or was in an answer before;
// what a tool's results hold, somebody else wrote.
func responseKind(o *operations.Operation, answer []byte, m *jsonscan.Match) operations.Kind {
	within := func(names jsonscan.Names) bool { return m.Within.Without(names).Empty() }
	switch name := created.Text(m.Name); {
	case name == "response" && m.Within == atRoot:
		return operations.KindResponse
	case name == "output" && o.Name == "compact" && string(answer[m.Kept[1].From:m.Kept[1].To]) == `"message"`:
		return ""
	case name == "item" && m.Within == atRoot, name == "output" && within(inResponse):
		return operations.KindItem
	case name == "container_id" && within(inItem) && m.Within.Meets(ofItem):
		return operations.KindContainer
	case name == "file_id" && within(inItem) && m.Within.Meets(inCitation) && o.Kind == operations.KindResponse:
		return operations.KindFile
	}
	return ""
}

// rootKind is the kind of the object that an answer is.
func rootKind(o *operations.Operation, subpath string) operations.Kind {
	object, _, _ := o.PathObjects(subpath)
	switch below := o.Collection(subpath); {
	case object.ID == "", o.State == operations.ByID && subpath == object.ID:
		return o.Kind
	case o.Kind == operations.KindUpload && below == "parts":
		return operations.KindPart
	case below == "files", below == "runs", below == "file_batches":
		return operations.KindListed
	}
	return ""
}

// listedKind is the kind of the objects in a list below an object of the caller's.
func listedKind(o *operations.Operation, subpath string) operations.Kind {
	switch o.Collection(subpath) {
	case "", "content":
		return ""
	case "items", "input_items":
		return operations.KindItem
	}
	return operations.KindListed
}
