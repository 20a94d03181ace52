package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"

	"spillway/handler/internal/simulator"
)

// everything is three backends that have every model; the second holds what is
// stateful. There are two consumers, so ids have owners, and a body that may be read in
// two ways is refused.
func everything(t *testing.T) *rig {
	return api{
		resources: []simulator.Resource{deployed("a", everyModel...), deployed("b", everyModel...), deployed("c", everyModel...)},
		entry:     func(name string, entry map[string]any) { entry["stateful"] = name == "b" },
		document:  map[string]any{"consumers": []any{map[string]any{"name": "x", "keySetting": "KEY_X"}, map[string]any{"name": "y", "keySetting": "KEY_Y"}}},
		env:       []string{"SPILLWAY_AUTH=key", "KEY_X=key-of-the-sdk-tests", "KEY_Y=key-of-another-consumer"},
	}.start(t)
}

// SDKs for Node, from embeddings to batches, in both of their forms.
func TestOpenAIForNodeUsesTheWholeAPI(t *testing.T) {
	t.Parallel()
	tools(t)
	r := everything(t)
	for _, form := range []string{"openai", "azure"} {
		got := r.node(t, "api.mjs", form, "")
		if fmt.Sprint(got["float"]) != fmt.Sprint(got["decoded"]) || fmt.Sprint(got["base64"]) == "" {
			t.Errorf("%s: embeddings %v, %v, %v", form, got["float"], got["decoded"], got["base64"])
		}
		for _, name := range []string{"image", "edit", "speech", "transcription", "translation", "completion", "items"} {
			if n, ok := got[name].(float64); !ok || n <= 0 {
				t.Errorf("%s: %s is %v", form, name, got[name])
			}
		}
		want := map[string]any{
			"followed": true, "retrieved": true, "cancelled": true, "store": true, "deleted": "NotFoundError", "model": "gpt-4o",
			"stranger": "404 previous_response_not_found", "content": "{}\n", "conversed": "completed",
		}
		if form == "openai" {
			want["batch"] = true
		}
		for name, value := range want {
			if got[name] != value {
				t.Errorf("%s: %s is %v, want %v", form, name, got[name], value)
			}
		}
		if models := fmt.Sprint(got["models"]); models != fmt.Sprint(slices.Sorted(slices.Values(everyModel))) {
			t.Errorf("%s: models %s", form, models)
		}
	}
	for _, e := range r.sim.Journal() {
		if e.ErrorName != "" && e.ErrorName != "404-response" {
			t.Errorf("%s answered %s to %s %s", e.Resource, e.ErrorName, e.Method, e.Path)
		}
	}
}

func TestLangChainAndTheAISDKWorkUnmodified(t *testing.T) {
	t.Parallel()
	tools(t)
	r := everything(t)
	got := r.node(t, "frameworks.mjs", "", "")
	if len(got) != 9 {
		t.Errorf("%v, want nine results", got)
	}
	for name, value := range got {
		if n, ok := value.(float64); !ok || n <= 0 {
			t.Errorf("%s is %v", name, value)
		}
	}
	references := 0
	for _, e := range r.sim.Journal() {
		if e.ErrorName != "" {
			t.Errorf("%s answered %s to %s", e.Resource, e.ErrorName, e.Body)
		}
		if strings.Contains(string(e.Body), `"item_reference"`) {
			references++
		}
	}
	if references == 0 {
		t.Error("the AI SDK referred to no item: the test proves nothing of them")
	}
}

func TestOpenAIForGoUsesTheWholeAPI(t *testing.T) {
	t.Parallel()
	r := everything(t)
	for form, client := range golang(r) {
		t.Run(form, func(t *testing.T) {
			vectors, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
				Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("Hello")},
			})
			if err != nil || len(vectors.Data[0].Embedding) != 1536 {
				t.Errorf("embeddings: %+v, %v", vectors, err)
			}
			picture, err := client.Images.Generate(t.Context(), openai.ImageGenerateParams{Model: "gpt-image-1", Prompt: "a cat"})
			if err != nil || picture.Data[0].B64JSON == "" {
				t.Errorf("images: %+v, %v", picture, err)
			}
			speech, err := client.Audio.Speech.New(t.Context(), openai.AudioSpeechNewParams{Model: "tts-1", Input: "Hello", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")}})
			if err != nil {
				t.Fatal(err)
			}
			sound, err := io.ReadAll(speech.Body)
			if err != nil || len(sound) != 2048 {
				t.Errorf("speech: %d bytes, %v", len(sound), err)
			}
			heard, err := client.Audio.Transcriptions.New(t.Context(), openai.AudioTranscriptionNewParams{
				Model: "whisper-1", File: openai.File(bytes.NewReader(randomBytes(1<<20)), "sound.mp3", "audio/mpeg"),
			})
			if err != nil || heard.Text == "" {
				t.Errorf("transcriptions: %+v, %v", heard, err)
			}
			if form == "openai" {
				models, err := client.Models.List(t.Context())
				if err != nil || len(models.Data) != len(everyModel) {
					t.Errorf("models: %+v, %v", models, err)
				}
			}
		})
	}
}
