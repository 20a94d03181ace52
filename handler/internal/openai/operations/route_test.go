package operations_test

import (
	"errors"
	"strings"
	"testing"

	"spillway/handler/internal/openai/operations"
)

func TestPathsOfEveryFamilyAreUnderstood(t *testing.T) {
	for path, want := range map[string]struct {
		operation, deployment string
		family                operations.Family
		rest                  string
	}{
		"/openai/deployments/gpt-4o/chat/completions":                    {"chat", "gpt-4o", operations.Deployments, ""},
		"/openai/deployments/gpt%2D4o/chat/completions":                  {"chat", "gpt-4o", operations.Deployments, ""},
		"//openai//deployments/gpt-4o//chat/completions/":                {"chat", "gpt-4o", operations.Deployments, ""},
		"/openai/v1/chat/completions":                                    {"chat", "", operations.V1, ""},
		"/openai/v1//chat/completions":                                   {"chat", "", operations.V1, ""},
		"/v1/chat/completions":                                           {"chat", "", operations.Bare, ""},
		"/v1/completions":                                                {"completions", "", operations.Bare, ""},
		"/openai/deployments/text-embedding-3/embeddings":                {"embeddings", "text-embedding-3", operations.Deployments, ""},
		"/openai/deployments/dalle/images/generations":                   {"images", "dalle", operations.Deployments, ""},
		"/openai/v1/images/edits":                                        {"image-edits", "", operations.V1, ""},
		"/v1/audio/transcriptions":                                       {"transcriptions", "", operations.Bare, ""},
		"/openai/deployments/whisper/audio/translations":                 {"translations", "whisper", operations.Deployments, ""},
		"/openai/deployments/tts/audio/speech":                           {"speech", "tts", operations.Deployments, ""},
		"/openai/images/edits":                                           {"image-edits", "", operations.Unscoped, ""},
		"/openai/responses":                                              {"responses", "", operations.Unscoped, ""},
		"/openai/v1/responses":                                           {"responses", "", operations.V1, ""},
		"/openai/v1/responses/compact":                                   {"compact", "", operations.V1, ""},
		"/openai/v1/responses/input_tokens":                              {"input-tokens", "", operations.V1, ""},
		"/openai/v1/responses/resp_1":                                    {"response", "", operations.V1, "resp_1"},
		"/openai/responses/resp_1/input_items":                           {"response", "", operations.Unscoped, "resp_1/input_items"},
		"/v1/responses/resp_1//cancel/":                                  {"response", "", operations.Bare, "resp_1/cancel"},
		"/openai/v1/chat/completions/chatcmpl-1/messages":                {"stored-chat", "", operations.V1, "chatcmpl-1/messages"},
		"/openai/v1/conversations":                                       {"conversations", "", operations.V1, ""},
		"/openai/v1/conversations/conv_1/items":                          {"conversation", "", operations.V1, "conv_1/items"},
		"/openai/v1/files/file-1/content":                                {"files", "", operations.V1, "file-1/content"},
		"/openai/files":                                                  {"files", "", operations.Unscoped, ""},
		"/openai/deployments/gpt-4o/batches":                             {"batches", "gpt-4o", operations.Deployments, ""},
		"/openai/batches/batch_1/cancel":                                 {"batches", "", operations.Unscoped, "batch_1/cancel"},
		"/openai/v1/fine_tuning/jobs/ftjob-1":                            {"fine-tuning", "", operations.V1, "jobs/ftjob-1"},
		"/openai/models":                                                 {"models", "", operations.Unscoped, ""},
		"/v1/models/gpt-4o":                                              {"models", "", operations.Bare, "gpt-4o"},
		"/v1/rerank":                                                     {"other", "", operations.Bare, "rerank"},
		"/openai/v1/chat/completion":                                     {"other", "", operations.V1, "chat/completion"},
		"/openai/deployments/" + strings.Repeat("a", 64) + "/embeddings": {"embeddings", strings.Repeat("a", 64), operations.Deployments, ""},
	} {
		r, err := operations.All().Parse(path)
		if err != nil || r.Operation.Name != want.operation || r.Deployment != want.deployment || r.Family != want.family || r.Subpath != want.rest {
			t.Errorf("%s: %+v, %v, want %+v", path, r, err, want)
		}
	}
}

func TestUnknownAndUnsafePathsAreRefused(t *testing.T) {
	for path, want := range map[string]error{
		"/":                               operations.ErrUnknownPath,
		"/openai":                         operations.ErrUnknownPath,
		"/openai/v1":                      operations.ErrUnknownPath,
		"/v2/chat/completions":            operations.ErrUnknownPath,
		"/openai/deployments/gpt-4o":      operations.ErrUnknownPath,
		"/openai/deployments/gpt-4o/chat": operations.ErrUnknownPath,
		"/openai/deployments/gpt-4o/chat/completions/more":                 operations.ErrUnknownPath,
		"/openai/chat/completions":                                         operations.ErrUnknownPath,
		"/openai/deployments/gpt-4o/responses":                             operations.ErrUnknownPath,
		"/openai/deployments/gpt-4o/rerank":                                operations.ErrUnknownPath,
		"/openai/rerank":                                                   operations.ErrUnknownPath,
		"/openai/v1/responses/..":                                          operations.ErrUnsafePath,
		"/openai/v1/responses/resp_1%2f..%2f..%2fmodels":                   operations.ErrUnsafePath,
		"/openai/deployments/..%2f..%2fadmin/chat/completions":             operations.ErrUnsafePath,
		"/openai/deployments/../x/chat/completions":                        operations.ErrUnsafePath,
		"/openai/deployments/%2e%2e/chat/completions":                      operations.ErrUnsafePath,
		"/openai/deployments/a%00b/chat/completions":                       operations.ErrUnsafePath,
		"/openai/deployments/a%0d%0aX-Evil:1/chat/completions":             operations.ErrUnsafePath,
		"/openai/deployments/x%3fapi-version=1/chat/completions":           operations.ErrUnsafePath,
		"/openai/deployments/x;y/chat/completions":                         operations.ErrUnsafePath,
		"/openai/deployments/%25%32%65/chat/completions":                   operations.ErrUnsafePath,
		"/openai/deployments/%/chat/completions":                           operations.ErrUnsafePath,
		"/openai/deployments/%zz/chat/completions":                         operations.ErrUnsafePath,
		"/openai/deployments/ＡＢ/chat/completions":                          operations.ErrUnsafePath,
		"/openai/deployments/" + strings.Repeat("a", 5000) + "/embeddings": operations.ErrUnsafePath,
	} {
		if r, err := operations.All().Parse(path); !errors.Is(err, want) {
			t.Errorf("%.60s: %+v, %v, want %v", path, r, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/openai/deployments/gpt-4o/chat/completions")
	f.Add("/openai/v1/%2e%2e/chat")
	f.Fuzz(func(t *testing.T, path string) {
		r, err := operations.All().Parse(path)
		if err != nil {
			return
		}
		if r.Deployment != "" && !operations.IsSafeName(r.Deployment) || r.Operation == nil {
			t.Errorf("%q: %+v", path, r)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	routes := operations.All()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = routes.Parse("/openai/deployments/gpt-4o/chat/completions")
	}
}
