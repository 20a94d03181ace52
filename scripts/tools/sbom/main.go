// Command sbom prints what is in a Go program, as a CycloneDX 1.5 document: the
// modules that the linker wrote into it, and nothing that anybody claims.
//
// usage: go run ./scripts/tools/sbom PROGRAM
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/tools/sbom PROGRAM")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(program string, out io.Writer) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read %q: %w", program, err)
	}
	text, err := json.MarshalIndent(documentOf(info), "", "  ")
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err = out.Write(append(text, '\n'))
	return err
}

// document is the part of CycloneDX that says what a program is made of.
type document struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	PURL    string `json:"purl,omitempty"`
}

func documentOf(info *debug.BuildInfo) document {
	d := document{
		Format: "CycloneDX", Spec: "1.5", Version: 1,
		Metadata: metadata{component{Type: "application", Name: info.Main.Path, Version: info.Main.Version}},
		// The standard library is the largest part of the program, and has advisories of its own.
		Components: []component{library("stdlib", strings.TrimPrefix(info.GoVersion, "go"), "pkg:golang/stdlib@")},
	}
	for _, module := range info.Deps {
		for module.Replace != nil {
			module = module.Replace
		}
		d.Components = append(d.Components, library(module.Path, module.Version, "pkg:golang/"+module.Path+"@"))
	}
	return d
}

func library(name, version, purl string) component {
	return component{Type: "library", Name: name, Version: version, PURL: purl + version}
}
