package simulator_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"
)

func TestPathsAreServedOrRefusedAsAzureDoes(t *testing.T) {
	const (
		notFound   = `{"error":{"code":"404","message": "Resource not found"}}`
		deployment = `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}`
		v1Missing  = `{"error":{"message":"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.","type":"invalid_request_error","param":null,"code":"DeploymentNotFound"}}`
	)
	tests := []struct {
		name, path, body string
		status           int
		want             string
	}{
		{"classic", chatPath, hello, 200, ""},
		{"classic, percent-encoded", "/openai/deployments/gpt%2D4o/chat/completions?api-version=2024-10-21", hello, 200, ""},
		{"classic ignores the model of the body", chatPath, `{"model":"other","messages":[{"role":"user","content":"hi"}]}`, 200, ""},
		{"v1", v1ChatPath, v1Hello, 200, ""},
		{"v1 with a version", v1ChatPath + "?api-version=preview", v1Hello, 200, ""},
		{"v1 with a dated version", v1ChatPath + "?api-version=2024-10-21", v1Hello, 400, `{"error":{"code":"BadRequest","message":"API version not supported"}}`},
		{"classic without api-version", "/openai/deployments/gpt-4o/chat/completions", hello, 404, notFound},
		{"classic with a bad api-version", "/openai/deployments/gpt-4o/chat/completions?api-version=v9", hello, 404, notFound},
		{"unknown operation", "/openai/deployments/gpt-4o/chat/sing?api-version=2024-10-21", hello, 404, notFound},
		{"sloppy join", "//openai/v1/chat/completions", v1Hello, 404, notFound},
		{"bare v1 is not Azure", "/v1/chat/completions", v1Hello, 404, notFound},
		{"unknown deployment", "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21", hello, 404, deployment},
		{"unknown deployment on v1", v1ChatPath, `{"model":"gpt-5","messages":[]}`, 404, v1Missing},
	}
	s := simulator.Start(t, pool())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := post(t, s, "payg", tt.path, tt.body)
			if r.status != tt.status || (tt.want != "" && r.body != tt.want) {
				t.Errorf("got %d %s, want %d %s", r.status, r.body, tt.status, tt.want)
			}
		})
	}
}

func TestResourcesAreToldApartByHostAndByPrefix(t *testing.T) {
	tests := []struct{ host, path, resource string }{
		{"ptu.openai.azure.com", chatPath, "ptu"},
		{"payg.services.ai.azure.com", chatPath, "payg"},
		{"payg.openai.azure.com:8443", chatPath, "payg"},
		{"localhost", "/payg" + chatPath, "payg"},
		{"localhost", "/ptu" + v1ChatPath, "ptu"},
		{"localhost", chatPath, ""},
		{"nobody.openai.azure.com", chatPath, ""},
	}
	for _, tt := range tests {
		t.Run(tt.host+tt.path, func(t *testing.T) {
			s := simulator.New(pool())
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tt.path, strings.NewReader(v1Hello))
			r.Host = tt.host
			r.Header.Set("Api-Key", "key-"+tt.resource)
			s.ServeHTTP(w, r)
			if tt.resource == "" {
				if w.Code != http.StatusNotFound || len(s.Journal()) != 0 {
					t.Errorf("got %d and %d entries, want 404 and none", w.Code, len(s.Journal()))
				}
				return
			}
			if got := s.JournalOf(tt.resource); w.Code != http.StatusOK || len(got) != 1 {
				t.Errorf("got %d %s and %d entries at %s, want 200 and one", w.Code, w.Body, len(got), tt.resource)
			}
		})
	}
}

func TestAnswersCarryTheHeadersOfTheService(t *testing.T) {
	s := simulator.Start(t, pool())
	r := post(t, s, "payg", chatPath, hello, "x-ms-client-request-id", "abc-123")
	for name, want := range map[string]string{
		"x-ms-region": "Sweden Central", "x-ms-client-request-id": "abc-123", "x-ms-deployment-name": "gpt-4o",
		"x-ms-served-model": "gpt-4o-2024-11-20", "x-accel-buffering": "no", "x-ms-is-spilled-over": "false",
		"strict-transport-security": "max-age=31536000; includeSubDomains; preload", "content-type": "application/json",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"apim-request-id", "x-request-id", "azureml-model-session", "x-envoy-upstream-service-time", "openai-processing-ms"} {
		if r.header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if e := s.Journal()[0]; e.RequestID != r.header.Get("x-request-id") {
		t.Errorf("the journal says request id %s, the answer %s", e.RequestID, r.header.Get("x-request-id"))
	}
}
