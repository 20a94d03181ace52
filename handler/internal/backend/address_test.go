package backend_test

import (
	"net/url"
	"testing"

	"spillway/handler/internal/balancer"
	"spillway/handler/internal/openai/operations"
	"spillway/handler/internal/proxy"
)

func TestRequestURLs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *proxy.Request, b *balancer.Backend)
		want   string
	}{
		"deployments": {func(*proxy.Request, *balancer.Backend) {}, "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=2024-10-21"},
		"v1":          {func(r *proxy.Request, _ *balancer.Backend) { r.Family, r.Query = operations.V1, "" }, "/openai/v1/chat/completions"},
		"v1 preview":  {func(r *proxy.Request, _ *balancer.Backend) { r.Family, r.Query = operations.V1, "api-version=preview" }, "/openai/v1/chat/completions?api-version=preview"},
		"bare":        {func(r *proxy.Request, _ *balancer.Backend) { r.Family, r.Query = operations.Bare, "" }, "/openai/v1/chat/completions"},
		"unscoped": {func(r *proxy.Request, _ *balancer.Backend) {
			r.Family, r.Operation, r.Subpath = operations.Unscoped, responses, "resp_1/cancel"
		}, "/openai/responses/resp_1/cancel?api-version=2024-10-21"},
		"no version":       {func(r *proxy.Request, _ *balancer.Backend) { r.Query = "" }, "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=2024-06-01"},
		"empty version":    {func(r *proxy.Request, _ *balancer.Backend) { r.Query = "api-version=&x=1" }, "/openai/deployments/gpt-4o-ptu/chat/completions?x=1&api-version=2024-06-01"},
		"version's name":   {func(r *proxy.Request, _ *balancer.Backend) { r.Query = "x=1&API-Version" }, "/openai/deployments/gpt-4o-ptu/chat/completions?x=1&api-version=2024-06-01"},
		"empty version v1": {func(r *proxy.Request, _ *balancer.Backend) { r.Family, r.Query = operations.V1, "api-version=" }, "/openai/v1/chat/completions"},
		"messages": {func(r *proxy.Request, _ *balancer.Backend) {
			r.Family, r.Operation, r.Query = operations.Anthropic, *operations.ByName("messages"), ""
		}, "/anthropic/v1/messages"},
		"pool's name": {func(_ *proxy.Request, b *balancer.Backend) { b.Deployment = "" }, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"},
		"odd name":    {func(_ *proxy.Request, b *balancer.Backend) { b.Deployment = "a b/../c?d#e%2f" }, "/openai/deployments/a%20b%2F..%2Fc%3Fd%23e%252f/chat/completions?api-version=2024-10-21"},
		"odd query":   {func(r *proxy.Request, _ *balancer.Backend) { r.Query = "api-version=1&x=%zz&&y;z&a=b%20c+d" }, "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=1&x=%zz&&y;z&a=b%20c+d"},
		"host's key":  {func(r *proxy.Request, _ *balancer.Backend) { r.Query = "code=s%3D&api-version=1&clientId=default&x=1" }, "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=1&x=1"},
		"a model":     {func(r *proxy.Request, _ *balancer.Backend) { r.Query = "api-version=1&model=o3" }, "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=1&model=o3"},
		"a fenced model": {func(r *proxy.Request, _ *balancer.Backend) {
			r.Fenced, r.Query = true, "api-version=1&Mod%65l=o3&deployment=o3&Engine=o3&deployment-id=o3&x=1;model=o3&project=p&y=model"
		}, "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=1&y=model"},
		"a fenced list": {func(r *proxy.Request, _ *balancer.Backend) {
			r.Fenced, r.Method, r.Query = true, "GET", "api-version=1&model=o3"
		}, "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=1&model=o3"},
		"encoded key": {func(r *proxy.Request, _ *balancer.Backend) { r.Query = "C%6fde=s&api-version=1&Api-Key=k&CODE" }, "/openai/deployments/gpt-4o-ptu/chat/completions?api-version=1"},
	} {
		t.Run(name, func(t *testing.T) {
			client, received := recordingServer(t)
			client.APIVersion = "2024-06-01"
			r, b := newRequest(), newBackend()
			c.change(r, b)
			if res, outcome := send(t, client, b, r); res == nil {
				t.Fatal(outcome)
			}
			if got := received(); got.uri != c.want {
				t.Errorf("called\n%s, want\n%s", got.uri, c.want)
			}
		})
	}
}

func TestOpenAICompatibleURLs(t *testing.T) {
	for _, family := range []operations.Family{operations.Deployments, operations.V1, operations.Bare, operations.Unscoped} {
		client, received := recordingServer(t)
		target := client.Targets[0]
		target.OpenAI = true
		target.Endpoint = target.Endpoint.JoinPath("llm/v1/")
		r := newRequest()
		r.Family, r.Query = family, "api-version=2024-10-21&x=1"
		if res, outcome := send(t, client, newBackend(), r); res == nil {
			t.Fatal(outcome)
		}
		if got := received(); got.uri != "/llm/v1/chat/completions?x=1" || got.host != target.Endpoint.Host {
			t.Errorf("%v: called %s at %s", family, got.uri, got.host)
		}
	}
}

func FuzzQueryHasNoCredentials(f *testing.F) {
	f.Add("code=1&a=b")
	f.Add("%63ode=1;&c%6Fde")
	f.Fuzz(func(t *testing.T, raw string) {
		client := newClient(t, "http://127.0.0.1:1")
		r := newRequest()
		r.Query = raw
		kept := client.RequestURL(client.Targets[0], "d", r).RawQuery
		for _, name := range []string{"code", "Code", "api-key", "subscription-key"} {
			if values, _ := url.ParseQuery(kept); values.Has(name) {
				t.Errorf("%q became %q", raw, kept)
			}
		}
	})
}
