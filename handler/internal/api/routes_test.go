package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"spillway/handler/internal/auth"
	"spillway/handler/internal/openai/operations"
)

type anonymous struct{}

func (anonymous) Authenticate(context.Context, http.Header, string) (auth.Identity, error) {
	return auth.Identity{}, nil
}

func (anonymous) RequestDone(*RequestRecord) {}

var errUnknownPath = errors.New("no such path")

// recordingRouter returns the routes in front of a handler that keeps what the
// last request named.
func recordingRouter(named *target) http.Handler {
	s := &Server{Authenticator: anonymous{}, Observer: anonymous{}, Now: time.Now, NewID: func() string { return "req-1" }, MaxBody: 1 << 20}
	return s.router(func(t target) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) { *named = t.named(r) }
	})
}

// resolve returns what a path names, whatever the method.
func resolve(path string) (target, error) {
	var named target
	u, err := url.ParseRequestURI(path)
	if err != nil {
		_, err = canonical(path)
		return named, err
	}
	h := recordingRouter(&named)
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		r := httptest.NewRequest(method, "/", http.NoBody)
		r.URL = u
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch {
		case named.operation != nil:
			return named, nil
		case strings.Contains(w.Body.String(), "model_not_found"):
			return named, errUnsafePath
		case w.Code == http.StatusNotFound:
			return named, errUnknownPath
		}
	}
	return named, nil
}

func TestPathsOfEveryFamily(t *testing.T) {
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
		"/openai/chat/completions":                                       {"chat", "", operations.Unscoped, ""},
		"/models/chat/completions":                                       {"chat", "", operations.Foundry, ""},
		"/models/embeddings":                                             {"embeddings", "", operations.Foundry, ""},
		"/Anthropic/v1/messages":                                         {"messages", "", operations.Anthropic, ""},
		"/anthropic/v1/messages/count_tokens/":                           {"count-tokens", "", operations.Anthropic, ""},
		"/v1/models/gpt-4o":                                              {"models", "", operations.Bare, "gpt-4o"},
		"/v1/rerank":                                                     {"other", "", operations.Bare, "rerank"},
		"/openai/v1/chat/completion":                                     {"other", "", operations.V1, "chat/completion"},
		"/openai/deployments/" + strings.Repeat("a", 64) + "/embeddings": {"embeddings", strings.Repeat("a", 64), operations.Deployments, ""},
	} {
		r, err := resolve(path)
		if err != nil || r.operation == nil || r.operation.Name != want.operation || r.deployment != want.deployment || r.family != want.family || r.subpath != want.rest {
			t.Errorf("%s: %+v, %v, want %+v", path, r, err, want)
		}
	}
}

func TestUnknownAndUnsafePaths(t *testing.T) {
	for path, want := range map[string]error{
		"/openai":                         errUnknownPath,
		"/openai/v1":                      errUnknownPath,
		"/v2/chat/completions":            errUnknownPath,
		"/openai/deployments/gpt-4o":      errUnknownPath,
		"/openai/deployments/gpt-4o/chat": errUnknownPath,
		"/openai/deployments/gpt-4o/chat/completions/more":                 errUnknownPath,
		"/openai/deployments/gpt-4o/responses":                             errUnknownPath,
		"/openai/deployments/gpt-4o/rerank":                                errUnknownPath,
		"/openai/rerank":                                                   errUnknownPath,
		"/openai/v1/responses/..":                                          errUnsafePath,
		"/openai/v1/responses/resp_1%2f..%2f..%2fmodels":                   errUnsafePath,
		"/openai/deployments/..%2f..%2fadmin/chat/completions":             errUnsafePath,
		"/openai/deployments/../x/chat/completions":                        errUnsafePath,
		"/openai/deployments/%2e%2e/chat/completions":                      errUnsafePath,
		"/openai/deployments/a%00b/chat/completions":                       errUnsafePath,
		"/openai/deployments/a%0d%0aX-Evil:1/chat/completions":             errUnsafePath,
		"/openai/deployments/x%3fapi-version=1/chat/completions":           errUnsafePath,
		"/openai/deployments/x;y/chat/completions":                         errUnsafePath,
		"/openai/deployments/%25%32%65/chat/completions":                   errUnsafePath,
		"/openai/deployments/%/chat/completions":                           errUnsafePath,
		"/openai/deployments/%zz/chat/completions":                         errUnsafePath,
		"/openai/deployments/ＡＢ/chat/completions":                          errUnsafePath,
		"/openai/deployments/" + strings.Repeat("a", 5000) + "/embeddings": errUnsafePath,
	} {
		if r, err := resolve(path); !errors.Is(err, want) {
			t.Errorf("%.60s: %+v, %v, want %v", path, r, err, want)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("/openai/deployments/gpt-4o/chat/completions")
	f.Add("/openai/v1/%2e%2e/chat")
	f.Fuzz(func(t *testing.T, path string) {
		r, err := resolve(path)
		if err != nil || r.operation == nil {
			return // "/" and the health paths name no operation
		}
		if r.deployment != "" && !operations.IsSafeName(r.deployment) {
			t.Errorf("%q: %+v", path, r)
		}
		for segment := range strings.SplitSeq(r.subpath, "/") {
			if r.subpath != "" && !operations.IsSafeName(segment) {
				t.Errorf("%q: %+v", path, r)
			}
		}
	})
}

func TestRoutesIgnoreCaseAndKeepTheCaseOfNames(t *testing.T) {
	for path, want := range map[string]target{
		"/OpenAI/Deployments/GPT-4o/Chat/Completions": {deployment: "GPT-4o", family: operations.Deployments},
		"/OPENAI/V1/Responses/Resp_A1/input_items":    {subpath: "Resp_A1/input_items", family: operations.V1},
		"/V1/Models/My-Model":                         {subpath: "My-Model", family: operations.Bare},
		"/openai//V1//FILES/file-Ab":                  {subpath: "file-Ab", family: operations.V1},
	} {
		r, err := resolve(path)
		if err != nil || r.deployment != want.deployment || r.subpath != want.subpath || r.family != want.family {
			t.Errorf("%s: %+v, %v, want %+v", path, r, err, want)
		}
	}
}

// Every row names an operation, and its pattern is the operation's own path:
// backends are called by the latter.
func TestRoutesMatchOperations(t *testing.T) {
	for _, row := range routes {
		o := operations.ByName(row.operation)
		if o == nil {
			t.Errorf("%s: there is no operation %q", row.pattern, row.operation)
			continue
		}
		if path := strings.Trim(strings.TrimSuffix(row.pattern, "*"), "/"); path != o.Path {
			t.Errorf("%s: operation %q has the path %q", row.pattern, row.operation, o.Path)
		}
	}
}

func TestHeadIsAnsweredWhereverGetIs(t *testing.T) {
	var named target
	h := recordingRouter(&named)
	for _, row := range routes {
		if !slices.Contains(row.methods, http.MethodGet) {
			continue
		}
		named = target{}
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodHead, "/v1"+strings.Replace(row.pattern, "*", "id-1", 1), http.NoBody))
		if named.operation == nil || named.operation.Name != row.operation {
			t.Errorf("HEAD %s: %+v, want %q", row.pattern, named.operation, row.operation)
		}
	}
}

func TestMethodNotAllowedNamesTheAllowedMethods(t *testing.T) {
	var named target
	h := recordingRouter(&named)
	for _, c := range []struct{ method, path, allow string }{
		{"DELETE", "/v1/chat/completions", "POST, GET, HEAD"},
		{"PUT", "/openai/deployments/gpt-4o/chat/completions", "POST"},
		{"PATCH", "/v1/responses/resp_1", "GET, HEAD, POST, DELETE"},
		{"OPTIONS", "/openai/files", "GET, HEAD, POST, DELETE"},
		{"DELETE", "/v1/models", "GET, HEAD"},
		{"TRACE", "/v1/rerank", "GET, HEAD, POST, DELETE"},
		{"PROPFIND", "/v1/embeddings", "POST"},
		{"POST", "/health/ready", "GET, HEAD"},
		{"POST", "/", "GET, HEAD"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, http.NoBody))
		if allow := w.Header().Get("Allow"); w.Code != http.StatusMethodNotAllowed || allow != c.allow || !strings.Contains(w.Body.String(), "method_not_allowed") {
			t.Errorf("%s %s: %d, Allow %q, %s; want 405, %q", c.method, c.path, w.Code, allow, w.Body, c.allow)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("PROPFIND", "/nowhere", http.NoBody))
	if w.Code != http.StatusNotFound || named.operation != nil {
		t.Errorf("an unknown method of an unknown path: %d, want 404", w.Code)
	}
}

// A classic path that names its model in the body, and those of Azure.AI.Inference,
// become one that the backends have.
func TestFamiliesOfBackends(t *testing.T) {
	for uri, want := range map[string]struct {
		family operations.Family
		query  string
	}{
		"/openai/chat/completions":                                             {operations.V1, ""},
		"/openai/chat/completions?api-version=&x=1":                            {operations.V1, "x=1"},
		"/openai/chat/completions?x=1&API-Version=2024-10-21":                  {operations.Deployments, "x=1&API-Version=2024-10-21"},
		"/openai/responses?api-version=2025-04-01-preview":                     {operations.Unscoped, "api-version=2025-04-01-preview"},
		"/openai/responses":                                                    {operations.V1, ""},
		"/models/chat/completions?api-version=2024-05-01-preview&x=%20":        {operations.V1, "x=%20"},
		"/openai/v1/chat/completions?api-version=preview":                      {operations.V1, "api-version=preview"},
		"/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21&x": {operations.Deployments, "api-version=2024-10-21&x"},
	} {
		r := httptest.NewRequest(http.MethodPost, uri, http.NoBody)
		named, err := resolve(r.URL.Path)
		if family, query := familyOf(named, r); err != nil || family != want.family || query != want.query {
			t.Errorf("%s: %v with %q, %v; want %v with %q", uri, family, query, err, want.family, want.query)
		}
	}
}
