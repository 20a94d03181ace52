package main

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// verify reads a package back and names everything that would keep it from
// starting in Azure, or that must not travel. nil means that it is good.
func verify(target, arch string) error {
	pack, err := zip.OpenReader(target)
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	defer pack.Close()
	var faults []error
	for _, required := range []string{"host.json", entry} {
		if _, err := fs.Stat(pack, required); err != nil {
			faults = append(faults, fmt.Errorf("package has no %s at its root: stage it with scripts/stage.sh", required))
		}
	}
	functions := 0
	for _, file := range pack.File {
		switch {
		case path.Base(file.Name) == "local.settings.json":
			faults = append(faults, errors.New("package holds local.settings.json: its keys must not travel"))
		case path.Base(file.Name) == "function.json" && strings.Count(file.Name, "/") == 1:
			functions++
		case file.Name == entry:
			faults = append(faults, verifyEntry(file, arch))
		}
	}
	if functions == 0 {
		faults = append(faults, errors.New("package has no <function>/function.json: the host would start no process"))
	}
	return errors.Join(faults...)
}

// verifyEntry checks mode, machine and linkage of the program that the host
// starts. nil means that it runs on every Linux plan.
func verifyEntry(file *zip.File, arch string) error {
	if mode := file.Mode(); mode != 0o755 {
		return fmt.Errorf("%s has mode %o in the package, want 755", entry, mode)
	}
	content, err := file.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", entry, err)
	}
	defer content.Close()
	whole, err := io.ReadAll(content)
	if err != nil {
		return fmt.Errorf("read %s: %w", entry, err)
	}
	program, err := elf.NewFile(bytes.NewReader(whole))
	if err != nil {
		return fmt.Errorf("%s is no Linux program: build with GOOS=linux GOARCH=%s: %w", entry, arch, err)
	}
	if program.Machine != machines[arch] {
		return fmt.Errorf("%s is for %s: build with GOARCH=%s", entry, program.Machine, arch)
	}
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically: build with CGO_ENABLED=0", entry)
		}
	}
	return nil
}
