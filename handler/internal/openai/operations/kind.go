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
	KindDataFile     Kind = "data_file"  // a file of rows of evaluations or fine-tuning, which were checked
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
	KindMessage      Kind = "message" // of Anthropic's API: a thread is continued by the id of its latest
	// KindListed is what an answer shows below an object, such as a file of a container.
	// It can be named below that object only.
	KindListed Kind = "listed"
)

// Known reports whether an object may be of this kind.
func (k Kind) Known() bool {
	switch k {
	case KindResponse, KindItem, KindConversation, KindChat, KindAudio, KindFile, KindBatchFile, KindDataFile, KindUpload, KindPart, KindBatch, KindVectorStore,
		KindContainer, KindTuningJob, KindCheckpoint, KindEval, KindRun, KindSkill, KindPrompt, KindVoice, KindVideo:
		return true
	case KindListed: // nobody names one by itself
	case KindMessage: // its thread is gone within the hour
	}
	return false
}

// thirtyDays is how long a resource keeps a response
// (docs/azure-openai.md#stateful-operations).
const thirtyDays = 30 * 24 * time.Hour

// Retention is how long a resource keeps an object of the kind; 0 means until
// somebody deletes it.
func (k Kind) Retention() time.Duration {
	if k == "" || k == KindListed || k == KindResponse || k == KindItem || k == KindAudio || k == KindContainer || k == KindMessage {
		return thirtyDays
	}
	return 0
}

// Object is a stored object.
type Object struct {
	Kind Kind
	ID   string
}

// words are the segments of paths that are no ids, with the kind of the object that a
// POST to such a path makes there; "" when it makes none, or lists them.
var words = map[string]Kind{
	"attributes": "", "cancel": "", "checkpoints": "", "compact": "", "complete": "", "content": "", "copy": "", "events": "", "input_items": "", "items": "",
	"messages": "", "output_items": "", "pause": "", "permissions": "", "resume": "", "search": "",
	"file_batches": KindListed, "files": KindListed, "parts": KindPart, "remix": KindVideo, "runs": KindListed, "versions": KindListed,
}

// MadeBy is the kind of the object that the answer to a request with this path is, if
// such a request makes it, or is about one by its id; "" for all others.
func (o *Operation) MadeBy(subpath string) Kind {
	object, _, _ := o.PathObjects(subpath)
	if object.ID == "" || o.State == ByID && subpath == object.ID {
		return o.Kind
	}
	below, direct := strings.CutPrefix(subpath, object.ID+"/")
	if !direct {
		return ""
	}
	return words[strings.ToLower(below)]
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
		if _, ok := words[strings.ToLower(segment)]; !ok {
			below = append(below, segment)
		}
	}
	return Object{Kind: kind, ID: segments[0]}, below, true
}

// prefixes are how the service begins ids, up to their first dash or underscore.
var prefixes = map[string]Kind{
	"assistant-": KindFile, "file-": KindFile, "cfile_": KindFile, "batch_": KindBatch, "chatcmpl-": KindChat, "cntr_": KindContainer,
	"conv_": KindConversation, "eval_": KindEval, "ftjob-": KindTuningJob, "pmpt_": KindPrompt,
	"audio_": KindAudio, "resp_": KindResponse, "skill_": KindSkill, "upload_": KindUpload, "video_": KindVideo, "vs_": KindVectorStore,
	"msg_": KindItem, "rs_": KindItem, "fc_": KindItem, "ctc_": KindItem, "ci_": KindItem, "cu_": KindItem, "cmp_": KindItem, "fs_": KindItem, "ig_": KindItem,
	"lsh_": KindItem, "sh_": KindItem, "mcp_": KindItem, "mcpl_": KindItem, "mcpr_": KindItem, "tsc_": KindItem, "ws_": KindItem,
	"evalrun_": KindListed, "outputitem_": KindListed, "vsfb_": KindListed, "cp_": KindListed,
}

// Collection is what the path below a stateful operation names below its object: its
// last segment in lower case, "" when that is the object itself.
func (o *Operation) Collection(subpath string) string {
	object, _, _ := o.PathObjects(subpath)
	if last := subpath[strings.LastIndexByte(subpath, '/')+1:]; object.ID != "" && last != object.ID {
		return strings.ToLower(last)
	}
	return ""
}

// IsTuned reports whether a model's name is that of a fine-tuned one or of a
// checkpoint, as services make them (docs/azure-openai.md#model-names).
func IsTuned(model string) bool {
	name := strings.ToLower(strings.TrimSpace(model))
	return strings.HasPrefix(name, "ft:") || strings.HasPrefix(name, "ftchkpt-") || strings.HasPrefix(name, "ftckpt_") ||
		strings.Contains(name, ".ft-") || strings.Contains(name, ":ft-") || strings.Contains(name, ":ckpt-")
}

// IsBuiltInSkill reports whether a skill is one of the service's own, which nobody made:
// OpenAI's, or one of Anthropic's for documents.
func IsBuiltInSkill(id string) bool {
	switch id {
	case "docx", "pdf", "pptx", "xlsx":
		return true
	}
	return strings.HasPrefix(id, "openai-")
}

// KindOf is the kind that an id shows by its form; "" when it shows none.
func KindOf(id string) Kind {
	if IsTuned(id) {
		return KindCheckpoint
	}
	kind, _ := byPrefix(id)
	return kind
}

func byPrefix[T string | []byte](id T) (Kind, T) {
	for i := range len(id) {
		if c := id[i]; c == '_' || c == '-' {
			return prefixes[string(id[:i+1])], id[i+1:]
		}
	}
	return "", id
}

// StoredKind is the kind of the object of its own that a text in a body names by its
// form: the beginning of such an id, then letters, digits, dashes and underscores. It
// is "" for other texts, and for items, which are named in lists of items only.
func StoredKind(text []byte) Kind {
	kind, rest := byPrefix(text)
	if kind == KindItem || kind == KindChat || kind == KindListed || len(rest) == 0 || len(text) > maxID {
		return ""
	}
	for _, c := range rest {
		if !isLetterOrDigit(c) && c != '-' && c != '_' {
			return ""
		}
	}
	return kind
}

const maxID = 128

func isLetterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// IsServiceID reports whether an id is such as services make: one of their beginnings,
// then at least 16 random letters and digits.
func IsServiceID[T string | []byte](id T) bool {
	const random = 16
	kind, rest := byPrefix(id)
	if kind == "" || len(rest) < random {
		return false
	}
	for i := range len(rest) {
		if !isLetterOrDigit(rest[i]) {
			return false
		}
	}
	return true
}

// IsUpload reports whether an id is such as services make for files that were uploaded.
func IsUpload(id string) bool {
	kind, _ := byPrefix(id)
	return kind == KindFile && !strings.HasPrefix(id, "cfile_") && IsServiceID(id)
}
