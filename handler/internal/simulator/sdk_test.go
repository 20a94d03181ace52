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

// clients are the two ways in which people point the SDK at Azure. The Azure
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

func question() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    "gpt-4o",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Where does the water go?")},
	}
}

func TestSDKReadsChatPlainAndStreamed(t *testing.T) {
	s := simulator.StartTLS(t, pool())
	for name, client := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			plain, err := client.Chat.Completions.New(t.Context(), question())
			if err != nil {
				t.Fatal(err)
			}
			if plain.Usage.CompletionTokens != 16 || plain.Choices[0].FinishReason != "stop" || plain.Model != "gpt-4o-2024-11-20" {
				t.Errorf("got %s", plain.RawJSON())
			}
			asked := question()
			asked.StreamOptions.IncludeUsage = openai.Bool(true)
			stream := client.Chat.Completions.NewStreaming(t.Context(), asked)
			var told openai.ChatCompletionAccumulator
			for stream.Next() {
				told.AddChunk(stream.Current())
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			if told.Choices[0].Message.Content != plain.Choices[0].Message.Content || told.Usage.CompletionTokens != 16 {
				t.Errorf("streamed %q with %d tokens, plain %q", told.Choices[0].Message.Content, told.Usage.CompletionTokens, plain.Choices[0].Message.Content)
			}
		})
	}
}

func TestSDKSeesRefusalsAsItsOwnErrors(t *testing.T) {
	s := simulator.StartTLS(t, pool())
	for name, client := range clients(t, s) {
		t.Run(name, func(t *testing.T) {
			s.Next("payg", simulator.Fault{Action: "429"})
			_, err := client.Chat.Completions.New(t.Context(), question())
			var refused *openai.Error
			if !errors.As(err, &refused) || refused.StatusCode != 429 || !strings.Contains(refused.Message, "exceeded token rate limit") {
				t.Errorf("got %v", err)
			}
			s.Next("payg", simulator.Fault{Action: "stream-429"})
			stream := client.Chat.Completions.NewStreaming(t.Context(), question())
			for stream.Next() {
				t.Error("an event came before the refusal")
			}
			if stream.Err() == nil {
				t.Error("the refusal inside the stream went unnoticed")
			}
		})
	}
}

func TestSDKRetriesAfterTheHint(t *testing.T) {
	s := simulator.Start(t, pool())
	client := openai.NewClient(option.WithBaseURL(s.URL("payg")+"/openai/v1/"), option.WithAPIKey("key-payg"))
	s.Next("payg", simulator.Fault{Action: "429", RetryAfter: 1})
	if _, err := client.Chat.Completions.New(t.Context(), question()); err != nil {
		t.Fatal(err)
	}
	entries := s.Journal()
	if len(entries) != 2 || entries[1].Header.Get("x-stainless-retry-count") != "1" {
		t.Errorf("got %d entries, want the second a retry", len(entries))
	}
}

func TestSDKReadsResponsesAndEmbeddings(t *testing.T) {
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
			told, last := "", ""
			for stream.Next() {
				event := stream.Current()
				told += event.Delta
				last = event.Type
			}
			if err := stream.Err(); err != nil || told != plain.OutputText() || last != "response.completed" {
				t.Errorf("streamed %q ending in %s, %v", told, last, err)
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
