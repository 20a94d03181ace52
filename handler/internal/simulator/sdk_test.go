package simulator_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"

	"spillway/handler/internal/simulator"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

// clients are the two configurations of the SDK for Azure. The Azure
// one insists on TLS.
func clients(t *testing.T, s *simulator.Service) map[string]openai.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CAPool(), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	trusting := option.WithHTTPClient(&http.Client{Transport: transport})
	return map[string]openai.Client{
		"AzureOpenAI": openai.NewClient(
			azure.WithEndpoint(s.URL("payg"), "2024-10-21"), azure.WithAPIKey("key-payg"), option.WithMaxRetries(0), trusting),
		"OpenAI": openai.NewClient(
			option.WithBaseURL(s.URL("payg")+"/openai/v1/"), option.WithAPIKey("key-payg"), option.WithMaxRetries(0), trusting),
	}
}

func chatParams() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    "gpt-4o",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Where does the water go?")},
	}
}

func TestSDKChat(t *testing.T) {
	s := simulator.StartTLS(t, pool())
	for name, client := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			plain, err := client.Chat.Completions.New(t.Context(), chatParams())
			if err != nil {
				t.Fatal(err)
			}
			if plain.Usage.CompletionTokens != 16 || plain.Choices[0].FinishReason != "stop" || plain.Model != "gpt-4o-2024-11-20" {
				t.Errorf("got %s", plain.RawJSON())
			}
			asked := chatParams()
			asked.StreamOptions.IncludeUsage = openai.Bool(true)
			stream := client.Chat.Completions.NewStreaming(t.Context(), asked)
			var streamedText openai.ChatCompletionAccumulator
			for stream.Next() {
				streamedText.AddChunk(stream.Current())
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			if streamedText.Choices[0].Message.Content != plain.Choices[0].Message.Content || streamedText.Usage.CompletionTokens != 16 {
				t.Errorf("streamed %q with %d tokens, plain %q", streamedText.Choices[0].Message.Content, streamedText.Usage.CompletionTokens, plain.Choices[0].Message.Content)
			}
		})
	}
}

func TestSDKErrors(t *testing.T) {
	s := simulator.StartTLS(t, pool())
	for name, client := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			s.Next("payg", simulator.Fault{Action: "429"})
			_, err := client.Chat.Completions.New(t.Context(), chatParams())
			var refused *openai.Error
			if !errors.As(err, &refused) || refused.StatusCode != 429 || !strings.Contains(refused.Message, "exceeded token rate limit") {
				t.Errorf("got %v", err)
			}
			s.Next("payg", simulator.Fault{Action: "stream-429"})
			stream := client.Chat.Completions.NewStreaming(t.Context(), chatParams())
			for stream.Next() {
				t.Error("an event came before the error")
			}
			if stream.Err() == nil {
				t.Error("the error inside the stream was not returned")
			}
		})
	}
}

func TestSDKHonorsRetryAfter(t *testing.T) {
	s := simulator.Start(t, pool())
	client := openai.NewClient(option.WithBaseURL(s.URL("payg")+"/openai/v1/"), option.WithAPIKey("key-payg"))
	s.Next("payg", simulator.Fault{Action: "429", RetryAfter: 1})
	if _, err := client.Chat.Completions.New(t.Context(), chatParams()); err != nil {
		t.Fatal(err)
	}
	entries := s.Journal()
	if len(entries) != 2 || entries[1].Header.Get("x-stainless-retry-count") != "1" {
		t.Errorf("got %d entries, want the second a retry", len(entries))
	}
}

func TestSDKResponsesAndEmbeddings(t *testing.T) {
	s := simulator.StartTLS(t, pool())
	for name, client := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			asked := responses.ResponseNewParams{
				Model: "gpt-4o", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Where does the water go?")},
			}
			plain, err := client.Responses.New(t.Context(), asked)
			if err != nil {
				t.Fatal(err)
			}
			read, err := client.Responses.Get(t.Context(), plain.ID, responses.ResponseGetParams{})
			if err != nil || read.OutputText() != plain.OutputText() || plain.OutputText() == "" {
				t.Errorf("got %q, %v; want %q", read.OutputText(), err, plain.OutputText())
			}
			stream := client.Responses.NewStreaming(t.Context(), asked)
			streamedText, last := "", ""
			for stream.Next() {
				event := stream.Current()
				streamedText += event.Delta
				last = event.Type
			}
			if err := stream.Err(); err != nil || streamedText != plain.OutputText() || last != "response.completed" {
				t.Errorf("streamed %q ending in %s, %v", streamedText, last, err)
			}
			vectors, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
				Model: "text-embedding-3-large", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("water")},
			})
			if err != nil || len(vectors.Data[0].Embedding) != 3072 {
				t.Errorf("embeddings: %v", err)
			}
		})
	}
}
