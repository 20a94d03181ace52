package contentcoding

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

func encode(t *testing.T, coding string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	default:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCodings(t *testing.T) {
	plain := []byte(strings.Repeat(`{"model":"gpt-4o"} `, 100))
	for _, coding := range []string{"gzip", "zstd", "br"} {
		r, err := NewReader(strings.ToUpper(coding), bytes.NewReader(encode(t, coding, plain)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", coding, len(got), err)
		}
		bomb, err := NewReader(coding, bytes.NewReader(encode(t, coding, make([]byte, 32<<20))))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, bomb); !errors.Is(err, ErrRatio) || n > 2<<20 {
			t.Errorf("%s: a bomb gave %d bytes, %v", coding, n, err)
		}
		wrong, _ := NewReader(coding, strings.NewReader("plain text that is in no coding at all"))
		if _, err := io.ReadAll(wrong); err == nil {
			t.Errorf("%s: plain text was decoded", coding)
		}
		cut, _ := NewReader(coding, bytes.NewReader(encode(t, coding, plain)[:20]))
		if _, err := io.ReadAll(cut); err == nil {
			t.Errorf("%s: a body that is cut was complete", coding)
		}
	}
	for _, coding := range []string{"deflate", "identity", "gzip, br", ""} {
		if _, err := NewReader(coding, strings.NewReader("")); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", coding, err)
		}
	}
}
