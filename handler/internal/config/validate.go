package config

import (
	"fmt"
	"io"

	"spillway/handler/internal/config/document"
)

// Validate is `spillway validate`: it loads the configuration of this process
// and writes the configuration and its warnings to w. The error holds
// everything that is wrong, one fault a line.
func Validate(w io.Writer) error {
	cfg, err := Load()
	if err != nil {
		return err
	}
	if err := cfg.Print(w); err != nil {
		return fmt.Errorf("print configuration: %w", err)
	}
	for _, warning := range cfg.Warnings {
		if _, err := fmt.Fprintf(w, "warning: %v\n", warning); err != nil {
			return fmt.Errorf("print warnings: %w", err)
		}
	}
	_, err = fmt.Fprintf(w, "valid: %d backends, %d models, %d consumers\n", len(cfg.Resources), len(cfg.Pools), len(cfg.Consumers))
	return err
}

// PrintSchema is `spillway schema`.
func PrintSchema(w io.Writer) error {
	_, err := w.Write(document.Schema())
	return err
}
