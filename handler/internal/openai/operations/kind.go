package operations

import (
	"strings"
	"time"
)

// Kind is the kind of a stored object that an id names. "" is unknown.
type Kind string

// The kinds (docs/security.md#ids-have-owners).
const (
	KindResponse     Kind = "response"
	KindItem         Kind = "item" // of a response or a conversation
	KindConversation Kind = "conversation"
	KindChat         Kind = "chat_completion"
	KindAudio        Kind = "audio"
	KindFile         Kind = "file"
	KindBatchFile    Kind = "batch_file" // a file of requests whose lines were checked
	KindUpload       Kind = "upload"
	KindPart         Kind = "upload_part"
	KindBatch        Kind = "batch"
	KindVectorStore  Kind = "vector_store"
	KindContainer    Kind = "container"
	KindTuningJob    Kind = "fine_tuning_job"
	KindCheckpoint   Kind = "checkpoint"
	KindEval         Kind = "eval"
	KindRun          Kind = "run"
	KindSkill        Kind = "skill"
	KindPrompt       Kind = "prompt"
	KindVoice        Kind = "voice"
	KindVideo        Kind = "video"
)

// Known reports whether an object may be of this kind.
func (k Kind) Known() bool {
	switch k {
	case KindResponse, KindItem, KindConversation, KindChat, KindAudio, KindFile, KindBatchFile, KindUpload, KindPart, KindBatch, KindVectorStore,
		KindContainer, KindTuningJob, KindCheckpoint, KindEval, KindRun, KindSkill, KindPrompt, KindVoice, KindVideo:
		return true
	}
	return false
}

// thirtyDays is how long a resource keeps a response
// (docs/azure-openai.md#stateful-operations).
const thirtyDays = 30 * 24 * time.Hour

// Retention is how long a resource keeps an object of the kind; 0 means until
// somebody deletes it.
func (k Kind) Retention() time.Duration {
	if k == "" || k == KindResponse || k == KindItem || k == KindAudio || k == KindContainer {
		return thirtyDays
	}
	return 0
}

// Object is a stored object.
type Object struct {
	Kind Kind
	ID   string
}

// words are the segments of paths that are no ids.
var words = map[string]bool{
	"attributes": true, "copy": true, "remix": true, "versions": true, "cancel": true, "checkpoints": true, "compact": true, "complete": true, "content": true, "events": true,
	"file_batches": true, "files": true, "input_items": true, "items": true, "messages": true, "output_items": true, "parts": true,
	"pause": true, "permissions": true, "resume": true, "runs": true, "search": true,
}

// PathObjects returns the object that the path below a stateful operation
// addresses, and the ids below it. Without an object the path is that of a list,
// of what makes one, or of an action: then ok says whether it is known.
func (o *Operation) PathObjects(subpath string) (object Object, below []string, ok bool) {
	if subpath == "" {
		return Object{}, nil, true
	}
	segments := strings.Split(subpath, "/")
	kind := o.Kind
	switch {
	case o.Kind == KindVideo && segments[0] == "characters" && len(segments) > 1:
		segments = segments[1:]
	case o.Kind == KindVideo && (segments[0] == "characters" || segments[0] == "edits" || segments[0] == "extensions"):
		return Object{}, nil, len(segments) == 1
	case o.Name == "fine-tuning":
		switch collection := segments[0]; {
		case collection == "checkpoints" && len(segments) > 1:
			kind = KindCheckpoint
		case collection == "jobs" && len(segments) > 1:
		default:
			return Object{}, nil, subpath == "jobs" || strings.HasPrefix(subpath, "alpha/graders/")
		}
		segments = segments[1:]
	}
	for _, segment := range segments[1:] {
		if !words[segment] {
			below = append(below, segment)
		}
	}
	return Object{Kind: kind, ID: segments[0]}, below, true
}

// prefixes are how the service begins ids.
var prefixes = map[string]Kind{
	"assistant-": KindFile, "file-": KindFile, "cfile_": KindFile, "batch_": KindBatch, "chatcmpl-": KindChat, "cntr_": KindContainer,
	"conv_": KindConversation, "eval_": KindEval, "ftckpt_": KindCheckpoint, "ftjob-": KindTuningJob, "msg_": KindItem, "pmpt_": KindPrompt,
	"resp_": KindResponse, "rs_": KindItem, "skill_": KindSkill, "upload_": KindUpload, "video_": KindVideo, "vs_": KindVectorStore,
}

// KindOf is the kind that an id shows by its beginning; "" when it shows none.
func KindOf(id string) Kind {
	for prefix, kind := range prefixes {
		if strings.HasPrefix(id, prefix) {
			return kind
		}
	}
	return ""
}
