package operations_test

import (
	"strings"
	"testing"

	"spillway/handler/internal/openai/operations"
)

func TestSafeNames(t *testing.T) {
	for name, want := range map[string]bool{
		"gpt-4o": true, "resp_1": true, "4o": true, "GPT.5_mini-x": true, strings.Repeat("a", 128): true,
		"": false, ".": false, "..": false, "-x": false, "_x": false, "a/b": false, "a%2Fb": false, "a b": false, "a;b": false, "a:b": false,
		"a?b": false, "a\x00b": false, "ＡＢ": false, strings.Repeat("a", 129): false,
	} {
		if got := operations.IsSafeName(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

func TestByName(t *testing.T) {
	if o := operations.ByName("chat"); o == nil || o.Path != "chat/completions" || o.Dialect != operations.Chat {
		t.Errorf("chat: %+v", o)
	}
	if o := operations.ByName("rerank"); o != nil {
		t.Errorf("an operation that does not exist: %+v", o)
	}
}

func TestFreeOperations(t *testing.T) {
	for name, want := range map[string]bool{"count-tokens": true, "input-tokens": true, "files": true, "response": true, "messages": false, "chat": false, "embeddings": false} {
		if got := operations.ByName(name).Free(); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
