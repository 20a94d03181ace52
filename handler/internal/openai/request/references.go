package request

import (
	"bytes"
	"maps"
	"slices"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/operations"
)

// Reference is a stored object that a body names.
type Reference struct {
	Kind  operations.Kind
	ID    string
	Param string // the member that names it: "file_id", "input"
	// Described means that the body does not depend on the object: an item that is
	// given with its content.
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
	"characters": operations.KindVideo, "input_reference": operations.KindFile,
}

var (
	// itemMembers are lists of items, or one item.
	itemMembers = []string{"input", "items"}
	// contentMembers give an item its content.
	contentMembers = []string{"content", "encrypted_content", "arguments", "output", "action", "code", "result", "results", "queries", "tools"}
	// modelMembers name models or deployments.
	modelMembers = []string{"model", "models", "model_id", "model_name", "base_model", "deployment", "deployment_id", "deployment_name"}
	// reachMembers have the backend use what its own identity reaches: connections,
	// indexes and memory of a project, its agents, and queues.
	reachMembers = []string{
		"project_connection_id", "project_connections", "connection_id", "connection_name", "index_asset_id", "memory_store_name", "agent", "agent_id",
		"agent_name", "agent_reference", "input_binding", "output_binding",
	}
	// otherMembers are read, or may only not be repeated.
	otherMembers = []string{"id", "type", "role", "metadata", "authentication", "data_sources", "data_source", "data_source_config", "text", "instructions", "variables"}
	// dataMembers hold what is the caller's own: schemas, and arguments of calls.
	dataMembers = []string{"parameters", "schema", "input_schema", "output_schema", "properties", "arguments"}
	// freeMembers hold members that the caller names.
	freeMembers = []string{
		"metadata", "attributes", "item_schema", "$defs", "definitions", "default", "item", "sample", "headers", "env", "spec", "documents",
		"logit_bias", "chat_template_kwargs", "guided_json",
	}
	// mediaMembers, sealedMembers and base64Members hold what is not read as text.
	mediaMembers  = []string{"url", "image_url", "file_data"}
	sealedMembers = []string{"encrypted_content", "signature"}
	base64Members = []string{"data", "result"}
)

// anyModelMember stands for members that name a model by the end of their names. No
// member can be called so.
const anyModelMember = "\x00model"

// vocabulary is the members that are watched at every depth of a body.
var vocabulary = jsonscan.NewVocabulary(slices.Compact(slices.Sorted(slices.Values(slices.Concat(
	keys(idMembers), keys(holderMembers), itemMembers, contentMembers, modelMembers, reachMembers, otherMembers, dataMembers, freeMembers,
	mediaMembers, sealedMembers, base64Members, []string{"input_audio", anyModelMember},
))))...)

func keys(m map[string]operations.Kind) []string { return slices.Collect(maps.Keys(m)) }

func namesOf(list ...string) jsonscan.Names {
	var set jsonscan.Names
	for _, name := range list {
		set = set.Or(jsonscan.NamesOf(vocabulary.Of(name)))
	}
	return set
}

var (
	itemNames    = namesOf(itemMembers...)
	contentNames = namesOf(contentMembers...).Or(namesOf("input")) // of a call to a custom tool
	modelNames   = namesOf(modelMembers...).Or(namesOf(anyModelMember))
	holderNames  = namesOf(keys(holderMembers)...)
	reachNames   = namesOf(reachMembers...)
	roleName     = vocabulary.Of("role")
	typeName     = vocabulary.Of("type")
	metadataName = vocabulary.Of("metadata")
	dataSources  = vocabulary.Of("data_sources")
	audioName    = vocabulary.Of("audio")
	contentName  = vocabulary.Of("content")
	encrypted    = vocabulary.Of("encrypted_content")
	anyModel     = vocabulary.Of(anyModelMember)

	foundStrings = namesOf(keys(idMembers)...).Or(modelNames).Or(namesOf("encrypted_content"))
	textNames    = namesOf(keys(idMembers)...).Or(modelNames).Without(holderNames)
	// watched is what every parse looks for.
	watched = jsonscan.Watch{
		Names: vocabulary, Limit: maxMatches, Strings: foundStrings, Objects: holderNames.Or(itemNames), Keep: [2]jsonscan.Name{vocabulary.Of("id"), typeName},
		Texts: textNames, Free: namesOf(freeMembers...), Maps: namesOf("variables"), Bound: namesOf("data_sources", "variables"),
		Data: namesOf(dataMembers...), DataIn: [2]jsonscan.Names{namesOf("input"), namesOf("content")}, // the arguments of Anthropic's tools
		Attachments: jsonscan.Attachments{
			URLs: namesOf(mediaMembers...), Sealed: namesOf(sealedMembers...), Base64: namesOf(base64Members...), In: namesOf("input_audio"),
			Types: []string{"base64", "redacted_thinking", "image_generation_call"},
		},
	}
)

// Parser parses one body after the other in the same memory. Its zero value is
// ready; it is not safe for concurrent use.
type Parser struct {
	Strict bool // refuse members that are other spellings of those that are acted on
	Line   bool // the body is a line of a file of requests

	watch jsonscan.Watch
	ready bool
}

func (p *Parser) reset() *jsonscan.Watch {
	if !p.ready {
		p.watch, p.ready = watched, true
	}
	p.watch.Reset()
	p.watch.Unknown = nil
	if p.Strict {
		p.watch.Unknown = unknownMember
	}
	return &p.watch
}

// maxMatches bounds the memory of one parse. How many objects a caller may name
// is decided by package api.
const maxMatches = 1 << 14

// readMatches reads what the watch found.
func (s *parser) readMatches() error {
	for i := range s.watch.Matches {
		m := &s.watch.Matches[i]
		if i >= s.metadata[0] && i < s.metadata[1] {
			continue // the caller's own, which nobody reads as ids
		}
		described := m.Data
		var err error
		switch {
		case m.Object && itemNames.Has(m.Name):
			err = s.addItem(m, described)
		case m.Object:
			err = s.addReference(holderMembers[vocabulary.Text(m.Name)], m.Kept[0], m.Name, described)
		case m.Name == encrypted:
			s.parsed.ResourceBound = s.parsed.ResourceBound || m.Within.Meets(itemNames) && m.Value.To-m.Value.From > len(`""`)
		case modelNames.Has(m.Name):
			s.addModel(m, described)
		default:
			err = s.addReference(idMembers[vocabulary.Text(m.Name)], m.Value, m.Name, described)
		}
		if err != nil {
			return err
		}
	}
	s.readReach()
	return nil
}

// readReach records what the body has the backend's own identity reach.
func (s *parser) readReach() {
	s.parsed.NestedSources = s.watch.Met.Has(dataSources) && s.parsed.DataSources == (Span{})
	if s.watch.Met.Meets(reachNames) {
		for _, name := range reachMembers {
			if s.watch.Met.Has(vocabulary.Of(name)) {
				s.parsed.Reaches = name
			}
		}
	}
}

// addItem adds the id of an item. Items of which only the resource that made them
// has the content decide where the request goes
// (docs/azure-openai.md#stateful-operations).
func (s *parser) addItem(m *jsonscan.Match, described bool) error {
	var kind []byte
	if at := m.Kept[1]; at.To > at.From {
		kind = s.Data[at.From+1 : at.To-1]
	}
	reference := foldsTo(kind, "itemreference") || bytes.IndexByte(kind, '\\') >= 0 && foldsTo([]byte(jsonscan.Unquote(kind)), "itemreference")
	bound := reference || m.Seen.Has(encrypted) || len(kind) == 0 && !m.Seen.Has(roleName) || jsonscan.EqualUnquoted(kind, "reasoning")
	err := s.addReference(operations.KindItem, m.Kept[0], m.Name, described || !reference && isGiven(m, kind))
	if err == nil && bound && s.parsed.ResourceBoundID == "" {
		s.parsed.ResourceBound, s.parsed.ResourceBoundID = true, jsonscan.Unquote(s.Data[m.Kept[0].From+1:m.Kept[0].To-1])
	}
	return err
}

// isGiven reports whether an item is given with its content. One without a type is a
// message, if it has a role; else it may be a reference, whatever else it has.
func isGiven(m *jsonscan.Match, kind []byte) bool {
	if len(kind) == 0 || m.Seen.Has(roleName) || jsonscan.EqualUnquoted(kind, "message") {
		return m.Seen.Has(contentName) && (len(kind) > 0 || m.Seen.Has(roleName))
	}
	return m.Seen.Meets(contentNames)
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
