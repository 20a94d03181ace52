package main

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// entry is the file that the host executes; everything else is data.
const entry = "spillway"

// epoch is the time of every file in the package, so that equal contents make
// equal packages. Zip knows no earlier one.
func epoch() time.Time { return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) }

// write packs every file under folder, in lexical order, into target.
func write(folder, target string) (err error) {
	file, err := os.Create(target)
	if err != nil {
		return fmt.Errorf("create package: %w", err)
	}
	defer func() {
		if closed := file.Close(); err == nil && closed != nil {
			err = fmt.Errorf("close package: %w", closed)
		}
	}()
	pack := zip.NewWriter(file)
	source := os.DirFS(folder)
	err = fs.WalkDir(source, ".", func(name string, item fs.DirEntry, err error) error {
		if err != nil || item.IsDir() {
			return err
		}
		return add(pack, source, name)
	})
	if err != nil {
		return fmt.Errorf("pack %q: %w", folder, err)
	}
	if err := pack.Close(); err != nil {
		return fmt.Errorf("pack %q: %w", folder, err)
	}
	return nil
}

// add puts one file into the package: 0755 for the entry, 0644 for all others.
func add(pack *zip.Writer, source fs.FS, name string) error {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch()}
	header.SetMode(0o644)
	if name == entry {
		header.SetMode(0o755)
	}
	into, err := pack.CreateHeader(header)
	if err != nil {
		return err
	}
	from, err := source.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(into, from)
	return err
}
