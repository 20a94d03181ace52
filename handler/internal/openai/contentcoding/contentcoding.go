// Package contentcoding decodes bodies that are compressed, within bounds. It
// knows no request and no response.
package contentcoding

import (
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

var (
	// ErrUnknown is a coding that is not decoded.
	ErrUnknown = errors.New("contentcoding: unknown coding")
	// ErrRatio is a body that grows beyond what any honest one does.
	ErrRatio = errors.New("contentcoding: the body grows too much when it is decoded")
)

// Known are the codings that NewReader decodes.
const Known = "gzip, zstd, br"

const (
	maxRatio   = 200
	free       = 1 << 20 // decoded bytes for which the ratio is not looked at
	zstdWindow = 8 << 20 // what RFC 9659 allows
)

// NewReader returns the decoded bytes of source, which is in this coding: one of
// Known, in any case. Reads fail with [ErrRatio] when more comes out than 200 times
// what went in. It reads nothing of source before the first Read, whose error may be
// that source is not in the coding. It needs no closing.
func NewReader(coding string, source io.Reader) (io.Reader, error) {
	counted := &countingReader{source: source}
	d := &decoder{counted: counted}
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "gzip", "x-gzip":
		d.open = func() (io.Reader, error) { return gzip.NewReader(counted) }
	case "zstd":
		d.open = func() (io.Reader, error) { // with a concurrency of 1 it starts no goroutine
			return zstd.NewReader(counted, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		}
	case "br":
		d.open = func() (io.Reader, error) { return brotli.NewReader(counted), nil }
	default:
		return nil, ErrUnknown
	}
	return d, nil
}

// Memory is about the most that decoding a body of this length needs; -1 = unknown.
// A window is no larger than what was decoded.
func Memory(length int64) int64 {
	if length < 0 || length > zstdWindow/maxRatio {
		return zstdWindow
	}
	return max(free, maxRatio*length)
}

type countingReader struct {
	source io.Reader
	n      int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.source.Read(p)
	c.n += int64(n)
	return n, err
}

type decoder struct {
	counted *countingReader
	open    func() (io.Reader, error)
	from    io.Reader
	out     int64
}

func (d *decoder) Read(p []byte) (int, error) {
	if d.from == nil {
		from, err := d.open()
		if err != nil {
			return 0, err
		}
		d.from = from
	}
	n, err := d.from.Read(p)
	d.out += int64(n)
	if d.out > free && d.out > maxRatio*d.counted.n {
		return 0, ErrRatio
	}
	return n, err
}
