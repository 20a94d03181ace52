package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
)

// requestBody is what a request asks for: the fields of all JSON operations together.
// Fields the service does not act on are left alone.
type requestBody struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions struct {
		IncludeUsage       bool `json:"include_usage"`
		IncludeObfuscation bool `json:"include_obfuscation"`
	} `json:"stream_options"`

	Messages     []message         `json:"messages"`
	Prompt       json.RawMessage   `json:"prompt"`
	Input        json.RawMessage   `json:"input"`
	Instructions string            `json:"instructions"`
	Tools        []json.RawMessage `json:"tools"`
	ToolChoice   json.RawMessage   `json:"tool_choice"`

	MaxTokens           *int   `json:"max_tokens"`
	MaxCompletionTokens *int   `json:"max_completion_tokens"`
	MaxOutputTokens     *int   `json:"max_output_tokens"`
	N                   int    `json:"n"`
	BestOf              int    `json:"best_of"`
	Seed                *int64 `json:"seed"`

	ServiceTier    string `json:"service_tier"`
	PromptCacheKey string `json:"prompt_cache_key"`

	ResponseFormat json.RawMessage `json:"response_format"`
	EncodingFormat string          `json:"encoding_format"`
	Dimensions     int             `json:"dimensions"`

	Store              *bool           `json:"store"`
	Background         bool            `json:"background"`
	PreviousResponseID string          `json:"previous_response_id"`
	Include            []string        `json:"include"`
	Metadata           json.RawMessage `json:"metadata"`
	Conversation       json.RawMessage `json:"conversation"`
	Text               struct {
		Format json.RawMessage `json:"format"`
	} `json:"text"`

	InputFileID string `json:"input_file_id"`

	// Form holds the fields of a multipart body but its file.
	Form     map[string]string `json:"-"`
	File     []byte            `json:"-"`
	FileName string            `json:"-"`
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// parseBody reads a body by its content type.
func parseBody(contentType string, body []byte) (*requestBody, error) {
	media, params, err := mime.ParseMediaType(contentType)
	if err == nil && media == "multipart/form-data" {
		return parseForm(body, params["boundary"])
	}
	a := &requestBody{}
	if len(body) == 0 {
		return a, nil
	}
	if err := json.Unmarshal(body, a); err != nil {
		return a, fmt.Errorf("we could not parse the JSON body of your request: %w", err)
	}
	return a, nil
}

func parseForm(body []byte, boundary string) (*requestBody, error) {
	a := &requestBody{Form: map[string]string{}}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			a.Model = a.Form["model"]
			a.Stream = a.Form["stream"] == "true"
			return a, nil
		}
		if err != nil {
			return a, fmt.Errorf("read multipart body: %w", err)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return a, fmt.Errorf("read part %q: %w", part.FormName(), err)
		}
		if part.FileName() != "" {
			a.FileName, a.File = part.FileName(), value
			continue
		}
		a.Form[part.FormName()] = string(value)
	}
}
