package request

import (
	"bytes"
	"slices"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/operations"
)

// Reference is a stored object that a body names.
type Reference struct {
	Kind  operations.Kind
	ID    string
	Param string // the member that names it: "file_id", "input"
	// Described means that the body does not depend on the object: an item that
	// is given with its content, or a value in the metadata.
	Described bool
}

// idMembers are the members whose strings, or lists of strings, are ids.
var idMembers = map[string]operations.Kind{
	"previous_response_id": operations.KindResponse, "response_id": operations.KindResponse, "response_ids": operations.KindResponse,
	"conversation": operations.KindConversation, "conversation_id": operations.KindConversation,
	"approval_request_id": operations.KindItem,
	"container":           operations.KindContainer, "container_id": operations.KindContainer, "container_ids": operations.KindContainer,
	"file_id": operations.KindFile, "file_ids": operations.KindFile, "input_file_id": operations.KindFile, "output_file_id": operations.KindFile,
	"error_file_id": operations.KindFile, "training_file": operations.KindFile, "validation_file": operations.KindFile,
	"training_file_id": operations.KindFile, "validation_file_id": operations.KindFile,
	"vector_store_id": operations.KindVectorStore, "vector_store_ids": operations.KindVectorStore,
	"skill_id": operations.KindSkill, "skill_ids": operations.KindSkill,
	"part_ids": operations.KindPart, "upload_id": operations.KindUpload, "batch_id": operations.KindBatch,
	"eval_id": operations.KindEval, "prompt_id": operations.KindPrompt, "video_id": operations.KindVideo,
	"fine_tuning_job_id": operations.KindTuningJob,
}

// holderMembers are the members whose objects have an id.
var holderMembers = map[string]operations.Kind{
	"conversation": operations.KindConversation, "container": operations.KindContainer, "prompt": operations.KindPrompt,
	"source": operations.KindFile, "audio": operations.KindAudio, "voice": operations.KindVoice, "video": operations.KindVideo,
	"characters": operations.KindVideo,
}

var (
	// itemMembers are lists of items, or one item.
	itemMembers = []string{"input", "items"}
	// contentMembers give an item its content.
	contentMembers = []string{"content", "encrypted_content", "arguments", "output", "action", "code", "result", "results", "queries", "tools"}
	// modelMembers name models or deployments.
	modelMembers = []string{"model", "models", "model_id", "model_name", "base_model", "deployment", "deployment_id", "deployment_name"}
	// otherMembers are read, or may only not be repeated.
	otherMembers = []string{"id", "type", "role", "metadata", "authentication", "data_sources", "text", "instructions"}
	// proseMembers are texts: a model reads all of them, whatever they look like.
	proseMembers = []string{"content", "text", "input", "prompt", "instructions"}
)

// vocabulary is the members that are watched at every depth of a body.
var vocabulary = jsonscan.NewVocabulary(slices.Compact(slices.Sorted(func(yield func(string) bool) {
	for _, list := range [][]string{keys(idMembers), keys(holderMembers), itemMembers, contentMembers, modelMembers, otherMembers} {
		for _, name := range list {
			if !yield(name) {
				return
			}
		}
	}
}))...)

func keys(m map[string]operations.Kind) []string {
	var list []string
	for name := range m {
		list = append(list, name)
	}
	return list
}

func namesOf(list ...string) jsonscan.Names {
	var set jsonscan.Names
	for _, name := range list {
		set |= jsonscan.NamesOf(vocabulary.Of(name))
	}
	return set
}

var (
	itemNames    = namesOf(itemMembers...)
	contentNames = namesOf(contentMembers...) | namesOf("input") // of a call to a custom tool
	modelNames   = namesOf(modelMembers...)
	roleName     = vocabulary.Of("role")
	typeName     = vocabulary.Of("type")
	metadataName = vocabulary.Of("metadata")
	dataSources  = vocabulary.Of("data_sources")
	audioName    = vocabulary.Of("audio")
	encrypted    = vocabulary.Of("encrypted_content")

	foundStrings = namesOf(keys(idMembers)...) | modelNames | namesOf("encrypted_content")
	foundObjects = namesOf(keys(holderMembers)...) | itemNames
	proseNames   = namesOf(proseMembers...)
	keptMembers  = [2]jsonscan.Name{vocabulary.Of("id"), typeName}
)

// Parser parses one body after the other in the same memory. Its zero value is
// ready; it is not safe for concurrent use.
type Parser struct{ watch jsonscan.Watch }

func (p *Parser) reset() *jsonscan.Watch {
	p.watch.Reset()
	p.watch.Names, p.watch.Limit = vocabulary, maxMatches
	p.watch.Strings, p.watch.Objects, p.watch.Keep, p.watch.Prose = foundStrings, foundObjects, keptMembers, proseNames
	return &p.watch
}

// maxMatches bounds the memory of one parse. How many objects a caller may name
// is decided by package api.
const maxMatches = 1 << 14

// readMatches reads what the watch found.
func (s *parser) readMatches() error {
	for i := range s.watch.Matches {
		m := &s.watch.Matches[i]
		described := i >= s.metadata[0] && i < s.metadata[1]
		var err error
		switch {
		case m.Object && itemNames.Has(m.Name):
			err = s.addItem(m, described)
		case m.Object:
			err = s.addReference(holderMembers[vocabulary.Text(m.Name)], m.Kept[0], m.Name, described)
		case m.Name == encrypted:
			s.parsed.ResourceBound = s.parsed.ResourceBound || m.Within&itemNames != 0 && m.Value.To-m.Value.From > len(`""`)
		case modelNames.Has(m.Name):
			s.addModel(m, described)
		default:
			err = s.addReference(idMembers[vocabulary.Text(m.Name)], m.Value, m.Name, described)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addItem adds the id of an item. Items of which only the resource that made them
// has the content decide where the request goes
// (docs/azure-openai.md#stateful-operations).
func (s *parser) addItem(m *jsonscan.Match, described bool) error {
	kind := s.Data[m.Kept[1].From:m.Kept[1].To]
	reference := bytes.Equal(kind, []byte(`"item_reference"`))
	if len(kind) > 0 {
		reference = jsonscan.EqualUnquoted(kind[1:len(kind)-1], "item_reference")
	}
	bound := reference || m.Seen.Has(encrypted) || len(kind) == 0 && !m.Seen.Has(roleName) ||
		len(kind) > 0 && jsonscan.EqualUnquoted(kind[1:len(kind)-1], "reasoning")
	err := s.addReference(operations.KindItem, m.Kept[0], m.Name, described || !reference && m.Seen&contentNames != 0)
	if err == nil && bound && s.parsed.ResourceBoundID == "" {
		s.parsed.ResourceBound, s.parsed.ResourceBoundID = true, jsonscan.Unquote(s.Data[m.Kept[0].From+1:m.Kept[0].To-1])
	}
	return err
}

// addReference adds an id, given with its quotes.
func (s *parser) addReference(kind operations.Kind, at jsonscan.Range, name jsonscan.Name, described bool) error {
	text := s.Data[at.From+1 : at.To-1]
	member := vocabulary.Text(name)
	switch {
	case len(text) == 0:
		return nil
	case len(text) > maxStringLength:
		return wrongType(at.From, member, "an id of at most 1,024 bytes")
	}
	s.parsed.References = append(s.parsed.References, Reference{Kind: kind, ID: jsonscan.Unquote(text), Param: member, Described: described})
	return nil
}

// addModel adds a model or deployment that is named below the top level.
func (s *parser) addModel(m *jsonscan.Match, described bool) {
	text := s.Data[m.Value.From+1 : m.Value.To-1]
	if described || m.Value.From == s.parsed.ModelSpan.From || len(text) == 0 {
		return
	}
	if name := jsonscan.Unquote(text); !slices.Contains(s.parsed.Models[max(0, len(s.parsed.Models)-8):], name) {
		s.parsed.Models = append(s.parsed.Models, name)
	}
}
