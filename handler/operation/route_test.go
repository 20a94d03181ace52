package operation_test

import (
	"errors"
	"strings"
	"testing"

	"spillway/handler/operation"
)

func TestPathsOfEveryFamilyAreUnderstood(t *testing.T) {
	for path, want := range map[string]struct {
		operation, deployment string
		family                operation.Family
		rest                  string
	}{
		"/openai/deployments/gpt-4o/chat/completions":                    {"chat", "gpt-4o", operation.Deployments, ""},
		"/openai/deployments/gpt%2D4o/chat/completions":                  {"chat", "gpt-4o", operation.Deployments, ""},
		"//openai//deployments/gpt-4o//chat/completions/":                {"chat", "gpt-4o", operation.Deployments, ""},
		"/openai/v1/chat/completions":                                    {"chat", "", operation.V1, ""},
		"/openai/v1//chat/completions":                                   {"chat", "", operation.V1, ""},
		"/v1/chat/completions":                                           {"chat", "", operation.Bare, ""},
		"/v1/completions":                                                {"completions", "", operation.Bare, ""},
		"/openai/deployments/text-embedding-3/embeddings":                {"embeddings", "text-embedding-3", operation.Deployments, ""},
		"/openai/deployments/dalle/images/generations":                   {"images", "dalle", operation.Deployments, ""},
		"/openai/v1/images/edits":                                        {"image-edits", "", operation.V1, ""},
		"/v1/audio/transcriptions":                                       {"transcriptions", "", operation.Bare, ""},
		"/openai/deployments/whisper/audio/translations":                 {"translations", "whisper", operation.Deployments, ""},
		"/openai/deployments/tts/audio/speech":                           {"speech", "tts", operation.Deployments, ""},
		"/openai/images/edits":                                           {"image-edits", "", operation.Unscoped, ""},
		"/openai/responses":                                              {"responses", "", operation.Unscoped, ""},
		"/openai/v1/responses":                                           {"responses", "", operation.V1, ""},
		"/openai/v1/responses/compact":                                   {"compact", "", operation.V1, ""},
		"/openai/v1/responses/input_tokens":                              {"input-tokens", "", operation.V1, ""},
		"/openai/v1/responses/resp_1":                                    {"response", "", operation.V1, "resp_1"},
		"/openai/responses/resp_1/input_items":                           {"response", "", operation.Unscoped, "resp_1/input_items"},
		"/v1/responses/resp_1//cancel/":                                  {"response", "", operation.Bare, "resp_1/cancel"},
		"/openai/v1/chat/completions/chatcmpl-1/messages":                {"stored-chat", "", operation.V1, "chatcmpl-1/messages"},
		"/openai/v1/conversations":                                       {"conversations", "", operation.V1, ""},
		"/openai/v1/conversations/conv_1/items":                          {"conversation", "", operation.V1, "conv_1/items"},
		"/openai/v1/files/file-1/content":                                {"files", "", operation.V1, "file-1/content"},
		"/openai/files":                                                  {"files", "", operation.Unscoped, ""},
		"/openai/deployments/gpt-4o/batches":                             {"batches", "gpt-4o", operation.Deployments, ""},
		"/openai/batches/batch_1/cancel":                                 {"batches", "", operation.Unscoped, "batch_1/cancel"},
		"/openai/v1/fine_tuning/jobs/ftjob-1":                            {"fine-tuning", "", operation.V1, "jobs/ftjob-1"},
		"/openai/models":                                                 {"models", "", operation.Unscoped, ""},
		"/v1/models/gpt-4o":                                              {"models", "", operation.Bare, "gpt-4o"},
		"/v1/rerank":                                                     {"other", "", operation.Bare, "rerank"},
		"/openai/v1/chat/completion":                                     {"other", "", operation.V1, "chat/completion"},
		"/openai/deployments/" + strings.Repeat("a", 64) + "/embeddings": {"embeddings", strings.Repeat("a", 64), operation.Deployments, ""},
	} {
		r, err := operation.All().Parse(path)
		if err != nil || r.Operation.Name != want.operation || r.Deployment != want.deployment || r.Family != want.family || r.Rest != want.rest {
			t.Errorf("%s: %+v, %v, want %+v", path, r, err, want)
		}
	}
}

func TestUnknownAndUnsafePathsAreRefused(t *testing.T) {
	for path, want := range map[string]error{
		"/":                               operation.ErrUnknownPath,
		"/openai":                         operation.ErrUnknownPath,
		"/openai/v1":                      operation.ErrUnknownPath,
		"/v2/chat/completions":            operation.ErrUnknownPath,
		"/openai/deployments/gpt-4o":      operation.ErrUnknownPath,
		"/openai/deployments/gpt-4o/chat": operation.ErrUnknownPath,
		"/openai/deployments/gpt-4o/chat/completions/more":                 operation.ErrUnknownPath,
		"/openai/chat/completions":                                         operation.ErrUnknownPath,
		"/openai/deployments/gpt-4o/responses":                             operation.ErrUnknownPath,
		"/openai/deployments/gpt-4o/rerank":                                operation.ErrUnknownPath,
		"/openai/rerank":                                                   operation.ErrUnknownPath,
		"/openai/v1/responses/..":                                          operation.ErrUnsafePath,
		"/openai/v1/responses/resp_1%2f..%2f..%2fmodels":                   operation.ErrUnsafePath,
		"/openai/deployments/..%2f..%2fadmin/chat/completions":             operation.ErrUnsafePath,
		"/openai/deployments/../x/chat/completions":                        operation.ErrUnsafePath,
		"/openai/deployments/%2e%2e/chat/completions":                      operation.ErrUnsafePath,
		"/openai/deployments/a%00b/chat/completions":                       operation.ErrUnsafePath,
		"/openai/deployments/a%0d%0aX-Evil:1/chat/completions":             operation.ErrUnsafePath,
		"/openai/deployments/x%3fapi-version=1/chat/completions":           operation.ErrUnsafePath,
		"/openai/deployments/x;y/chat/completions":                         operation.ErrUnsafePath,
		"/openai/deployments/%25%32%65/chat/completions":                   operation.ErrUnsafePath,
		"/openai/deployments/%/chat/completions":                           operation.ErrUnsafePath,
		"/openai/deployments/%zz/chat/completions":                         operation.ErrUnsafePath,
		"/openai/deployments/ＡＢ/chat/completions":                          operation.ErrUnsafePath,
		"/openai/deployments/" + strings.Repeat("a", 5000) + "/embeddings": operation.ErrUnsafePath,
	} {
		if r, err := operation.All().Parse(path); !errors.Is(err, want) {
			t.Errorf("%.60s: %+v, %v, want %v", path, r, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/openai/deployments/gpt-4o/chat/completions")
	f.Add("/openai/v1/%2e%2e/chat")
	f.Fuzz(func(t *testing.T, path string) {
		r, err := operation.All().Parse(path)
		if err != nil {
			return
		}
		if r.Deployment != "" && !operation.Name(r.Deployment) || r.Operation == nil {
			t.Errorf("%q: %+v", path, r)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	routes := operation.All()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = routes.Parse("/openai/deployments/gpt-4o/chat/completions")
	}
}
