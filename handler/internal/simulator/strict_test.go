package simulator_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"spillway/handler/internal/simulator"
)

func TestBrokenPromisesAreWrittenDown(t *testing.T) {
	sum := sha256.Sum256([]byte(hello))
	strict := simulator.Strict{
		Secrets: []string{"caller-secret"}, OneCredential: true, NoHopByHop: true, NoStainless: true,
		Bodies: []string{hex.EncodeToString(sum[:])},
	}
	tests := []struct {
		name, path, body string
		headers          []string
		want             []string
	}{
		{"nothing", chatPath, hello, nil, nil},
		{"secret in a header", chatPath, hello, []string{"X-Custom", "my caller-secret"}, []string{"secret"}},
		{"secret in the query", chatPath + "&code=caller-secret", hello, nil, []string{"secret"}},
		{"secret in the body", chatPath, `{"messages":[{"role":"user","content":"caller-secret"}]}`, nil, []string{"secret", "body"}},
		{"two credentials", chatPath, hello, []string{"Authorization", "Bearer " + token(`{}`)}, []string{"credentials"}},
		{"no credential", chatPath, hello, []string{"api-key", ""}, []string{"credentials"}},
		{"forwarding header", chatPath, hello, []string{"X-Forwarded-For", "10.0.0.1"}, []string{"hop-by-hop"}},
		{"cookie", chatPath, hello, []string{"Cookie", "a=b"}, []string{"hop-by-hop"}},
		{"SDK header", chatPath, hello, []string{"X-Stainless-Lang", "go"}, []string{"stainless"}},
		{"changed body", chatPath, hello + " ", nil, []string{"body"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := pool()
			cfg.Strict = strict
			s := simulator.Start(t, cfg)
			r, err := sendWith(t, s, tt.path, tt.body, tt.headers)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range s.Violations() {
				got = append(got, v.Rule)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v (status %d), want %v", s.Violations(), r.status, tt.want)
			}
		})
	}
}

func TestBrokenPromisesAreRefusedWhenAsked(t *testing.T) {
	cfg := pool()
	cfg.Strict = simulator.Strict{Secrets: []string{"caller-secret"}, Reject: true}
	s := simulator.Start(t, cfg)
	r, err := sendWith(t, s, chatPath, hello, []string{"X-Custom", "caller-secret"})
	if err != nil || r.status != 400 {
		t.Errorf("got %d, %v; want 400", r.status, err)
	}
}

func TestCustomHeadersOverTenAreRefused(t *testing.T) {
	cfg := pool()
	cfg.MaxCustomHeaders = 10
	s := simulator.Start(t, cfg)
	headers := []string{"X-Stainless-Lang", "go", "X-Ms-Client-Request-Id", "1"}
	for i := range 10 {
		headers = append(headers, "X-Own-"+string(rune('A'+i)), "1")
	}
	if r := post(t, s, "payg", chatPath, hello, headers...); r.status != 200 {
		t.Errorf("ten: got %d %s", r.status, r.body)
	}
	if r := post(t, s, "payg", chatPath, hello, append(headers, "X-Own-K", "1")...); r.status != 431 {
		t.Errorf("eleven: got %d, want 431", r.status)
	}
}
