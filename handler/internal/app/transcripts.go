package app

import (
	"errors"
	"fmt"
	"time"

	"spillway/handler/internal/backend"
	"spillway/handler/internal/config"
	"spillway/handler/internal/transcript"
)

// newTranscripts records the requests and responses of the consumers that are
// configured so; nil when no container is configured.
func newTranscripts(cfg *config.Config) (*transcript.Recorder, error) {
	if cfg.Settings.Transcripts == "" {
		return nil, nil
	}
	container, err := openContainer(cfg)
	if err != nil {
		return nil, err
	}
	buffered := memoryLimit(cfg.Settings.MemoryLimit) / 16
	if buffered > 64<<20 {
		buffered = 0 // the default
	}
	return transcript.New(transcript.Config{Blobs: container, Now: time.Now, Redact: cfg.Settings.Redact, Budget: buffered}), nil
}

// transcriptCounts is how many blobs were written, and how many transcripts
// were dropped.
func (s *state) transcriptCounts() (written, dropped uint64) {
	if s.transcripts == nil {
		return 0, 0
	}
	return s.transcripts.Written(), s.transcripts.Dropped()
}

// openContainer opens the container in the account of the shared state. Nothing
// is sent.
func openContainer(cfg *config.Config) (*transcript.Container, error) {
	where, name := &cfg.Settings.State, cfg.Settings.Transcripts
	switch {
	case where.Memory():
		return nil, errors.New("SPILLWAY_TRANSCRIPTS names a container, and there is no storage account: set SPILLWAY_STATE or AzureWebJobsStorage")
	case where.Text.Set():
		c, err := transcript.ConnectContainer(where.Text.Reveal(), name, nil)
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
	return transcript.OpenContainer(where.BlobURL, name, identity, nil)
}
