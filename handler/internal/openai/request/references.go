package request

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"spillway/handler/internal/openai/jsonscan"
	"spillway/handler/internal/openai/operations"
)

// Reference is a stored object that a body names.
type Reference struct {
	Kind  operations.Kind
	ID    string
	Param string // the member that names it: "file_id", "input"
	// Described means that the body does not depend on the object, or that the id may be
	// of the caller's own making: of an item that is given with its content, of what such
	// an item cites, or where only its form says that it is an id.
	Described bool
	// Reused means that it is Described, and that the service uses it again if it is still
	// there: the container of a call that is sent back.
	Reused bool
}

// idMembers are the members whose strings, or lists of strings, are ids.
var idMembers = map[string]operations.Kind{
	"previous_response_id": operations.KindResponse, "previous_response": operations.KindResponse, "response_id": operations.KindResponse, "response_ids": operations.KindResponse,
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
	"fine_tuning_job_id": operations.KindTuningJob, "previous_message_id": operations.KindMessage,
}

// holderMembers are the members whose objects have an id.
var holderMembers = map[string]operations.Kind{
	"conversation": operations.KindConversation, "container": operations.KindContainer, "prompt": operations.KindPrompt,
	"previous_response": operations.KindResponse,
	"source":            operations.KindFile, "audio": operations.KindAudio, "voice": operations.KindVoice, "video": operations.KindVideo,
	"characters": operations.KindVideo, "input_reference": operations.KindFile,
}

// formMembers are the members whose strings are ids if they have the form of one of
// this kind; they may be texts, too.
var formMembers = map[string]operations.Kind{
	"prompt": operations.KindPrompt, "video": operations.KindVideo,
	"file": operations.KindFile, "files": operations.KindFile, "image": operations.KindFile, "images": operations.KindFile,
	"mask": operations.KindFile, "source": operations.KindFile, "input_reference": operations.KindFile, "characters": operations.KindVideo,
}

var (
	// itemMembers are lists of items, or one item.
	itemMembers = []string{"input", "items", "instructions"}
	// contentMembers give an item its content.
	contentMembers = []string{"content", "encrypted_content", "arguments", "output", "action", "actions", "code", "result", "results", "queries", "tools", "operation", "approve"}
	// modelMembers name models or deployments. So do those whose names end so.
	modelMembers = []string{"model", "models", "deployment", "engine", "engines", "engine_id"}
	// reachMembers have the backend use what its own identity reaches: connections,
	// indexes and memory of a project, its agents with their sessions, its network, and
	// queues.
	reachMembers = []string{
		"azure_ai_search", "openapi", "project_connection_id", "project_connections", "connection_name",
		"memory_store_name", "agent", "agent_name", "agent_reference", "input_binding", "output_binding",
	}
	// reachEndings are how further ones end, folded: connection_id, memory_store_id.
	reachEndings = []string{"connectionid", "connectionids", "memorystoreid", "memorystoreids", "agentid", "agentids", "agentsessionid", "indexassetid", "tunnelid", "tunnelids", "destinationresourceid"}
	// otherMembers are read, or may only not be repeated.
	otherMembers = []string{"inference_geo", "id", "type", "role", "metadata", "authentication", "data_sources", "data_source", "data_source_config", "text", "variables", "status", "summary", "functions"}
	// dataMembers hold the caller's own data: schemas and examples, arguments of calls,
	// and maps whose names are the caller's. So does the input of Anthropic's tools.
	dataMembers = []string{
		"parameters", "schema", "input_schema", "output_schema", "item_schema", "properties", "input_examples", "arguments",
		"metadata", "attributes", "headers", "env", "spec", "documents", "logit_bias", "chat_template_kwargs", "guided_json", "structured_outputs",
	}
	// rowMembers hold rows of evaluations, where any member may be a list of messages.
	rowMembers = []string{"item", "sample"}
	// citingMembers hold what an item that is sent back once came from, or an earlier
	// request that this one is compared with, and citingTypes are of objects that do: calls
	// that the service made itself, and the files of their outputs.
	citingMembers = []string{"annotations", "results", "diagnostics"}
	citingTypes   = []string{"mcp_call", "code_interpreter_call", "shell_call", "code_execution_output", "bash_code_execution_output"}
	// mediaMembers, fileMembers and base64Members hold what is not read as text, and
	// labelMembers say what that is.
	mediaMembers  = []string{"url", "image_url"}
	fileMembers   = []string{"file_data"}
	base64Members = []string{"data", "result"}
	labelMembers  = []string{"filename", "media_type"}
)

// These stand for members that name a model, an object of a kind that their name does
// not tell, or what a backend's identity reaches, by the end of their names, for those
// that bound or multiply an answer, and for others that are found in any spelling. No
// member can be called so.
const (
	anyModelMember = "\x00model"
	anyIDMember    = "\x00id"
	anyReachMember = "\x00reach"
	boundMember    = "\x00bound"
	budgetMember   = "\x00budget"
	choicesMember  = "\x00choices"
	cacheKeyMember = "\x00cachekey"
	mapMember      = "\x00map"
)

// vocabulary is the members that are watched at every depth of a body.
var vocabulary = jsonscan.NewVocabulary(slices.Compact(slices.Sorted(slices.Values(slices.Concat(
	keys(idMembers), keys(holderMembers), itemMembers, contentMembers, modelMembers, reachMembers, otherMembers, dataMembers, rowMembers, citingMembers,
	mediaMembers, fileMembers, base64Members, labelMembers, keys(formMembers),
	[]string{"input_audio", anyModelMember, anyIDMember, anyReachMember, boundMember, budgetMember, choicesMember, cacheKeyMember, mapMember},
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
	fileNames    = namesOf("file_id", "file_ids")
	idNames      = namesOf(keys(idMembers)...)
	modelNames   = namesOf(modelMembers...).Or(namesOf(anyModelMember))
	holderNames  = namesOf(keys(holderMembers)...)
	citingNames  = namesOf(citingMembers...)
	quotedNames  = namesOf("approval_request_id", "container_id", "file_id")
	reachNames   = namesOf(reachMembers...).Or(namesOf(anyReachMember))
	roleName     = vocabulary.Of("role")
	typeName     = vocabulary.Of("type")
	metadataName = vocabulary.Of("metadata")
	idName       = vocabulary.Of("id")
	rowName      = vocabulary.Of("item")
	resultName   = vocabulary.Of("result")
	statusName   = vocabulary.Of("status")
	summaryName  = vocabulary.Of("summary")
	sourceName   = vocabulary.Of("source")
	dataSources  = vocabulary.Of("data_sources")
	audioName    = vocabulary.Of("audio")
	contentName  = vocabulary.Of("content")
	encrypted    = vocabulary.Of("encrypted_content")
	geographies  = vocabulary.Of("inference_geo")
	anyModel     = vocabulary.Of(anyModelMember)
	anyID        = vocabulary.Of(anyIDMember)
	anyReach     = vocabulary.Of(anyReachMember)
	boundName    = vocabulary.Of(boundMember)
	choicesName  = vocabulary.Of(choicesMember)
	cacheKeyName = vocabulary.Of(cacheKeyMember)
	countedNames = namesOf(boundMember, budgetMember, choicesMember, cacheKeyMember)

	foundStrings = idNames.Or(modelNames).Or(namesOf("encrypted_content", "inference_geo")).Or(countedNames)
	textNames    = idNames.Or(modelNames).Without(holderNames)
	inlineRows   = [3]jsonscan.Name{contentName, vocabulary.Of("source"), vocabulary.Of("data_source")}
	// watched is what every parse looks for.
	watched = jsonscan.Watch{
		Names: vocabulary, Limit: maxMatches, Strings: foundStrings, Scalars: countedNames, Objects: holderNames.Or(itemNames), Keep: [2]jsonscan.Name{idName, typeName},
		Texts: textNames, Free: namesOf(rowMembers...), FreeIn: inlineRows, Maps: namesOf("variables", mapMember), Bound: namesOf("data_sources"),
		// At other places parameters are those of the request itself.
		Data: namesOf(dataMembers...).Without(namesOf("parameters")), Origin: vocabulary.Of("agent"), OriginOf: namesOf(itemMembers...), OriginIn: namesOf("agent_name"), DataOf: vocabulary.Of("output"), IsFree: isFreeOutput,
		DataIn: [][2]jsonscan.Names{{namesOf("input"), namesOf("content")}, {namesOf("annotations"), namesOf("tools")}, {namesOf("parameters"), namesOf("tools", "functions")}},
		Forms:  namesOf(keys(formMembers)...).Or(namesOf(anyIDMember)), IsID: hasForm, InFree: inRow, Quotes: isCiting, Empty: namesOf("output", "arguments", "input"), Lists: namesOf("summary"),
		Attachments: jsonscan.Attachments{
			URLs: namesOf(mediaMembers...), Files: namesOf(fileMembers...), Base64: namesOf(base64Members...), In: namesOf("input_audio"),
			Types: []string{"base64", "image_generation_call"}, Labels: namesOf(labelMembers...),
			Pictures: namesOf("image_url"), Address: vocabulary.Of("url"),
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

// hasForm reports whether a text that may be an id has the form of one. Of an object,
// which has no name here, it is the id; an item reference needs no form.
func hasForm(name jsonscan.Name, text, kind []byte) bool {
	if bytes.IndexByte(text, '\\') >= 0 {
		text = []byte(jsonscan.Unquote(text))
	}
	text = bytes.TrimSpace(text)
	switch name {
	case 0:
		return operations.StoredKind(text) != "" || isItemReference(kind)
	case anyID:
		return operations.StoredKind(text) != "" && operations.IsServiceID(string(text))
	}
	return mayBeID(vocabulary.Text(name), text)
}

// mayBeID reports whether the text of a member that may be a text has the form of an id
// of the member's kind. A source is the name of something in other APIs.
func mayBeID(member string, text []byte) bool {
	form, kind := operations.StoredKind(text), formMembers[member]
	return form != "" && (kind == "" || kind == form) && (member != "source" || operations.IsServiceID(string(text)))
}

func isItemReference(kind []byte) bool {
	const folded = "itemreference"
	return foldsTo(kind, folded) || bytes.IndexByte(kind, '\\') >= 0 && foldsTo([]byte(jsonscan.Unquote(kind)), folded)
}

// readMatches reads what the watch found.
func (s *parser) readMatches() error {
	for i := range s.watch.Matches {
		m := &s.watch.Matches[i]
		member := vocabulary.Text(m.Name)
		kind := cmp.Or(idMembers[member], formMembers[member])
		var err error
		switch {
		case m.Object && isItemReference(s.text(m.Kept[1])) && (m.Free || !itemNames.Has(m.Name)):
			err = s.addReference(operations.KindItem, m.Kept[0], idName, false)
		case m.Free:
			err = s.addReference("", m.Value, rowName, !operations.IsUpload(idIn(s.text(m.Value))))
		case m.Object && itemNames.Has(m.Name):
			err = s.addItem(m)
		case m.Object && holderNames.Has(m.Name):
			err = s.addReference(holderMembers[member], m.Kept[0], m.Name, false)
		case m.Object:
			err = s.addReference("", m.Kept[0], idName, true)
		case m.Name == encrypted:
			s.parsed.ResourceBound = s.parsed.ResourceBound || m.Within.Meets(itemNames) && m.Value.To-m.Value.From > len(`""`)
		case modelNames.Has(m.Name):
			s.addModel(m)
		case m.Name == geographies:
			s.parsed.Geographies = append(s.parsed.Geographies, jsonscan.Unquote(s.text(m.Value)))
		case m.Name == anyID:
			err = s.addReference("", m.Value, idName, true)
		case m.Name == cacheKeyName:
			s.parsed.NestedCacheKey = s.parsed.NestedCacheKey || string(s.Data[m.Value.From:m.Value.To]) != `""`
		case countedNames.Has(m.Name):
			s.addCounted(m)
		default:
			err = s.addListed(kind, m)
		}
		if err != nil {
			return err
		}
	}
	s.describeApprovals()
	s.readReach()
	return nil
}

// addListed adds the id in a member of a list.
func (s *parser) addListed(kind operations.Kind, m *jsonscan.Match) error {
	before := len(s.parsed.References)
	quoted := m.Quoted && quotedNames.Has(m.Name)
	described := quoted || m.Name == sourceName || m.Within.Meets(citingNames)
	err := s.addReference(kind, m.Value, m.Name, described)
	if described && kind == operations.KindMessage {
		s.parsed.Compared = append(s.parsed.Compared, Span(m.Value))
	}
	for i := range s.parsed.References[before:] {
		s.parsed.References[before+i].Reused = quoted && kind == operations.KindContainer
	}
	return err
}

// describeApprovals notes which approvals answer a request that is given beside them.
func (s *parser) describeApprovals() {
	var given map[string]bool
	for i := range s.parsed.References {
		approval := &s.parsed.References[i]
		if approval.Param != "approval_request_id" || approval.Described {
			continue
		}
		if given == nil {
			given = map[string]bool{}
			for _, r := range s.parsed.References {
				given[r.ID] = given[r.ID] || r.Kind == operations.KindItem && r.Described && r.Param != approval.Param
			}
		}
		approval.Described = given[approval.ID]
	}
}

// text is a string without its quotes, nothing for the zero Range.
func (s *parser) text(at jsonscan.Range) []byte {
	if at.To == 0 {
		return nil
	}
	return s.Data[at.From+1 : at.To-1]
}

// readReach records what the body has the backend's own identity reach.
func (s *parser) readReach() {
	s.parsed.NestedSources = s.watch.Met.Has(dataSources) && s.parsed.DataSources == (Span{})
	if s.watch.Met.Meets(reachNames) {
		s.parsed.Reaches = "a connection, an agent or a store"
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
func (s *parser) addItem(m *jsonscan.Match) error {
	kind := s.text(m.Kept[1])
	given := !isItemReference(kind) && isGiven(m, kind)
	bound := m.Seen.Has(encrypted) || jsonscan.EqualUnquoted(kind, "reasoning") || !given && len(s.text(m.Kept[0])) > 0
	err := s.addReference(operations.KindItem, m.Kept[0], m.Name, given)
	if err == nil && bound && s.parsed.ResourceBoundID == "" {
		s.parsed.ResourceBound, s.parsed.ResourceBoundID = true, idIn(s.text(m.Kept[0]))
	}
	return err
}

// isGiven reports whether an item is given with its content. One without a type is a
// message, if it has a role; else it may be a reference, whatever else it has. A picture
// is named by its id alone; of a search of the web, callers have no more than its status.
func isGiven(m *jsonscan.Match, kind []byte) bool {
	is := func(name string) bool { return jsonscan.EqualUnquoted(kind, name) }
	switch {
	case len(kind) == 0 || is("message"):
		return m.Seen.Has(contentName) && (len(kind) > 0 || m.Seen.Has(roleName))
	case is("image_generation_call"):
		return m.Seen.Has(resultName)
	case is("web_search_call"), is("apply_patch_call_output"):
		return m.Seen.Has(statusName) || m.Seen.Meets(contentNames)
	case is("reasoning"):
		return m.Seen.Has(summaryName) || m.Seen.Meets(contentNames)
	}
	return m.Seen.Meets(contentNames)
}

// addReference adds an id, given with its quotes.
func (s *parser) addReference(kind operations.Kind, at jsonscan.Range, name jsonscan.Name, described bool) error {
	text := s.text(at)
	member := vocabulary.Text(name)
	switch {
	case len(text) == 0:
		return nil
	case len(text) > maxStringLength:
		return wrongType(at.From, member, "an id of at most 1,024 bytes")
	}
	id := idIn(text)
	if id == "" || kind == operations.KindSkill && operations.IsBuiltInSkill(id) {
		return nil
	}
	s.parsed.References = append(s.parsed.References, Reference{Kind: kind, ID: id, Param: member, Described: described})
	return nil
}

// idIn is the id in a string without its quotes. A server may take off what surrounds it.
func idIn(text []byte) string { return strings.TrimSpace(jsonscan.Unquote(text)) }

// addModel adds a model or deployment that is named below the top level.
func (s *parser) addModel(m *jsonscan.Match) {
	text := s.text(m.Value)
	if m.Value.From == s.parsed.ModelSpan.From || len(text) == 0 {
		return
	}
	if name := jsonscan.Unquote(text); !slices.Contains(s.parsed.Models[max(0, len(s.parsed.Models)-8):], name) {
		s.parsed.Models = append(s.parsed.Models, name)
	}
}
