package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/transcript"
	"spillway/handler/internal/transcript/blob"
)

// storageScope is what a token for blobs is asked for.
const storageScope = "https://storage.azure.com/.default"

// openTranscripts keeps what some consumers say; nil where no container is
// named.
func (g *gateway) openTranscripts(cfg *config.Config) (*transcript.Recorder, error) {
	if cfg.Settings.Transcripts == "" {
		return nil, nil //nolint:nilnil // there is nothing to keep, and that is no error
	}
	container, err := openContainer(cfg)
	if err != nil {
		return nil, err
	}
	r := transcript.New(transcript.Config{Blobs: container, Now: time.Now, Redact: cfg.Settings.Redact, OnError: func(err error) {
		g.sight.log.WarnContext(context.Background(), "transcripts are not written, and are lost", "error", err)
	}})
	g.sight.transcripts, g.sight.watched = r, append(g.sight.watched, r)
	g.beside = append(g.beside, r.Run)
	return r, nil
}

// openContainer is the container in the account where the state lives.
func openContainer(cfg *config.Config) (*blob.Container, error) {
	where, name := &cfg.Settings.State, cfg.Settings.Transcripts
	switch {
	case where.Memory():
		return nil, errors.New("SPILLWAY_TRANSCRIPTS names a container, and there is no storage account: set SPILLWAY_STATE or AzureWebJobsStorage")
	case where.Text.Set():
		c, err := blob.Connect(where.Text.Reveal(), name)
		if err != nil {
			return nil, fmt.Errorf("SPILLWAY_TRANSCRIPTS, by %s: %w", where.Setting, err)
		}
		return c, nil
	case where.BlobURL == "":
		return nil, fmt.Errorf("SPILLWAY_TRANSCRIPTS names a container, and %s names no blob service: set %s__blobServiceUri", where.Setting, where.Setting)
	}
	identity, err := backend.IdentityCredential(where.ClientID, !cfg.Settings.Standalone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where.Setting, err)
	}
	return &blob.Container{Endpoint: where.BlobURL, Name: name, Sign: blob.Bearer(func(ctx context.Context) (string, error) {
		token, err := identity.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{storageScope}})
		return token.Token, err //nolint:wrapcheck // the container says what it was for
	})}, nil
}
