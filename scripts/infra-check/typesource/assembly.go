// Package typesource makes arm/types.json.gz again: it reads the type definitions out of Azure.Bicep.Types.Az.dll,
// the assembly that the Bicep compiler uses, and keeps what the templates of this project need.
//
// The assembly is a plain file in the npm package @azure/mcp-linux-x64@0.5.13 (MIT), dist/Azure.Bicep.Types.Az.dll, 0.2.792.
package typesource

import (
	"bytes"
	"compress/flate"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
)

// Tables of ECMA-335 §II.22 that are named below.
const (
	tableTypeRef          = 1
	tableManifestResource = 40
	lastTable             = 44
)

var errFormat = errors.New("not a .NET assembly in the expected form")

// metadata is the part of an assembly that says where its resources are.
type metadata struct {
	file      []byte
	sections  []*pe.Section
	resources uint32 // file offset
	strings   int    // file offset
	rows      [64]uint32
	heaps     byte
	tables    int // file offset of the first row
}

// Resources returns the embedded resources of an assembly by name, inflated.
func Resources(file []byte) (map[string][]byte, error) {
	m, err := openMetadata(file)
	if err != nil {
		return nil, err
	}
	at := m.tables
	for i := range tableManifestResource {
		at += int(m.rows[i]) * m.rowSize(i)
	}
	out := map[string][]byte{}
	for range m.rows[tableManifestResource] {
		offset := m.u32(at)
		name := m.text(m.index(at+8, m.heaps&1 != 0))
		body, err := m.resource(offset, name)
		if err != nil {
			return nil, err
		}
		out[strings.TrimSuffix(name, ".deflated")] = body
		at += m.rowSize(tableManifestResource)
	}
	return out, nil
}

func openMetadata(file []byte) (*metadata, error) {
	image, err := pe.NewFile(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("open assembly: %w", err)
	}
	m := &metadata{file: file, sections: image.Sections}
	var cli pe.DataDirectory
	switch h := image.OptionalHeader.(type) {
	case *pe.OptionalHeader32:
		cli = h.DataDirectory[14]
	case *pe.OptionalHeader64:
		cli = h.DataDirectory[14]
	}
	header := m.offset(cli.VirtualAddress)
	root := m.offset(m.u32(header + 8))
	m.resources = uint32(m.offset(m.u32(header + 24)))
	streams, err := m.streams(root)
	if err != nil {
		return nil, err
	}
	m.strings = streams["#Strings"]
	t := streams["#~"]
	m.heaps = file[t+6]
	at := t + 24
	for present := binary.LittleEndian.Uint64(file[t+8:]); present != 0; present &= present - 1 {
		m.rows[bits.TrailingZeros64(present)] = m.u32(at)
		at += 4
	}
	m.tables = at
	return m, nil
}

func (m *metadata) streams(root int) (map[string]int, error) {
	if string(m.file[root:root+4]) != "BSJB" {
		return nil, errFormat
	}
	at := root + 16 + int(m.u32(root+12))
	count := int(binary.LittleEndian.Uint16(m.file[at+2:]))
	at += 4
	out := map[string]int{}
	for range count {
		name := m.text(at + 8 - m.strings)
		out[name] = root + int(m.u32(at))
		at += 8 + (len(name)/4+1)*4
	}
	return out, nil
}

func (m *metadata) resource(offset uint32, name string) ([]byte, error) {
	at := int(m.resources + offset)
	body := m.file[at+4 : at+4+int(m.u32(at))]
	if !strings.HasSuffix(name, ".deflated") {
		return body, nil
	}
	out, err := io.ReadAll(flate.NewReader(bytes.NewReader(body)))
	if err != nil {
		return nil, fmt.Errorf("inflate %s: %w", name, err)
	}
	return out, nil
}

func (m *metadata) offset(rva uint32) int {
	for _, s := range m.sections {
		if rva >= s.VirtualAddress && rva < s.VirtualAddress+max(s.VirtualSize, s.Size) {
			return int(rva - s.VirtualAddress + s.Offset)
		}
	}
	return 0
}

func (m *metadata) u32(at int) uint32 { return binary.LittleEndian.Uint32(m.file[at:]) }

func (m *metadata) index(at int, wide bool) int {
	if wide {
		return int(m.u32(at))
	}
	return int(binary.LittleEndian.Uint16(m.file[at:]))
}

func (m *metadata) text(offset int) string {
	rest := m.file[m.strings+offset:]
	return string(rest[:bytes.IndexByte(rest, 0)])
}
