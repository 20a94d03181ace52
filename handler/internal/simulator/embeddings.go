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
	"strconv"
)

// inputs are the texts to embed, as they came: strings or arrays of tokens.
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

// dimensions is how long vectors are: as asked for, or the model's own.
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

// unitVector is a vector of length one that a text determines.
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
