package simulator

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serveOperation serves an admitted request.
func (c *call) serveOperation() {
	op := c.route.operation
	switch family, _ := c.requiredCapability(); {
	case op == "responses" && family != "" && len(c.route.rest) > 0:
		c.compact()
	case op == "responses" && len(c.route.rest) > 0:
		c.responseByID()
	case family != "":
		c.serveCapability(family)
	case op == "models":
		c.models()
	case objectPrefix[op] != "":
		c.object()
	default:
		c.writeError(resourceNotFound())
	}
}

// serveCapability serves the operations of a deployment.
func (c *call) serveCapability(family string) {
	switch family {
	case "chat":
		c.chat()
	case "messages":
		c.messages()
	case "responses":
		c.responses()
	case "completions":
		c.completions()
	case "embeddings":
		c.embeddings()
	case "images":
		c.images()
	case "speech":
		c.speech()
	case "transcription":
		c.transcription()
	}
}

// triggered reports whether a fault or a marker in the prompt asks for something.
func (c *call) triggered(action, trigger string) bool {
	return (c.fault != nil && c.fault.Action == action) || strings.Contains(c.prompt, trigger)
}

// baseModels are the models of a region, deployed or not: the list of models is
// not one of deployments (docs/azure-openai.md#addresses).
var baseModels = []string{
	"gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "gpt-4o-2024-11-20", "gpt-4o-mini-2024-07-18", "o3-mini-2025-01-31",
	"text-embedding-3-large-1", "text-embedding-3-small-1", "whisper-001", "dall-e-3-3.0",
}

// models serves the list of models, and one of them. It costs no tokens.
func (c *call) models() {
	if c.r.Method != http.MethodGet || len(c.route.rest) > 1 {
		c.writeError(resourceNotFound())
		return
	}
	if len(c.route.rest) == 1 {
		if id := c.route.rest[0]; slices.Contains(baseModels, id) {
			c.writeResponse(http.StatusOK, "", []byte(modelJSON(id)))
		} else {
			c.writeError(objectNotFound(id))
		}
		return
	}
	all := make([]string, len(baseModels))
	for i, id := range baseModels {
		all[i] = modelJSON(id)
	}
	c.writeResponse(http.StatusOK, "", []byte(`{"object":"list","data":[`+strings.Join(all, ",")+`]}`))
}

// retirement is when every model of the double retires.
var retirement = time.Date(2031, 3, 1, 0, 0, 0, 0, time.UTC)

func modelJSON(id string) string {
	return fmt.Sprintf(`{"id":%s,"object":"model","created_at":1715644800,"status":"succeeded","lifecycle_status":"generally-available","capabilities":{"inference":true},"deprecation":{"inference":%d}}`, quote(id), retirement.Unix())
}

// onePixel is a PNG in base64.
const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// images serves images/generations and images/edits.
func (c *call) images() {
	if !c.sleep(c.answerDelay(0)) {
		c.clientDisconnected()
		return
	}
	data := make([]string, max(1, c.request.N))
	for i := range data {
		data[i] = `{"b64_json":"` + onePixel + `","revised_prompt":` + quote(c.prompt) + `,"content_filter_results":` + safeResults + `}`
	}
	c.recordUsage(tokenUsage{})
	c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{"created":%d,"data":[%s]}`, c.arrived.Unix(), strings.Join(data, ",")))
}

// imageDeployment is the second deployment that a Responses request with the image
// tool names by header (docs/azure-openai.md#request-fields); "" without the tool.
func (c *call) imageDeployment() string {
	for _, raw := range c.request.Tools {
		var tool struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(raw, &tool) == nil && tool.Type == "image_generation" {
			if name := c.r.Header.Get("x-ms-oai-image-generation-deployment"); name != "" {
				return name
			}
			return "(none named)"
		}
	}
	return ""
}

// speech serves audio/speech.
func (c *call) speech() {
	if !c.sleep(c.answerDelay(0)) {
		c.clientDisconnected()
		return
	}
	c.recordUsage(tokenUsage{})
	c.writeResponse(http.StatusOK, "audio/mpeg", []byte(strings.Repeat("\xff\xfb\x90\x44\x00\x00\x00\x00", 256)))
}

// transcription serves audio/transcriptions and audio/translations.
func (c *call) transcription() {
	if !c.sleep(c.answerDelay(0)) {
		c.clientDisconnected()
		return
	}
	text := strings.Join(c.textTokens(0, 1<<20), "")
	c.recordUsage(tokenUsage{})
	switch c.request.Form["response_format"] {
	case "text":
		c.writeResponse(http.StatusOK, "text/plain; charset=utf-8", []byte(text+"\n"))
	case "verbose_json":
		c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{"task":"transcribe","language":"english","duration":1.0,"text":%s,"segments":[]}`, quote(text)))
	default:
		c.writeResponse(http.StatusOK, "", fmt.Appendf(nil, `{"text":%s}`, quote(text)))
	}
}

// inputs are the texts to embed: strings or arrays of tokens.
func (a *requestBody) inputs() []json.RawMessage {
	var many []json.RawMessage
	if json.Unmarshal(a.Input, &many) != nil {
		return []json.RawMessage{a.Input}
	}
	if len(many) > 0 && many[0][0] != '"' && many[0][0] != '[' {
		return []json.RawMessage{a.Input} // one array of token numbers
	}
	return many
}

func (c *call) checkInputs() *apiError {
	if len(c.request.Input) == 0 || string(c.request.Input) == `""` || string(c.request.Input) == "[]" {
		return missingParameter(true, "input")
	}
	if len(c.request.inputs()) > maxEmbedding {
		return invalidRequest("Too many inputs. The max number of inputs is 2048.", "input", "")
	}
	switch c.request.EncodingFormat {
	case "", "float", "base64":
		return nil
	default:
		return invalidRequest("Invalid value for encoding_format.", "encoding_format", "")
	}
}

// embeddings serves embeddings: unit vectors, equal for equal texts.
func (c *call) embeddings() {
	if !c.sleep(c.answerDelay(0)) {
		c.clientDisconnected()
		return
	}
	inputs := c.request.inputs()
	body := []byte(`{"object":"list","data":[`)
	for i, in := range inputs {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"object":"embedding","index":%d,"embedding":`, i)
		body = append(c.appendVector(body, in), '}')
	}
	body = fmt.Appendf(body, `],"model":%s,"usage":{"prompt_tokens":%d,"total_tokens":%d}}`, quote(c.spec.servedModel()), c.promptTokens, c.promptTokens)
	c.recordUsage(tokenUsage{})
	c.writeResponse(http.StatusOK, "", body)
}

// dimensions is the length of vectors: the request's, or the model's own.
func (c *call) dimensions() int {
	switch {
	case c.request.Dimensions > 0:
		return c.request.Dimensions
	case c.spec.Model == "text-embedding-3-large":
		return 3072
	default:
		return 1536
	}
}

func (c *call) appendVector(body []byte, input json.RawMessage) []byte {
	vector := unitVector(c.svc.cfg.Seed, input, c.dimensions())
	if c.request.EncodingFormat == "base64" {
		raw := make([]byte, 0, 4*len(vector))
		for _, x := range vector {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		return fmt.Appendf(body, "%q", base64.StdEncoding.EncodeToString(raw))
	}
	body = append(body, '[')
	for i, x := range vector {
		if i > 0 {
			body = append(body, ',')
		}
		body = strconv.AppendFloat(body, float64(x), 'g', -1, 32)
	}
	return append(body, ']')
}

// unitVector is a vector of length one, the same for the same seed and text.
func unitVector(seed uint64, text []byte, n int) []float32 {
	h := fnv.New64a()
	_, _ = h.Write(text)
	r := rand.New(rand.NewPCG(seed, h.Sum64()))
	vector := make([]float32, n)
	sum := 0.0
	for i := range vector {
		x := r.Float64()*2 - 1
		vector[i] = float32(x)
		sum += x * x
	}
	for i := range vector {
		vector[i] /= float32(math.Sqrt(sum))
	}
	return vector
}

// family is the form of a path (docs/azure-openai.md#addresses).
type family int

const (
	familyNone       family = iota // not a path of this service
	familyDeployment               // /openai/deployments/{deployment}/{operation}
	familyRoot                     // /openai/{operation}
	familyV1                       // /openai/v1/{operation}
	familyAnthropic                // /anthropic/v1/{operation}
)

// route is a parsed path.
type route struct {
	family     family
	deployment string // only in familyDeployment
	operation  string // "chat/completions", "responses", "files", …
	rest       []string
	version    string // api-version as sent
}

var versionShape = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-preview)?$`) })

// parseRoute parses an escaped path. One with an empty segment is no path of the
// service.
func parseRoute(path string, query url.Values) route {
	segments, ok := pathSegments(path)
	r := route{version: query.Get("api-version")}
	switch {
	case !ok || len(segments) < 2:
		return route{}
	case segments[0] == "anthropic" && segments[1] == "v1":
		r.family = familyAnthropic
		r.operation, r.rest = splitOperation(segments[2:])
		return r
	case segments[0] != "openai":
		return route{}
	}
	switch segments[1] {
	case "deployments":
		if len(segments) < 4 {
			return route{}
		}
		r.family, r.deployment = familyDeployment, segments[2]
		segments = segments[3:]
	case "v1":
		r.family = familyV1
		segments = segments[2:]
	default:
		r.family = familyRoot
		segments = segments[1:]
	}
	r.operation, r.rest = splitOperation(segments)
	return r
}

func pathSegments(path string) ([]string, bool) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		plain, err := url.PathUnescape(s)
		if err != nil || plain == "" {
			return nil, false
		}
		segments[i] = plain
	}
	return segments, true
}

// splitOperation splits the operation's name from the ids that follow it.
func splitOperation(segments []string) (string, []string) {
	if len(segments) == 0 {
		return "", nil
	}
	switch segments[0] {
	case "chat", "audio", "images", "fine_tuning":
		if len(segments) > 1 {
			return segments[0] + "/" + segments[1], segments[2:]
		}
	}
	return segments[0], segments[1:]
}

// versionFits reports whether api-version is valid for the family: required and
// dated on classic paths, optional on v1.
func (r route) versionFits() bool {
	if r.family == familyAnthropic {
		return true
	}
	if r.family == familyV1 {
		return r.version == "" || r.version == "v1" || r.version == "preview" || r.version == "latest"
	}
	return versionShape().MatchString(r.version)
}

// streamsUsage reports whether stream_options.include_usage is supported.
func (r route) streamsUsage() bool {
	return r.family == familyV1 || strings.TrimSuffix(r.version, "-preview") >= "2024-09-01"
}

// operationID is the operation's name in error texts.
func (r route) operationID() string {
	switch r.operation {
	case "chat/completions":
		return "ChatCompletions_Create"
	case "completions":
		return "Completions_Create"
	case "embeddings":
		return "Embeddings_Create"
	case "responses":
		return "Responses_Create"
	case "messages":
		return "Messages_Create"
	case "images/generations":
		return "ImageGenerations_Create"
	case "audio/transcriptions":
		return "Transcriptions_Create"
	case "audio/translations":
		return "Translations_Create"
	case "audio/speech":
		return "Speech_Create"
	default:
		return r.operation
	}
}
