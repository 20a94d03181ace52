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
	}{
		"/openai/deployments/gpt-4o/chat/completions":                    {"chat", "gpt-4o", operation.Deployments},
		"/openai/deployments/gpt%2D4o/chat/completions":                  {"chat", "gpt-4o", operation.Deployments},
		"//openai//deployments/gpt-4o//chat/completions/":                {"chat", "gpt-4o", operation.Deployments},
		"/openai/v1/chat/completions":                                    {"chat", "", operation.V1},
		"/openai/v1//chat/completions":                                   {"chat", "", operation.V1},
		"/v1/chat/completions":                                           {"chat", "", operation.Bare},
		"/v1/completions":                                                {"completions", "", operation.Bare},
		"/openai/deployments/text-embedding-3/embeddings":                {"embeddings", "text-embedding-3", operation.Deployments},
		"/openai/deployments/" + strings.Repeat("a", 64) + "/embeddings": {"embeddings", strings.Repeat("a", 64), operation.Deployments},
	} {
		r, err := operation.All().Parse(path)
		if err != nil || r.Operation.Name != want.operation || r.Deployment != want.deployment || r.Family != want.family {
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
